// What the page asks of the service.
import { askToken, bearing } from "./token.js";
import { word } from "./words.js";

export class Refused extends Error {}

async function fetched(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, ...bearing() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(word("offline"));
  }
  if (answer.status === 401) {
    await askToken();
    return fetched(path, options);
  }
  if (answer.ok) return answer;
  let told = {};
  try { told = await answer.json(); } catch { /* no problem document */ }
  const text = `${told.code ?? answer.status}: ${told.detail ?? answer.statusText}`;
  throw new Refused(told.hint ? `${text}\n${told.hint}` : text);
}

export async function served() {
  return (await fetched("/v1/models")).json();
}

// A picture and its corrected label map, for training: what it is called there.
export async function kept(picture, labels, model) {
  const body = new FormData();
  body.append("image", picture);
  body.append("labels", labels);
  return (await fetched(`/v1/corrections?${new URLSearchParams({ model })}`, { method: "POST", body })).json();
}

export async function runs() {
  return (await (await fetched("/v1/runs")).json()).runs;
}

export async function netOf(name) {
  return (await fetched(`/v1/net?${new URLSearchParams({ model: name })}`)).json();
}

export async function predicted(blob, wishes, signal) {
  const options = { method: "POST", body: blob, signal, headers: { "Content-Type": blob.type } };
  return fetched(`/v1/predict?${new URLSearchParams(wishes)}`, options);
}

// Grey values of a PNG, one byte a pixel.
export async function greys(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(bitmap, 0, 0);
  const { data } = drawing.getImageData(0, 0, bitmap.width, bitmap.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, i) => data[4 * i]);
}

export function fromBase64(text, type) {
  return new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type });
}

// The label map of an answer: masks are run lengths down the columns.
export function labelMap(told) {
  const [height, width] = told.size;
  const labels = new Uint16Array(height * width);
  for (const { id, rle } of told.classes) {
    let at = 0;
    rle.counts.forEach((count, turn) => {
      if (turn % 2) for (let i = at; i < at + count; i += 1) labels[(i % height) * width + Math.floor(i / height)] = id;
      at += count;
    });
  }
  return { labels, width, height };
}
