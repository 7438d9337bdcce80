/** What the page's pictures are drawn with: the part of a canvas's context that they use. */
export type Pen = Pick<
  CanvasRenderingContext2D,
  | "beginPath" | "moveTo" | "lineTo" | "arc" | "stroke" | "fill" | "fillRect" | "fillText" | "setLineDash"
  | "strokeStyle" | "fillStyle" | "lineWidth" | "globalAlpha" | "font" | "textAlign"
>;

const anchors = { left: "start", start: "start", center: "middle", right: "end", end: "end" };

/** A pen that writes SVG. */
export class SvgPen implements Pen {
  strokeStyle = "#000";
  fillStyle = "#000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "13px sans-serif";
  textAlign: CanvasTextAlign = "left";
  #dash: number[] = [];
  #path = "";
  #elements: string[] = [];

  beginPath() {
    this.#path = "";
  }
  moveTo(x: number, y: number) {
    this.#path += `M${short(x)} ${short(y)}`;
  }
  lineTo(x: number, y: number) {
    this.#path += `${this.#path === "" ? "M" : "L"}${short(x)} ${short(y)}`;
  }
  /** Whole circles only. */
  arc(x: number, y: number, radius: number) {
    const half = `a${radius} ${radius} 0 1 0`;
    this.#path += `M${short(x - radius)} ${short(y)}${half} ${2 * radius} 0${half} ${-2 * radius} 0Z`;
  }
  setLineDash(dash: number[]) {
    this.#dash = dash;
  }
  stroke() {
    const dash = this.#dash.length > 0 ? ` stroke-dasharray="${this.#dash.join(" ")}"` : "";
    this.#add(
      `<path d="${this.#path}" fill="none" stroke="${escape(this.strokeStyle)}" stroke-width="${this.lineWidth}"${dash}`,
      "/>",
    );
  }
  fill() {
    this.#add(`<path d="${this.#path}" fill="${escape(this.fillStyle)}"`, "/>");
  }
  fillRect(x: number, y: number, width: number, height: number) {
    const box = `x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}"`;
    this.#add(`<rect ${box} fill="${escape(this.fillStyle)}"`, "/>");
  }
  fillText(text: string, x: number, y: number) {
    const anchor = anchors[this.textAlign];
    const place = `x="${short(x)}" y="${short(y)}" text-anchor="${anchor}"`;
    this.#add(`<text ${place} style="font:${escape(this.font)}" fill="${escape(this.fillStyle)}"`, `>${escape(text)}</text>`);
  }

  #add(start: string, end: string) {
    this.#elements.push(start + (this.globalAlpha < 1 ? ` opacity="${this.globalAlpha}"` : "") + end);
  }

  /** The whole picture. */
  svg(width: number, height: number, background: string): string {
    const size = `width="${width}" height="${height}"`;
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${width} ${height}" stroke-linejoin="round">`,
      `<rect ${size} fill="${escape(background)}"/>`,
      ...this.#elements,
      "</svg>\n",
    ].join("\n");
  }
}

function short(value: number): string {
  return String(Math.round(100 * value) / 100);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

export function rule(draw: Pen, from: [number, number], to: [number, number], stroke: string) {
  draw.beginPath();
  draw.moveTo(...from);
  draw.lineTo(...to);
  draw.strokeStyle = stroke;
  draw.lineWidth = 1;
  draw.stroke();
}

export function label(draw: Pen, text: string, x: number, y: number, fill: string, align: CanvasTextAlign) {
  draw.fillStyle = fill;
  draw.textAlign = align;
  draw.fillText(text, x, y);
}

/** The outline of a ∇ about a point. */
export function nabla(path: Pick<Pen, "moveTo" | "lineTo">, x: number, y: number, radius: number) {
  const [wide, high] = [1.2 * radius, radius];
  path.moveTo(x - wide, y - high);
  path.lineTo(x + wide, y - high);
  path.lineTo(x, y + high);
  // A little further than to the start, which closes the corner.
  path.lineTo(x - wide, y - high);
  path.lineTo(x, y - high);
}

export function mark(draw: Pen, shape: "dot" | "nabla", x: number, y: number, radius: number, fill: string, ring: string) {
  draw.beginPath();
  if (shape === "dot") draw.arc(x, y, radius, 0, 2 * Math.PI);
  else nabla(draw, x, y, radius);
  draw.fillStyle = fill;
  draw.strokeStyle = ring;
  draw.lineWidth = 2;
  draw.fill();
  draw.stroke();
}
