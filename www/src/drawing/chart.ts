import uPlot from "uplot";
import { tick } from "../model/format.ts";
import { label, mark, nabla, rule, SvgPen, type Pen } from "./pen.ts";
import { linearTicks, logTicks } from "./ticks.ts";

export type Colour = "leader" | "follower" | "good" | "bad" | "muted" | "ink";

/** One line of a chart. */
export interface Line {
  /** Shown in the legend; an empty name is left out of it. */
  name: string;
  values: (number | null)[];
  colour: Colour;
  width?: number;
  alpha?: number;
  dash?: number[];
  /** Marks at the points: filled, hollow, or none; "only" leaves the line out. */
  marks?: "filled" | "hollow" | "none";
  shape?: "dot" | "nabla";
  /** Each value holds until the next one. */
  stepped?: boolean;
  only?: boolean;
}

export interface Axes {
  xLabel: string;
  yLabel: string;
  log: boolean;
  /** What each of them holds at least, so that it stays where it is while values come. */
  least?: { x?: Range; y?: Range };
}

export type Range = [low: number, high: number];

/** Lines as they can be drawn: a logarithmic axis has no place for 0, so that this lies below all else. */
export function drawable(lines: Line[], log: boolean): Line[] {
  if (!log) return lines;
  let least = Number.MAX_VALUE;
  // Of a long training there are more values than a call may have arguments.
  for (const { values } of lines) for (const value of values) if (value !== null && value > 0 && value < least) least = value;
  const floor = least / 2;
  return lines.map((line) => ({ ...line, values: line.values.map((value) => (value === null ? null : Math.max(value, floor))) }));
}

export type Paint = Record<Colour | "line" | "surface", string>;

export function options(lines: Line[], { xLabel, yLabel, log, least = {} }: Axes, paint: Paint): Omit<uPlot.Options, "width" | "height"> {
  const axis = {
    stroke: paint.muted,
    font: '12px "Instrument Sans Variable", sans-serif',
    labelFont: '12px "Instrument Sans Variable", sans-serif',
    grid: { stroke: paint.line, width: 1 },
    ticks: { show: false },
    labelSize: 20,
  };
  return {
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false }, points: { size: 7 } },
    // The last label of the axis reaches beyond its end.
    padding: [8, 20, 0, 0],
    scales: {
      // uPlot widens a single value before it asks.
      x: { time: false, range: ({ data: [x] }) => spread(x[0] ?? 0, x.at(-1) ?? 1, least.x) },
      y: { distr: log ? 3 : 1, range: (_, low, high) => widen(low, high, log, least.y) },
    },
    axes: [
      { ...axis, label: xLabel, size: 30, space: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      {
        ...axis,
        label: yLabel,
        size: 64,
        splits: (_, __, low, high) => ticks(low, high, log),
        filter: (_, splits) => splits,
        values: (_, splits) => splits.map(tick),
      },
    ],
    series: [{}, ...lines.map((line) => series(line, paint))],
  };
}

/** Radius of a mark in px. */
const MARK = 3.5;

