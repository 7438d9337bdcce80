import { tick } from "../model/format.ts";
import type { Colour, Paint } from "./chart.ts";
import { label, mark, rule, SvgPen, type Pen } from "./pen.ts";
import { linearTicks, logTicks } from "./ticks.ts";

export interface Points {
  x: number[];
  y: number[];
}

/** Points that are drawn as a line or as dots. */
export interface Stroke {
  /** None as long as they are not known. */
  points: Points | undefined;
  /** Shown in the legend; without one it is not. */
  name?: string;
  colour: Colour;
  as?: "line" | "dots" | "hollow";
  width?: number;
  dash?: number[];
  alpha?: number;
  /** Whether the axes have to reach as far as it does. */
  aside?: boolean;
}

/** A pair of axes with what is drawn between them. */
export interface Panel {
  title: string;
  xLabel: string;
  yLabel: string;
  x?: Range;
  y?: Range;
  xLog?: boolean;
  yLog?: boolean;
  /** A unit is as long on one axis as on the other. */
  square?: boolean;
  strokes: Stroke[];
}

type Range = [number, number];
type Place = [number, number];

interface Axis {
  range: Range;
  log: boolean;
  /** Where its ends are drawn. */
  ends: Range;
}

/** Width from which panels stand beside each other. */
const BESIDE = 640;

/** Width below which all panels together are no higher than this, so that what moves them is on the same screen. */
const [PHONE, ALL] = [480, 700];

/** Room for a letter of the legend, as no font is at hand to measure with. */
const LETTER = 0.52;

/** Panels as a picture of its own; `size` is that of its letters in px. */
export function pictureSvg(panels: Panel[], width: number, size: number, paint: Paint): string {
  const columns = width < BESIDE * (size / 13) ? 1 : panels.length;
  const each = width / columns;
  const high = Math.round(width < PHONE ? Math.min(260, ALL / panels.length) : Math.min(Math.max(0.75 * each, 300), 440));
  const pen = new SvgPen();
  for (const [at, panel] of panels.entries()) draw(pen, panel, [(at % columns) * each, Math.floor(at / columns) * high], [each, high], size, paint);
  return pen.svg(Math.round(width), high * Math.ceil(panels.length / columns), paint.surface);
}

function draw(pen: Pen, panel: Panel, [left, top]: Place, [wide, high]: Place, size: number, paint: Paint) {
  const family = '"Instrument Sans Variable", "Instrument Sans", system-ui, sans-serif';
  pen.font = `600 ${size + 2}px ${family}`;
  label(pen, panel.title, left + size, top + 1.5 * size, paint.ink, "left");
  pen.font = `${size}px ${family}`;
  const below = legend(pen, panel.strokes, [left + size, top + 3 * size], left + wide - size, size, paint);
  label(pen, panel.yLabel, left + size, below + 1.9 * size, paint.muted, "left");
  const box = { x: [left + 4.4 * size, left + wide - 1.6 * size] as Range, y: [top + high - 3.6 * size, below + 2.7 * size] as Range };
  label(pen, panel.xLabel, (box.x[0] + box.x[1]) / 2, top + high - 0.8 * size, paint.muted, "center");

  const reach = panel.strokes.filter(({ aside }) => !aside).flatMap(({ points }) => (points ? [points] : []));
  const x: Axis = { range: panel.x ?? around(reach.flatMap((points) => points.x), panel.xLog), log: panel.xLog ?? false, ends: box.x };
  const y: Axis = { range: panel.y ?? around(reach.flatMap((points) => points.y), panel.yLog), log: panel.yLog ?? false, ends: box.y };
  if (panel.square) makeSquare(x, y);

  const many = Math.max(3, Math.round((box.x[1] - box.x[0]) / (5 * size)));
  for (const at of ticks(y, 5)) {
    rule(pen, [box.x[0], place(y, at)], [box.x[1], place(y, at)], paint.line);
    label(pen, tick(at), box.x[0] - 0.5 * size, place(y, at) + 0.33 * size, paint.muted, "right");
  }
  for (const at of ticks(x, many)) {
    rule(pen, [place(x, at), box.y[1]], [place(x, at), box.y[0]], paint.line);
    label(pen, tick(at), place(x, at), box.y[0] + 1.3 * size, paint.muted, "center");
  }
  for (const stroke of panel.strokes) if (stroke.points) trace(pen, stroke, stroke.points, x, y, paint);
}

