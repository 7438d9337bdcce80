import type uPlot from "uplot";
import { tick } from "../model/format.ts";

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
  only?: boolean;
}

export interface Axes {
  xLabel: string;
  yLabel: string;
  log: boolean;
}

type Paint = Record<Colour | "line" | "surface", string>;

export function options(lines: Line[], { xLabel, yLabel, log }: Axes, paint: Paint): Omit<uPlot.Options, "width" | "height"> {
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
    cursor: { show: false },
    padding: [8, 10, 0, 0],
    scales: {
      x: { time: false, range: (_, low, high) => (low === high ? [low - 0.5, low + 0.5] : [low, high]) },
      y: { distr: log ? 3 : 1, range: (_, low, high) => widen(low, high, log) },
    },
    axes: [
      { ...axis, label: xLabel, size: 30, space: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      {
        ...axis,
        label: yLabel,
        size: 52,
        splits: (_, __, low, high) => (log ? logTicks(low, high) : linearTicks(low, high)),
        filter: (_, splits) => splits,
        values: (_, splits) => splits.map(tick),
      },
    ],
    series: [{}, ...lines.map((line) => series(line, paint))],
  };
}

function series({ colour, width = 2, alpha = 1, dash, marks = "none", only }: Line, paint: Paint): uPlot.Series {
  const stroke = paint[colour];
  return {
    stroke,
    width: only ? 0 : width,
    alpha,
    ...(dash ? { dash } : {}),
    spanGaps: true,
    points: { show: marks !== "none", size: 8, width: 2, stroke, fill: marks === "hollow" ? paint.surface : stroke },
  };
}

/** Room above and below, also around a single value. */
function widen(low: number | null, high: number | null, log: boolean): [number, number] {
  if (low === null || high === null) return log ? [0.1, 1] : [0, 1];
  if (log && low > 0) {
    const factor = Math.max((high / low) ** 0.08, 1.05);
    return [low / factor, high * factor];
  }
  const room = Math.max(0.08 * (high - low), 0.02 * Math.abs(high), 1e-6);
  return [low - room, high + room];
}

/** 1, 2, 5 in each decade, or only powers of ten over many; plain round steps over a short range. */
function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high);
  const factors = decades < 2.5 ? [1, 2, 5] : [1];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    all.push(...factors.map((factor) => factor * 10 ** power).filter((value) => value >= low && value <= high));
  return all;
}

/** About `many` round values. */
export function linearTicks(low: number, high: number, many = 5): number[] {
  const rough = (high - low) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const all: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) all.push(Number((at * step).toPrecision(6)));
  return all;
}
