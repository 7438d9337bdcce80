import type { Trace } from "../../pkg/stackelberg.js";
import { tick } from "../model/format.ts";
import { linearTicks } from "./ticks.ts";
import { label, mark, rule, SvgPen, type Pen } from "./pen.ts";

export type Paint = Record<"ink" | "muted" | "line" | "leader" | "follower" | "good" | "surface", string>;

/** Channels that share an axis: body acceleration, rotation, total acceleration. */
export interface Panel {
  title: string;
  unit: string;
  lines: { name: string; values: Float32Array }[];
  low: number;
  high: number;
}

const titles: Record<string, string> = {
  body_acc: "Body acceleration",
  body_gyro: "Rotation",
  total_acc: "Total acceleration",
};

export function panels({ channels, samples }: Trace): Panel[] {
  const all = new Map<string, Panel>();
  channels.forEach(({ name, unit }, at) => {
    const sensor = name.replace(/_[^_]*$/, "");
    const panel = all.get(sensor) ?? { title: titles[sensor] ?? sensor, unit, lines: [], low: Infinity, high: -Infinity };
    const values = Float32Array.from({ length: samples.length / channels.length }, (_, t) => samples[t * channels.length + at]!);
    for (const value of values) {
      panel.low = Math.min(panel.low, value);
      panel.high = Math.max(panel.high, value);
    }
    panel.lines.push({ name: name.slice(sensor.length + 1), values });
    all.set(sensor, panel);
  });
  return [...all.values()].map(widened);
}

/** A still sensor is drawn as a quiet line, not as magnified noise. */
function widened(panel: Panel): Panel {
  const middle = (panel.low + panel.high) / 2;
  const half = Math.max(0.15, 0.55 * (panel.high - panel.low));
  return { ...panel, low: middle - half, high: middle + half };
}

/** Draws all panels on a canvas; what lies before `played` seconds in full colour, the rest faint. */
export function drawTrace(canvas: HTMLCanvasElement, parts: Panel[], trace: Trace, played: number, paint: Paint) {
  const ratio = devicePixelRatio;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const draw = canvas.getContext("2d")!;
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  draw.font = `13px ${getComputedStyle(canvas).fontFamily}`;
  draw.lineJoin = "round";
  paintTrace(draw, width, height, parts, trace, played, paint);
}

/** The whole recording as a picture of its own. */
export function traceSvg(trace: Trace, paint: Paint): string {
  const pen = new SvgPen();
  const [width, height] = [760, 460];
  paintTrace(pen, width, height, panels(trace), trace, Infinity, paint);
  return pen.svg(width, height, paint.surface);
}

function paintTrace(draw: Pen, width: number, height: number, parts: Panel[], { rate }: Trace, played: number, paint: Paint) {
  const left = 46;
  const right = width - 22;
  const bottom = height - 40;
  const each = bottom / parts.length;
  const samples = parts[0]?.lines[0]?.values.length ?? 0;
  const x = (sample: number) => left + ((right - left) * sample) / (samples - 1);
  const now = Math.min(samples - 1, played * rate);

  const strokes = [paint.leader, paint.follower, paint.good];
  parts.forEach((panel, index) => {
    const top = index * each + 24;
    const low = (index + 1) * each - 10;
    const y = (value: number) => low - ((low - top) * (value - panel.low)) / (panel.high - panel.low);
    label(draw, `${panel.title}, ${panel.unit}`, left, top - 10, paint.muted, "left");
    for (const mark of linearTicks(panel.low, panel.high, 3)) {
      rule(draw, [left, y(mark)], [right, y(mark)], paint.line);
      label(draw, tick(mark), left - 8, y(mark) + 4, paint.muted, "right");
    }
    panel.lines.forEach(({ values }, line) => {
      const stroke = strokes[line % strokes.length]!;
      curve(draw, values, samples - 1, x, y, stroke, 0.22);
      curve(draw, values, now, x, y, stroke, 1);
      mark(draw, "dot", x(now), y(between(values, now)), 5, stroke, paint.surface);
    });
    const ends = panel.lines.map(({ values }) => y(values[samples - 1]!));
    apart(ends, 13).forEach((at, line) => {
      label(draw, panel.lines[line]!.name, right + 10, at + 4, strokes[line % strokes.length]!, "left");
    });
  });

  for (let second = 0; second <= samples / rate; second += 0.5) {
    if (second * rate <= samples - 1) label(draw, second.toFixed(1), x(second * rate), bottom + 14, paint.muted, "center");
  }
  label(draw, "time, seconds", (left + right) / 2, bottom + 34, paint.muted, "center");
}

/** Positions moved as little as needed to lie at least `gap` from each other, in the same order. */
export function apart(positions: number[], gap: number): number[] {
  const order = positions.map((_, at) => at).sort((a, b) => positions[a]! - positions[b]!);
  const moved = positions.slice();
  for (let pass = 0; pass < positions.length; pass++)
    order.slice(1).forEach((above, at) => {
      const below = order[at]!;
      const overlap = gap - (moved[above]! - moved[below]!);
      if (overlap <= 0) return;
      moved[above]! += overlap / 2;
      moved[below]! -= overlap / 2;
    });
  return moved;
}

function curve(draw: Pen, values: Float32Array, until: number, x: (t: number) => number, y: (v: number) => number, stroke: string, alpha: number) {
  draw.beginPath();
  for (let t = 0; t <= until; t++) draw.lineTo(x(t), y(values[t]!));
  draw.lineTo(x(until), y(between(values, until)));
  draw.globalAlpha = alpha;
  draw.strokeStyle = stroke;
  draw.lineWidth = 1.75;
  draw.stroke();
  draw.globalAlpha = 1;
}

function between(values: Float32Array, at: number): number {
  const first = Math.floor(at);
  const here = values[first]!;
  return here + (at - first) * ((values[first + 1] ?? here) - here);
}
