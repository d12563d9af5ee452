// Labels of a picture by one or more models, looked at, compared and corrected.
import { $, alertOf, cell, choices, status } from "./page.js";
import { cross, Panel } from "./panel.js";
import { indexedPng } from "./png.js";
import { fromBase64, greys, kept, labelMap, predicted } from "./service.js";
import { word } from "./words.js";

const UNDONE = 20; // strokes of the brush that are kept

export class LabelView {
  constructor(models, corrections) {
    this.models = models.filter((m) => m.inputs.length === 1 && m.task === "segmentation" && Object.values(m.heads)[0].kind === "classes");
    this.hidden = new Set();
    this.shown = new Map();
    this.strokes = [];
    this.models.forEach((model, place) => {
      const label = document.createElement("label");
      label.className = "line";
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = model.name;
      box.checked = place === 0;
      box.addEventListener("change", () => this.label());
      label.append(box, ` ${model.name} (${model.net}, ${model.precision})`);
      $("models").append(label);
    });
    for (const id of ["crf", "mirror"]) $(id).addEventListener("change", () => this.label());
    $("strength").addEventListener("input", () => this.tint());
    $("heat").addEventListener("change", () => this.paintAll());
    $("brush").addEventListener("change", () => this.brushes());
    $("undo").addEventListener("click", () => this.undo());
    $("save-labels").addEventListener("click", () => this.saveLabels());
    $("save-picture").addEventListener("click", () => this.savePicture());
    $("save-json").addEventListener("click", () => this.saveJson());
    $("keep").hidden = !corrections;
    $("keep").addEventListener("click", () => this.keep());
    this.said();
  }

  get chosen() {
    const names = [...$("models").querySelectorAll("input:checked")].map((box) => box.value);
    return this.models.filter((model) => names.includes(model.name));
  }

  get classes() {
    const named = new Map();
    for (const { head } of this.shown.values()) {
      head.classes.forEach((name, i) => { if (!named.has(name)) named.set(name, head.palette[i]); });
    }
    return named;
  }

  show(picture) {
    this.picture = picture;
    this.strokes = [];
    this.label();
  }

  async label() {
    if (!this.picture) return;
    this.stop?.abort();
    const stop = this.stop = new AbortController();
    const begun = performance.now();
    alertOf(null);
    const made = new Map();
    try {
      for (const model of this.chosen) {
        status(word("working", { n: model.name }));
        const wishes = { model: model.name, probabilities: true, crf: $("crf").checked, mirror: $("mirror").checked };
        const told = await (await predicted(this.picture.blob, wishes, stop.signal)).json();
        const confidence = await greys(fromBase64(told.confidence_png, "image/png"));
        const head = Object.values(model.heads)[0];
        made.set(model.name, { model, head, ...labelMap(told), confidence, heat: new Map() });
      }
    } catch (error) {
      if (stop.signal.aborted) return;
      status("");
      alertOf(error);
      return;
    }
    if (stop.signal.aborted) return;
    this.shown = made;
    this.strokes = [];
    this.build();
    const first = [...this.areas(made.values().next().value ?? { labels: [], head: { classes: [] } })];
    const largest = first.sort((a, b) => b[1] - a[1]).slice(0, 3).map(([name, share]) => `${name} ${percent(share)}`);
    status(word("done", { ms: Math.round(performance.now() - begun), classes: largest.join(", ") }));
  }

  areas({ labels, head }) {
    const counts = new Array(head.classes.length).fill(0);
    for (const id of labels) counts[id] += 1;
    return new Map(head.classes.map((name, i) => [name, counts[i] / Math.max(1, labels.length)]));
  }

  build() {
    $("empty").hidden = this.shown.size > 0;
    $("panels").replaceChildren();
    for (const each of this.shown.values()) {
      each.panel = new Panel(this.picture.bitmap, each.model.name, {
        onPoint: (point, spoken) => this.pointed(point, spoken),
        onPaint: (point, begins) => this.painted(each, point, begins),
      });
      $("panels").append(each.panel.element);
    }
    const names = [...this.classes.keys()];
    const chosen = $("heat").value;
    choices($("heat"), [["", word("noHeat")], ...names.map((name) => [name, name])]);
    $("heat").value = names.includes(chosen) ? chosen : "";
    const paints = $("brush-class").value;
    choices($("brush-class"), names.map((name) => [name, name]));
    if (names.includes(paints)) $("brush-class").value = paints;
    for (const id of ["save-picture", "save-json"]) $(id).disabled = this.shown.size === 0;
    const narrow = [...this.shown.values()].every(({ head }) => head.classes.length <= 255); // a byte a pixel
    for (const id of ["save-labels", "keep"]) $(id).disabled = this.shown.size === 0 || !narrow;
    this.said();
    this.brushes();
    this.tint();
    this.paintAll();
  }

  said() {
    for (const { panel, model } of this.shown.values()) panel.describe(word("canvas", { model: model.name }));
    if ($("heat").options.length) $("heat").options[0].text = word("noHeat");
    this.legend();
  }

