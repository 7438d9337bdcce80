import type { Evaluation, OuterIteration, Settings, Trace, Weights } from "../../pkg/stackelberg.js";
import type { Told } from "../lessons/lesson.ts";
import type { Path } from "./paths.ts";
import { title } from "./format.ts";
import { lowest } from "./run.ts";
import { networkName } from "./settings.ts";

/** What a picture shows, as rows under named columns. */
export interface Table {
  columns: string[];
  rows: (string | number | null | undefined)[][];
}

/** Comma-separated values as RFC 4180 has them; what is missing or not finite is an empty field. */
export function csv({ columns, rows }: Table): string {
  const field = (value: string | number | null | undefined) => {
    if (value === null || value === undefined || (typeof value === "number" && !Number.isFinite(value))) return "";
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => `${row.map(field).join(",")}\r\n`).join("");
}

/** Whether the hypergradient of an iteration was taken, and is one. */
function taken({ differentiated, pastEdge }: OuterIteration): string {
  return !differentiated ? "not taken" : pastEdge ? "past the edge of stability" : "taken";
}

export function outerTable(outer: OuterIteration[], unit: string): Table {
  const least = lowest(outer);
  return {
    columns: ["outer iteration", "trainings spent", `validation loss (${unit})`, `lowest so far (${unit})`, "hypergradient"],
    rows: outer.map((one, at) => [one.iteration, one.spent, one.loss, least[at], taken(one)]),
  };
}

/** Training losses: a row a step, a column an outer iteration. */
export function innerTable(inner: number[][], steps: number, unit: string): Table {
  return {
    columns: ["training step", ...inner.map((_, at) => `training loss (${unit}), outer iteration ${at + 1}`)],
    rows: Array.from({ length: steps }, (_, step) => [step + 1, ...inner.map((losses) => losses[step])]),
  };
}

/** AUC and weights of right and wrong labels by outer iteration. */
export function separationTable(weights: Weights[]): Table {
  const bins = weights[0]?.right.length ?? 0;
  const of = (label: string) => Array.from({ length: bins }, (_, bin) => `${label} labels with weights from ${(2 * bin) / bins}`);
  return {
    columns: ["outer iteration", "AUC", ...of("right"), ...of("wrong")],
    rows: weights.map(({ iteration, auc, right, wrong }) => [iteration, auc, ...right, ...wrong]),
  };
}

export function pathTable({ lines, title }: Path, outer: OuterIteration[]): Table {
  return {
    columns: ["outer iteration", "trainings spent", ...lines.map(({ name }) => (lines.length > 1 ? name : title.toLowerCase()))],
    rows: outer.map(({ iteration, spent }, at) => [iteration, spent, ...lines.map(({ values }) => values[at])]),
  };
}

/** Everything an outer iteration tells. */
export function iterationsTable(outer: OuterIteration[], unit: string): Table {
  const names = (outer[0]?.hyperparameters ?? []).map(({ name }) => title(name));
  const chosen = outer.some(({ selection }) => selection !== undefined);
  return {
    columns: [
      "outer iteration",
      "trainings spent",
      "hypergradient",
      `validation loss (${unit})`,
      ...(chosen ? [`loss of the people who choose (${unit})`] : []),
      `foretold by the last hypergradient (${unit})`,
      "step",
      ...names,
      ...names.map((name) => `hypergradient of ${name}`),
      "seconds",
    ],
    rows: outer.map((one) => [
      one.iteration,
      one.spent,
      taken(one),
      one.loss,
      ...(chosen ? [one.selection] : []),
      one.foretold,
      one.accepted ? "kept" : "not kept",
      ...one.hyperparameters.map(({ value }) => value),
      ...one.hyperparameters.map(({ hypergradient }) => hypergradient),
      one.seconds,
    ]),
  };
}

/** How well each class is told: windows, precision, recall and F1, and the F1 of the start values. */
export function classTable(classes: string[], before: Evaluation, after: Evaluation): Table {
  const windows = (row: number) => after.confusion.slice(row * classes.length, (row + 1) * classes.length).reduce((sum, one) => sum + one, 0);
  return {
    columns: ["activity", "windows", "precision", "recall", "F1", "F1 of the start values"],
    rows: classes.map((name, at) => [name, windows(at), after.precision[at], after.recall[at], after.f1[at], before.f1[at]]),
  };
}

/** Two runs side by side. */
export function comparisonTable(names: string[], rows: [string, string, string][]): Table {
  return { columns: ["what", ...names], rows };
}

export function confusionTable(classes: string[], { confusion }: Evaluation): Table {
  return {
    columns: ["windows of", ...classes.map((name) => `named ${name}`)],
    rows: classes.map((name, row) => [name, ...confusion.slice(row * classes.length, (row + 1) * classes.length)]),
  };
}

export function traceTable({ channels, rate, samples }: Trace): Table {
  return {
    columns: ["time (s)", ...channels.map(({ name, unit }) => `${name} (${unit})`)],
    rows: Array.from({ length: samples.length / channels.length }, (_, t) => [
      t / rate,
      ...samples.slice(t * channels.length, (t + 1) * channels.length),
    ]),
  };
}

/** What a lesson told: a row for each point of a curve and, without an x, for each number. */
export function toldTable({ curves, numbers }: Told): Table {
  return {
    columns: ["name", "x", "y"],
    rows: [
      ...Object.entries(curves).flatMap(([name, { x, y }]) => x.map((at, k) => [name, at, y[k]])),
      ...Object.entries(numbers).map(([name, value]) => [name, null, value]),
    ],
  };
}

/** "stackelberg-outer-loss-narrow-T20-seed0.csv": what it is, and of which run. */
export function fileName(what: string, extension: string, run?: Settings): string {
  const of = run ? [networkName(run), `T${run.steps}`, `seed${run.seed}`] : [];
  return `${["stackelberg", ...what.toLowerCase().match(/[a-z0-9]+/g)!, ...of].join("-")}.${extension}`;
}
