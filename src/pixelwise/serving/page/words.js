// Every text of the page, in each language.
export const WORDS = {
  en: {
    skip: "To the labels", viewLabel: "Label", viewNet: "The net", language: "Language",
    picture: "Picture", pick: "Choose a picture", camera: "Camera", shoot: "Take the picture",
    cameraOff: "Switch off", dropOrPaste: "Or drop one anywhere, or paste it.",
    models: "Models, side by side", model: "Model", crf: "Refine edges by a dense CRF",
    mirror: "Mean with the mirror image", classes: "Classes", show: "show", className: "class",
    correct: "Correct by hand", brush: "Brush", brushClass: "paints", radius: "Radius", undo: "Undo",
    saveLabels: "Labels (PNG)", savePicture: "Picture (PNG)", saveJson: "Areas (JSON)",
    keep: "Keep for training", keptAs: "Kept as {name}; {n} so far.",
    labels: "Labels", strength: "Colours", heat: "Heat map of", noHeat: "none",
    empty: "No picture yet: choose, drop or paste one.",
    working: "Labelling {n}…", done: "Labelled in {ms} ms: {classes}.", corrected: "corrected",
    at: "{x}, {y}: {what}", sure: "{name}, {p} %", cannotShow: "This browser cannot show the file.",
    noCamera: "The camera cannot be used: {why}", offline: "The service does not answer.",
    canvas: "Labels by {model}: arrow keys move the point (with Shift by one pixel), the space bar paints",
    netTitle: "How the net sees", layer: "Layer", measure: "Measure it",
    netHelp: "Point at the picture, or move over it with the arrow keys. The frame is the receptive field of the layer's cell there: all that the cell can know. The small frame is the cell's stride.",
    measureHelp: "The measured field is the gradient of the cell's strongest output: where the cell really looks. It is smaller, and densest in the middle.",
    measured: "Half of the gradient lies within {r} pixels of the point; the receptive field is {field} wide.",
    sight: "Receptive field", streams: "What each stream says",
    streamsHelp: "The best class of every cell of each layer of scores, coarse to fine, before and after they are added.",
    alone: "{part} alone would say another class in {p} % of the cells",
    whyStride: "One cell of {name} for every {stride} × {stride} pixels; the first is centred {shift} pixels from the corner.",
    whyCoarser: "For {n} × {n} cells of {from} (stride {before}) there is one here.",
    whyFiner: "For each cell of {from} (stride {before}) there are {n} × {n} here.",
    whySum: "It adds {parts}, cell by cell: both lie on the same pixels.",
    whyCrop: "{from} begins {here} pixels from the picture's corner, {like} {there}: ({there} − {here}) / {stride} = {crop} cells are cut off before, and behind what is more than {like} has.",
    whyField: "A cell of {from} sees {had} pixels; the window over several of them, {field}.",
    layersTitle: "Layers", field: "field", stride: "stride", kind: "kind", reads: "reads", maps: "maps",
    parameters: "parameters", size: "cells", offset: "first centre", cell: "cell {row}, {column} of {name}: {field} pixels wide, a cell each {stride}",
    viewRuns: "Runs", runsHelp: "A run's name opens its report. In it a cell of the confusion matrix leads to the pictures in which that happened most. Choose two or more runs to compare: curves, scores, classes, and what their recipes differ in. While a run is trained, its page is drawn anew every ten seconds.",
    runsOpen: "Compare", runsNone: "The service was started without --runs DIR, or there are none.", runsList: "Runs in the folder",
    choose: "choose", run: "run", data: "data", steps: "steps", training: "training", meanIu: "mean IU",
    pictures: "pictures", worst: "the worst first",
    tokenTitle: "This service asks for a token", tokenField: "Token", tokenGive: "Go on",
    tokenHelp: "The first line of the file that the service was started with (--token-file). It is kept until this tab is closed.",
    tokenWrong: "The service does not accept this token.", tokenForget: "Forget the token",
    tokenNeeded: "Without its token the service answers nothing. Reload the page to give it.",
    infinite: "the whole picture", crop: "crop", oneStream: "This net has one layer of scores.",
  },
  zh: {
    skip: "跳到标注", viewLabel: "标注", viewNet: "网络", language: "语言",
    picture: "图片", pick: "选择图片", camera: "摄像头", shoot: "拍照",
    cameraOff: "关闭", dropOrPaste: "也可以拖放到任意位置，或粘贴。",
    models: "模型（并排比较）", model: "模型", crf: "用稠密 CRF 细化边缘",
    mirror: "与镜像取平均", classes: "类别", show: "显示", className: "类别",
    correct: "手工修正", brush: "画笔", brushClass: "涂成", radius: "半径", undo: "撤销",
    saveLabels: "标注（PNG）", savePicture: "图片（PNG）", saveJson: "面积（JSON）",
    keep: "留作训练数据", keptAs: "已保存为 {name}，共 {n} 张。",
    labels: "标注结果", strength: "颜色浓度", heat: "热图", noHeat: "无",
    empty: "还没有图片：请选择、拖放或粘贴一张。",
    working: "正在标注：{n}…", done: "用时 {ms} 毫秒：{classes}。", corrected: "已修正",
    at: "{x}, {y}：{what}", sure: "{name}，{p} %", cannotShow: "浏览器无法显示这个文件。",
    noCamera: "无法使用摄像头：{why}", offline: "服务没有应答。",
    canvas: "{model} 的标注：方向键移动（加 Shift 移一个像素），空格键涂色",
    netTitle: "网络怎样看", layer: "层", measure: "测量",
    netHelp: "指向图片，或用方向键移动。方框是该层此处单元的感受野：单元所能知道的一切。小方框是步长。",
    measureHelp: "测得的感受野是单元最强输出的梯度：单元真正看的地方。它更小，中间最密。",
    measured: "一半的梯度落在该点周围 {r} 像素内；感受野宽 {field} 像素。",
    sight: "感受野", streams: "每一路说了什么",
    streamsHelp: "各得分层每个单元的最佳类别，由粗到细，相加之前与之后。",
    alone: "仅凭 {part}，{p} % 的单元会是别的类别",
    whyStride: "{name} 每 {stride} × {stride} 像素一个单元；第一个的中心距图片角 {shift} 像素。",
    whyCoarser: "{from}（步长 {before}）的 {n} × {n} 个单元在此合为一个。",
    whyFiner: "{from}（步长 {before}）的每个单元在此变为 {n} × {n} 个。",
    whySum: "把 {parts} 逐单元相加：它们对应相同的像素。",
    whyCrop: "{from} 从距图片角 {here} 像素处开始，{like} 从 {there} 处开始：({there} − {here}) / {stride} = {crop}，前面裁去这么多单元，后面裁去多于 {like} 的部分。",
    whyField: "{from} 的一个单元看到 {had} 像素；覆盖其中几个的窗口看到 {field} 像素。",
    layersTitle: "各层", field: "感受野", stride: "步长", kind: "种类", reads: "输入", maps: "通道",
    parameters: "参数", size: "单元数", offset: "首个中心", cell: "{name} 的单元 {row}, {column}：宽 {field} 像素，每 {stride} 像素一个",
    viewRuns: "训练", runsHelp: "点击名称打开该次训练的报告。报告中点击混淆矩阵的一格，可看到该混淆最多的图片。选择两个以上进行比较：曲线、得分、类别以及配方的差异。训练进行时，页面每十秒更新一次。",
    runsOpen: "比较", runsNone: "服务启动时没有 --runs DIR，或者其中没有训练。", runsList: "文件夹中的训练",
    choose: "选择", run: "训练", data: "数据", steps: "步数", training: "训练中", meanIu: "平均 IU",
    pictures: "图片", worst: "最差的在前",
    tokenTitle: "此服务需要令牌", tokenField: "令牌", tokenGive: "继续",
    tokenHelp: "即启动服务时所用文件（--token-file）的第一行。关闭此标签页前一直保留。",
    tokenWrong: "服务不接受这个令牌。", tokenForget: "忘记令牌",
    tokenNeeded: "没有令牌，服务不作任何应答。请刷新页面后输入。",
    infinite: "整幅图片", crop: "裁剪", oneStream: "这个网络只有一个得分层。",
  },
};

let language = "en";
try { language = localStorage.getItem("language") || ""; } catch { language = ""; }
if (!WORDS[language]) language = navigator.language.startsWith("zh") ? "zh" : "en";

export function word(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function current() { return language; }

export function speak(chosen) {
  language = chosen;
  try { localStorage.setItem("language", chosen); } catch { /* a page without storage */ }
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = word(element.dataset.word);
  }
}
