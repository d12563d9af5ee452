// A label map as an indexed PNG, as `pixelwise predict` writes it: class numbers with a palette.
const TABLE = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...name].map((c) => c.charCodeAt(0)), 4);
  bytes.set(data, 8);
  let crc = -1;
  for (let i = 4; i < bytes.length - 4; i += 1) crc = TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  view.setUint32(bytes.length - 4, ~crc);
  return bytes;
}

export async function indexedPng(labels, width, height, palette) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y += 1) {
    rows.set(labels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const colours = new Uint8Array(768);
  palette.forEach((colour, i) => colours.set(colour, 3 * i));
  const start = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [start, chunk("IHDR", header), chunk("PLTE", colours), chunk("IDAT", body)];
  return new Blob([...parts, chunk("IEND", new Uint8Array(0))], { type: "image/png" });
}
