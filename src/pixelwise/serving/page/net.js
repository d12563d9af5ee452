// What a net can see: its layers, the field of the cell under the point, and what each stream says.
import { $, alertOf, cell, choices } from "./page.js";
import { cross, Panel } from "./panel.js";
import { fromBase64, greys, netOf, predicted } from "./service.js";
import { word } from "./words.js";

export class NetView {
  constructor(models) {
    this.models = models.filter((m) => m.inputs.length === 1 && m.task === "segmentation" && Object.values(m.heads)[0].kind === "classes");
    choices($("net-model"), this.models.map((m) => [m.name, m.name]));
    $("net-model").addEventListener("change", () => this.open());
    $("net-layer").addEventListener("change", () => { this.pointed(this.panel?.point ?? [0, 0]); this.mark(); });
    $("net-measure").addEventListener("click", () => this.measure());
    addEventListener("hashchange", () => this.open());
    this.open();
  }

  get visible() { return location.hash === "#net"; }
  get model() { return this.models.find((m) => m.name === $("net-model").value); }
  get layer() { return this.net?.layers.find((l) => l.name === $("net-layer").value); }

  show(picture) {
    this.picture = picture;
    this.panel = null;
    this.open();
  }

  said() {
    if (this.net) this.facts();
    if (this.panel) this.pointed(this.panel.point);
  }

  async open() {
    if (!this.visible || !this.model) return;
    try {
      if (this.net?.name !== this.model.name) {
        const kept = $("net-layer").value;
        this.net = { name: this.model.name, ...(await netOf(this.model.name)) };
        choices($("net-layer"), this.net.layers.map((l) => [l.name, l.name]));
        $("net-layer").value = this.net.layers.some((l) => l.name === kept) ? kept : this.net.top;
        this.panel = null;
      }
      this.facts();
      if (this.picture && !this.panel) await this.build();
    } catch (error) {
      alertOf(error);
    }
  }

  facts() {
    const [head, body] = [$("net-layers").tHead.rows[0], $("net-layers").tBodies[0]];
    head.replaceChildren();
    body.replaceChildren();
    const columns = ["layer", "kind", "reads", "maps", "parameters", "stride", "offset", "field"];
    columns.forEach((key, i) => cell(head, word(key), "th", i > 2));
    for (const layer of this.net.layers) {
      const row = body.insertRow();
      cell(row, layer.name, "th");
      cell(row, layer.crop === null ? layer.kind : `${layer.kind}, ${word("crop")} ${layer.crop}`);
      cell(row, layer.inputs.join(", "));
      const field = layer.field ?? word("infinite");
      for (const value of [layer.channels, layer.parameters, layer.stride, layer.shift, field]) {
        cell(row, typeof value === "number" ? value.toLocaleString() : value, "td", true);
      }
    }
    this.mark();
  }

  mark() {
    for (const row of $("net-layers").tBodies[0].rows) {
      row.setAttribute("aria-selected", String(row.cells[0].textContent === this.layer?.name));
    }
    const facts = $("net-facts");
    facts.replaceChildren();
    const layer = this.layer;
    if (!layer) return;
    for (const key of ["kind", "maps", "stride", "field"]) {
      const [term, text] = ["dt", "dd"].map((kind) => document.createElement(kind));
      term.textContent = word(key);
      text.textContent = { kind: layer.kind, maps: layer.channels, stride: layer.stride, field: layer.field ?? word("infinite") }[key];
      facts.append(term, text);
    }
    $("net-why").textContent = this.why(layer).join(" ");
  }