function series({ colour, width = 2, alpha = 1, dash, marks = "none", shape, only, stepped }: Line, paint: Paint): uPlot.Series {
  const stroke = paint[colour];
  return {
    stroke,
    width: only ? 0 : width,
    alpha,
    ...(dash ? { dash } : {}),
    ...(stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
    spanGaps: true,
    points: {
      show: ({ data: [x] }) => isMarked(marks, x.length, stepped),
      size: 8,
      width: 2,
      stroke,
      fill: marks === "hollow" ? paint.surface : stroke,
      ...(shape === "nabla" ? { paths: nablas } : {}),
    },
  };
}

/** A line of a single point would not be seen, unless marks of other lines are where it steps. */
function isMarked(marks: Line["marks"], points: number, stepped = false): boolean {
  return marks !== "none" || (points === 1 && !stepped);
}

/** A ∇ at every point of a series. */
function nablas(plot: uPlot, at: number): uPlot.Series.Points.Paths {
  const path = new Path2D();
  const [x, values] = [plot.data[0], plot.data[at]!];
  for (const [point, value] of values.entries())
    if (value != null) nabla(path, plot.valToPos(x[point]!, "x", true), plot.valToPos(value, "y", true), MARK * devicePixelRatio);
  return { stroke: path, fill: path };
}

function spread(low: number, high: number, least?: Range): Range {
  if (least) return [Math.min(low, least[0]), Math.max(high, least[1])];
  return low === high ? [low - 0.5, low + 0.5] : [low, high];
}

function ticks(low: number, high: number, log: boolean): number[] {
  return log ? logTicks(low, high) : linearTicks(low, high);
}

/** Room above and below, also around a single value. */
function widen(low: number | null, high: number | null, log: boolean, least?: Range): Range {
  if (low === null || high === null) return log ? [0.1, 1] : [0, 1];
  if (least) [low, high] = [Math.min(low, least[0]), Math.max(high, least[1])];
  if (log && low > 0) {
    const factor = Math.max((high / low) ** 0.08, 1.05);
    return [low / factor, high * factor];
  }
  const room = Math.max(0.08 * (high - low), 0.02 * Math.abs(high), 1e-6);
  return [low - room, high + room];
}

/** A chart as a picture of its own, with its title and legend. */
export function chartSvg(title: string, xs: number[], all: Line[], { xLabel, yLabel, log, least = {} }: Axes, paint: Paint): string {
  const lines = drawable(all, log);
  const [width, height] = [680, 420];
  const [left, right, top, bottom] = [64, width - 20, 84, height - 52];
  const pen = new SvgPen();
  const family = '"Instrument Sans", system-ui, sans-serif';
  pen.font = `600 17px ${family}`;
  label(pen, title, 20, 30, paint.ink, "left");
  pen.font = `13px ${family}`;
  label(pen, yLabel, 20, 64, paint.muted, "left");
  label(pen, xLabel, (left + right) / 2, height - 14, paint.muted, "center");

  const values = lines.flatMap((line) => line.values).filter((value): value is number => value !== null);
  const ends = (one: (a: number, b: number) => number) => (values.length > 0 ? values.reduce((a, b) => one(a, b)) : null);
  const [low, high] = widen(ends(Math.min), ends(Math.max), log, least.y);
  const [first, last] = spread(xs[0] ?? 0, xs.at(-1) ?? 1, least.x);
  const scale = log ? Math.log : (value: number) => value;
  const x = (at: number) => left + ((right - left) * (at - first)) / (last - first);
  const y = (value: number) => bottom - ((bottom - top) * (scale(value) - scale(low))) / (scale(high) - scale(low));

  for (const mark of ticks(low, high, log)) {
    rule(pen, [left, y(mark)], [right, y(mark)], paint.line);
    label(pen, tick(mark), left - 8, y(mark) + 4, paint.muted, "right");
  }
  for (const mark of linearTicks(first, last, 8).filter(Number.isInteger)) {
    rule(pen, [x(mark), top], [x(mark), bottom], paint.line);
    label(pen, tick(mark), x(mark), bottom + 18, paint.muted, "center");
  }

  for (const line of lines)
    stroke(
      pen,
      line,
      line.values.flatMap((value, at) => (value === null ? [] : [[x(xs[at]!), y(value)]])),
      paint,
    );
  let end = width - 20;
  for (const line of lines.filter(({ name }) => name).reverse()) {
    label(pen, line.name, end, 30, paint.muted, "right");
    // No font is at hand to measure with; 6.5 px a letter is enough.
    end -= 6.5 * line.name.length + 10;
    stroke(pen, line, line.only ? [[end - 12, 26]] : [[end - 24, 26], [end, 26]], paint);
    end -= 42;
  }
  return pen.svg(width, height, paint.surface);
}

function stroke(pen: Pen, { colour, alpha = 1, width = 2, dash = [], marks = "none", shape = "dot", only, stepped }: Line, points: [number, number][], paint: Paint) {
  pen.globalAlpha = alpha;
  if (!only && points.length > 0) {
    pen.beginPath();
    for (const [at, [x, y]] of points.entries()) {
      if (stepped && at > 0) pen.lineTo(x, points[at - 1]![1]);
      pen.lineTo(x, y);
    }
    pen.strokeStyle = paint[colour];
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }
  if (isMarked(marks, points.length, stepped))
    for (const [x, y] of points) mark(pen, shape, x, y, MARK, marks === "hollow" ? paint.surface : paint[colour], paint[colour]);
  pen.globalAlpha = 1;
}