function trace(pen: Pen, { colour, as = "line", width = 2, dash = [], alpha = 1 }: Stroke, points: Points, x: Axis, y: Axis, paint: Paint) {
  const drawable = (at: number, axis: Axis) => Number.isFinite(at) && !(axis.log && at <= 0);
  const places = points.x.map((at, k): Place | null =>
    drawable(at, x) && drawable(points.y[k]!, y) ? [place(x, at), place(y, points.y[k]!)] : null,
  );
  pen.globalAlpha = alpha;
  if (as === "line") {
    pen.beginPath();
    let end: Place | null = null;
    for (const [k, to] of places.entries()) {
      const from = places[k - 1];
      const part = from && to && within(from, to, x.ends, y.ends);
      if (!part) continue;
      if (!end || end[0] !== part[0][0] || end[1] !== part[0][1]) pen.moveTo(...part[0]);
      pen.lineTo(...part[1]);
      end = part[1];
    }
    if (end) {
      pen.strokeStyle = paint[colour];
      pen.lineWidth = width;
      pen.setLineDash(dash);
      pen.stroke();
      pen.setLineDash([]);
    }
  } else {
    // All dots in one path: hundreds of them are drawn again in every frame.
    pen.beginPath();
    for (const to of places)
      if (to && inside(to[0], x.ends) && inside(to[1], y.ends)) pen.arc(...to, 2 * width, 0, 2 * Math.PI);
    pen.fillStyle = as === "hollow" ? paint.surface : paint[colour];
    pen.strokeStyle = paint[colour];
    pen.lineWidth = 2;
    pen.fill();
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** Samples of the strokes with their names, in as many lines as they need; gives where they end. */
function legend(pen: Pen, strokes: Stroke[], [left, top]: Place, end: number, size: number, paint: Paint): number {
  let [x, y] = [left, top];
  for (const { name, colour, as = "line", dash = [], width = 2, alpha = 1 } of strokes) {
    if (!name) continue;
    const wide = 2.2 * size + LETTER * size * name.length;
    if (x > left && x + wide > end) [x, y] = [left, y + 1.4 * size];
    const middle = y - 0.35 * size;
    const from: Place = [x, middle];
    pen.globalAlpha = alpha;
    if (as === "line") {
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(x + 1.4 * size, middle);
      pen.strokeStyle = paint[colour];
      pen.lineWidth = width;
      pen.stroke();
      pen.setLineDash([]);
    } else mark(pen, "dot", x + 0.7 * size, middle, 4, as === "hollow" ? paint.surface : paint[colour], paint[colour]);
    pen.globalAlpha = 1;
    label(pen, name, x + 1.8 * size, y, paint.muted, "left");
    x += wide + size;
  }
  return y;
}

/** The part of a straight line that lies in a box. */
function within(from: Place, to: Place, x: Range, y: Range): [Place, Place] | null {
  let [first, last] = [0, 1];
  const ends = [x, [y[1], y[0]] as Range];
  for (const axis of [0, 1] as const) {
    const [low, high] = ends[axis]!;
    const by = to[axis] - from[axis];
    if (by === 0 && !inside(from[axis], [low, high])) return null;
    if (by === 0) continue;
    const [enters, leaves] = [(low - from[axis]) / by, (high - from[axis]) / by].sort((a, b) => a - b) as Range;
    first = Math.max(first, enters);
    last = Math.min(last, leaves);
  }
  if (first > last) return null;
  const at = (share: number): Place => [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
  return [first === 0 ? from : at(first), last === 1 ? to : at(last)];
}

function inside(at: number, [one, other]: Range): boolean {
  const slack = 0.5;
  return at >= Math.min(one, other) - slack && at <= Math.max(one, other) + slack;
}

function place({ range: [low, high], log, ends: [from, to] }: Axis, value: number): number {
  const scale = log ? Math.log : (value: number) => value;
  return from + ((to - from) * (scale(value) - scale(low))) / (scale(high) - scale(low));
}

function ticks({ range: [low, high], log }: Axis, many: number): number[] {
  return log ? logTicks(low, high) : linearTicks(low, high, many);
}

/** What holds all values, with some room. */
function around(values: number[], log = false): Range {
  const drawn = values.filter((value) => Number.isFinite(value) && !(log && value <= 0));
  if (drawn.length === 0) return log ? [0.1, 1] : [0, 1];
  const [low, high] = [Math.min(...drawn), Math.max(...drawn)];
  if (log) {
    const factor = Math.max((high / low) ** 0.06, 1.1);
    return [low / factor, high * factor];
  }
  const room = Math.max(0.06 * (high - low), 1e-9 + 0.01 * Math.abs(high));
  return [low - room, high + room];
}

/** Widens one of two axes until a unit is as long on both. */
function makeSquare(x: Axis, y: Axis) {
  const unit = ({ range, ends }: Axis) => Math.abs(ends[1] - ends[0]) / (range[1] - range[0]);
  const [wider, other] = unit(x) > unit(y) ? [x, y] : [y, x];
  const middle = (wider.range[0] + wider.range[1]) / 2;
  const half = Math.abs(wider.ends[1] - wider.ends[0]) / unit(other) / 2;
  wider.range = [middle - half, middle + half];
}