  legend() {
    const [head, body] = [$("legend").tHead.rows[0], $("legend").tBodies[0]];
    head.replaceChildren();
    body.replaceChildren();
    cell(head, word("show"), "th");
    cell(head, word("className"), "th");
    for (const name of this.shown.keys()) cell(head, this.shown.size > 1 ? name : "%", "th", true);
    const areas = [...this.shown.values()].map((each) => this.areas(each));
    const rows = [...this.classes].map(([name, colour]) => [name, colour, areas.map((a) => a.get(name) ?? 0)]);
    rows.sort((a, b) => Math.max(...b[2]) - Math.max(...a[2]));
    for (const [name, colour, shares] of rows) {
      const row = body.insertRow();
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !this.hidden.has(name);
      box.setAttribute("aria-label", `${word("show")}: ${name}`);
      box.addEventListener("change", () => {
        if (box.checked) this.hidden.delete(name);
        else this.hidden.add(name);
        this.paintAll();
      });
      cell(row, box);
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${colour.join()})`;
      const title = cell(row, swatch, "th");
      title.append(name);
      for (const share of shares) cell(row, percent(share), "td", true);
    }
  }

  tint() {
    for (const { panel } of this.shown.values()) panel.strength = $("strength").value / 100;
  }

  async paintAll() {
    const heat = $("heat").value;
    try {
      for (const each of this.shown.values()) {
        if (heat && each.head.classes.includes(heat)) await this.warm(each, heat);
        else this.paint(each);
      }
    } catch (error) {
      alertOf(error);
    }
  }

  paint({ labels, head, panel }) {
    const colours = head.classes.map((name, i) => (this.hidden.has(name) ? null : head.palette[i]));
    panel.draw((data) => {
      labels.forEach((id, i) => {
        const colour = colours[id];
        if (colour) data.set([...colour, 255], 4 * i);
      });
    });
  }

  async warm(each, name) {
    if (!each.heat.has(name)) {
      const wishes = { model: each.model.name, format: "heat", class: name, crf: $("crf").checked, mirror: $("mirror").checked };
      each.heat.set(name, await greys(await (await predicted(this.picture.blob, wishes)).blob()));
    }
    const heat = each.heat.get(name);
    each.panel.draw((data) => {
      heat.forEach((value, i) => data.set(glow(value), 4 * i));
    });
  }

  pointed([x, y], spoken) {
    const told = [];
    for (const each of this.shown.values()) {
      const i = y * each.width + x;
      const name = each.head.classes[each.labels[i]];
      const heat = $("heat").value;
      const p = each.fixed?.has(i) ? null : Math.round((each.confidence[i] / 255) * 100);
      let what = p === null ? `${name} (${word("corrected")})` : word("sure", { name, p });
      if (heat && each.heat.has(heat)) what += `; ${word("sure", { name: heat, p: Math.round((each.heat.get(heat)[i] / 255) * 100) })}`;
      told.push(this.shown.size > 1 ? `${each.model.name}: ${what}` : what);
      each.panel.mark(this.brushing ? [{ circle: [x + 0.5, y + 0.5, Number($("radius").value)] }] : [cross([x, y])]);
    }
    const text = word("at", { x, y, what: told.join(" · ") });
    $("point").textContent = text;
    if (spoken) $("spoken").textContent = text;
  }

  get brushing() { return $("brush").checked; }

  brushes() {
    for (const { panel } of this.shown.values()) panel.brushing = this.brushing;
  }

  painted(each, [x, y], begins) {
    const id = each.head.classes.indexOf($("brush-class").value);
    if (id < 0) return;
    if (begins) {
      this.strokes.push({ each, labels: each.labels.slice(), fixed: new Set(each.fixed) });
      this.strokes.splice(0, this.strokes.length - UNDONE);
      $("undo").disabled = false;
    }
    each.fixed ??= new Set();
    const radius = Number($("radius").value);
    for (let v = Math.max(0, y - radius); v <= Math.min(each.height - 1, y + radius); v += 1) {
      for (let u = Math.max(0, x - radius); u <= Math.min(each.width - 1, x + radius); u += 1) {
        if ((u - x) ** 2 + (v - y) ** 2 > radius ** 2) continue;
        each.labels[v * each.width + u] = id;
        each.fixed.add(v * each.width + u);
      }
    }
    this.paint(each);
    this.legend();
  }

  undo() {
    const stroke = this.strokes.pop();
    if (stroke) {
      Object.assign(stroke.each, { labels: stroke.labels, fixed: stroke.fixed });
      this.paint(stroke.each);
      this.legend();
    }
    $("undo").disabled = this.strokes.length === 0;
  }

  async saveLabels() {
    for (const { labels, width, height, head, model } of this.shown.values()) {
      const name = this.shown.size > 1 ? `${this.picture.name}-${model.name}` : this.picture.name;
      save(await indexedPng(labels, width, height, head.palette), `${name}.png`);
    }
  }

  // Of several models the label map that was corrected, else the first.
  async keep() {
    const all = [...this.shown.values()];
    const { labels, width, height, head, model } = all.find((each) => each.fixed?.size) ?? all[0];
    $("keep").disabled = true;
    try {
      const told = await kept(this.picture.blob, await indexedPng(labels, width, height, head.palette), model.name);
      status(word("keptAs", { name: told.name, n: told.pictures }));
    } catch (error) {
      alertOf(error);
    }
    $("keep").disabled = false;
  }

  savePicture() {
    const { bitmap, name } = this.picture;
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.convertToBlob({ type: "image/png" }).then((blob) => save(blob, `${name}-picture.png`));
  }

  saveJson() {
    const told = [...this.shown.values()].map((each) => ({
      model: each.model.name, sha256: each.model.sha256, picture: this.picture.name,
      size: [each.height, each.width], corrected_pixels: each.fixed?.size ?? 0,
      shares: Object.fromEntries(this.areas(each)),
    }));
    save(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" }), `${this.picture.name}.json`);
  }
}

function percent(share) { return `${(100 * share).toFixed(1)} %`; }

// Black through red and yellow to white; the surer, the less of the picture is seen.
function glow(value) {
  const t = value / 255;
  return [Math.min(1, 2.4 * t) * 255, Math.max(0, Math.min(1, 2.2 * t - 0.7)) * 255, Math.max(0, 3 * t - 2) * 255, 90 + 165 * t];
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
