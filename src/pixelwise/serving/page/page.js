// The page: which view is shown, which picture is at hand, and what went wrong.
import { LabelView } from "./label.js";
import { NetView } from "./net.js";
import { RunsView } from "./runs.js";
import { served } from "./service.js";
import { current, speak, word } from "./words.js";

const VIEWS = { label: "viewLabel", net: "viewNet", runs: "viewRuns" };
export const $ = (id) => document.getElementById(id);

export function alertOf(error) {
  if (error?.name === "AbortError") return;
  $("alert").hidden = !error;
  $("alert").textContent = error ? error.message : "";
}

export function status(text) { $("status").textContent = text; }

export function cell(row, text, kind = "td", numeric = false) {
  const made = document.createElement(kind);
  if (kind === "th") made.scope = row.parentElement?.tagName === "THEAD" ? "col" : "row";
  if (numeric) made.className = "number";
  made.append(text);
  row.append(made);
  return made;
}

export function choices(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
}

async function take(blob, name, views) {
  if (!blob) return;
  alertOf(null);
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    alertOf(new Error(word("cannotShow")));
    return;
  }
  const picture = { blob, bitmap, name: name.replace(/\.[^.]*$/, "") || "picture" };
  for (const view of views) view.show(picture);
}

function pictures(views) {
  const get = (blob, name) => take(blob, name, views);
  $("file").addEventListener("change", ({ target }) => get(target.files[0], target.files[0]?.name ?? ""));
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((f) => f.type.startsWith("image/"));
    if (file) get(file, file.name);
  });
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", () => document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) get(file, file.name);
  });
  const video = $("video");
  const off = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    $("camera-box").hidden = true;
  };
  $("camera").addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
      await video.play(); // then its size is known
      $("camera-box").hidden = false;
    } catch (error) {
      alertOf(new Error(word("noCamera", { why: error.message })));
    }
  });
  $("camera-off").addEventListener("click", off);
  $("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => { off(); get(blob, "camera.png"); });
  });
}

function route() {
  const hash = location.hash.slice(1);
  const wanted = hash in VIEWS ? hash : "label";
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== wanted;
  $("status").hidden = wanted !== "label"; // what it says is of that view
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `pixelwise: ${word(VIEWS[wanted])}`;
}

async function main() {
  $("language").value = current();
  speak(current());
  addEventListener("hashchange", route);
  route();
  let known;
  try {
    known = await served();
  } catch (error) {
    alertOf(error);
    return;
  }
  const views = [new LabelView(known.models, known.corrections), new NetView(known.models), new RunsView()];
  pictures(views);
  $("language").addEventListener("change", ({ target }) => {
    speak(target.value);
    route();
    for (const view of views) view.said();
  });
}

main();
