// A picture under a map: two canvases, a point that pointer and keys move, a brush.
export class Panel {
  constructor(bitmap, caption, { onPoint = () => {}, onPaint = () => {} } = {}) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.point = [Math.floor(this.width / 2), Math.floor(this.height / 2)];
    this.onPoint = onPoint;
    this.onPaint = onPaint;
    this.brush = false;
    this.element = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.caption.textContent = caption;
    const box = document.createElement("div");
    box.className = "map";
    [this.below, this.above, this.marks] = [0, 1, 2].map(() => {
      const canvas = document.createElement("canvas");
      canvas.width = this.width;
      canvas.height = this.height;
      box.append(canvas);
      return canvas;
    });
    this.below.getContext("2d").drawImage(bitmap, 0, 0);
    this.marks.tabIndex = 0;
    this.marks.setAttribute("role", "application");
    this.element.append(box, this.caption);
    this.marks.addEventListener("pointerdown", (event) => this.pressed(event));
    this.marks.addEventListener("pointermove", (event) => this.moved(event));
    this.marks.addEventListener("keydown", (event) => this.keyed(event));
  }

  describe(text) { this.marks.setAttribute("aria-label", text); }

  draw(paint) {
    const drawing = this.above.getContext("2d");
    const image = drawing.createImageData(this.width, this.height);
    paint(image.data);
    drawing.putImageData(image, 0, 0);
  }

  set strength(value) { this.above.style.opacity = value; }

  set brushing(value) {
    this.brush = value;
    this.marks.classList.toggle("brush", value);
  }

  position(event) {
    const box = this.marks.getBoundingClientRect();
    const along = (at, from, length, count) => Math.max(0, Math.min(count - 1, Math.floor(((at - from) / length) * count)));
    return [along(event.clientX, box.left, box.width, this.width), along(event.clientY, box.top, box.height, this.height)];
  }

  pressed(event) {
    this.moved(event);
    if (!this.brush) return;
    event.preventDefault();
    this.marks.setPointerCapture(event.pointerId);
    this.onPaint(this.point, true);
  }

  moved(event) {
    this.point = this.position(event);
    this.onPoint(this.point, false);
    if (this.brush && event.buttons === 1 && event.type === "pointermove") this.onPaint(this.point, false);
  }

  keyed(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const far = event.shiftKey ? 1 : Math.max(1, Math.round(this.width / 40));
    if (steps[event.key]) {
      const [dx, dy] = steps[event.key];
      this.point = [
        Math.max(0, Math.min(this.width - 1, this.point[0] + dx * far)),
        Math.max(0, Math.min(this.height - 1, this.point[1] + dy * far)),
      ];
      this.onPoint(this.point, true);
    } else if (event.key === " " && this.brush) {
      this.onPaint(this.point, true);
    } else {
      return;
    }
    event.preventDefault();
  }

  mark(shapes) {
    const drawing = this.marks.getContext("2d");
    drawing.clearRect(0, 0, this.width, this.height);
    const thin = Math.max(1, this.width / 400);
    for (const { box, circle, dashed } of shapes) {
      for (const [colour, width] of [["#000", 3 * thin], ["#fff", thin]]) {
        drawing.strokeStyle = colour;
        drawing.lineWidth = width;
        drawing.setLineDash(dashed ? [4 * thin, 3 * thin] : []);
        drawing.beginPath();
        if (box) drawing.rect(...box);
        else drawing.arc(...circle, 0, 2 * Math.PI);
        drawing.stroke();
      }
    }
  }
}

export function cross([x, y]) { return { circle: [x + 0.5, y + 0.5, 4] }; }