  // How the layer comes by its stride, its place and its field, in numbers of the net itself.
  why(layer) {
    const [from, like] = layer.inputs.map((name) => this.net.layers.find((l) => l.name === name));
    const said = [word("whyStride", { name: layer.name, stride: layer.stride, shift: layer.shift })];
    if (!from) return said;
    const values = { name: layer.name, from: from.name, stride: layer.stride, before: from.stride };
    if (layer.crop !== null && like) {
      said.push(word("whyCrop", { ...values, like: like.name, crop: layer.crop, here: from.shift, there: like.shift }));
    } else if (layer.inputs.length > 1) {
      said.push(word("whySum", { parts: layer.inputs.join(" + ") }));
    } else if (layer.stride > from.stride) {
      said.push(word("whyCoarser", { ...values, n: layer.stride / from.stride }));
    } else if (layer.stride < from.stride) {
      said.push(word("whyFiner", { ...values, n: from.stride / layer.stride }));
    }
    if (layer.field !== null && from.field !== null && layer.field > from.field) {
      said.push(word("whyField", { ...values, had: from.field, field: layer.field }));
    }
    return said;
  }

  async build() {
    $("net-empty").hidden = true;
    $("net-measure").disabled = false;
    this.panel = new Panel(this.picture.bitmap, this.picture.name, { onPoint: (point) => this.pointed(point) });
    this.panel.describe(word("sight"));
    $("net-panel").replaceChildren(this.panel.element);
    this.pointed(this.panel.point);
    await this.streams();
  }

  // The cell of the layer whose centre is nearest to the point, and the box that it sees.
  pointed([x, y]) {
    const layer = this.layer;
    if (!layer || !this.panel) return;
    const cellOf = (at) => Math.max(0, Math.round((at - layer.shift) / layer.stride));
    const [column, row] = [cellOf(x), cellOf(y)];
    const centre = (i) => layer.stride * i + layer.shift + 0.5;
    const box = (side) => [centre(column) - side / 2, centre(row) - side / 2, side, side];
    const shapes = [{ box: box(layer.stride), dashed: true }, cross([x, y])];
    if (layer.field !== null) shapes.push({ box: box(layer.field) });
    this.panel.mark(shapes);
    const field = layer.field ?? word("infinite");
    $("net-point").textContent = word("cell", { row, column, name: layer.name, field, stride: layer.stride });
  }

  async measure() {
    const [x, y] = this.panel.point;
    $("net-measure").disabled = true;
    try {
      const wishes = { model: this.model.name, format: "field", layer: this.layer.name, at: `${x},${y}` };
      const seen = await greys(await (await predicted(this.picture.blob, wishes)).blob());
      this.panel.draw((data) => seen.forEach((value, i) => data.set([255, 90, 0, value], 4 * i)));
      this.panel.strength = 0.9;
      $("net-measured").textContent = word("measured", { r: halfWithin(seen, this.panel.width, [x, y]), field: this.layer.field ?? word("infinite") });
    } catch (error) {
      alertOf(error);
    }
    $("net-measure").disabled = false;
  }

  async streams() {
    const box = $("streams");
    box.replaceChildren();
    const wishes = { model: this.model.name, format: "streams" };
    const told = await (await predicted(this.picture.blob, wishes)).json();
    for (const { layer, size, png, differing } of told) {
      const bitmap = await createImageBitmap(fromBase64(png, "image/png"));
      const figure = document.createElement("figure");
      const frame = document.createElement("div");
      frame.className = "map";
      const canvas = document.createElement("canvas");
      canvas.className = "cells";
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", layer);
      frame.append(canvas);
      const caption = document.createElement("figcaption");
      const alone = Object.entries(differing).map(([part, share]) => word("alone", { part, p: (100 * share).toFixed(1) }));
      caption.textContent = [`${layer}: ${size.join(" × ")}`, ...alone].join("; ");
      figure.append(frame, caption);
      box.append(figure);
    }
    if (told.length < 2) box.append(word("oneStream"));
  }
}

// The distance from a point within which half of the gradient lies; values are its square roots.
function halfWithin(seen, width, [x, y]) {
  const rings = [];
  seen.forEach((value, i) => {
    const away = Math.ceil(Math.hypot((i % width) - x, Math.floor(i / width) - y));
    rings[away] = (rings[away] ?? 0) + value ** 2;
  });
  let left = rings.reduce((sum, ring) => sum + ring, 0) / 2;
  return rings.findIndex((ring) => { left -= ring ?? 0; return left <= 0; });
}
