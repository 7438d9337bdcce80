import type { Group, OuterIteration } from "../../pkg/stackelberg.js";
import type { Line } from "../drawing/chart.ts";

/** The course of one group of hyperparameters over the outer iterations. */
export interface Path {
  group: Group;
  title: string;
  unit: string;
  log: boolean;
  lines: (Line & { values: number[] })[];
}

const kinds: Record<Group, Pick<Path, "title" | "unit" | "log">> = {
  lr: { title: "Learning rate", unit: "rate a step (log)", log: true },
  momentum: { title: "Momentum", unit: "factor, 0 to 1", log: false },
  l2: { title: "L2 penalty", unit: "penalty (log)", log: true },
  "lr-layers": { title: "Rate per layer", unit: "factor on the rate (log)", log: true },
  "lr-schedule": { title: "Rate per step", unit: "factor on the rate (log)", log: true },
  dropout: { title: "Dropout rate", unit: "rate, 0 to 1", log: false },
  jitter: { title: "Jitter of windows", unit: "standard deviation (log)", log: true },
  scaling: { title: "Scaling of channels", unit: "standard deviation (log)", log: true },
  "initial-scale": { title: "Scale of first weights", unit: "factor (log)", log: true },
  "example-weights": { title: "Example weights", unit: "weight of a window", log: false },
};

// Told apart by their dashes as well as by their colour.
const looks: Pick<Line, "colour" | "dash">[] = [
  { colour: "leader" },
  { colour: "good", dash: [9, 4] },
  { colour: "ink", dash: [2, 4] },
  { colour: "bad", dash: [9, 3, 2, 3] },
];

/** One picture a group, one line a hyperparameter, in the order the engine lists them. */
export function paths(outer: OuterIteration[]): Path[] {
  const all = new Map<Group, Path>();
  for (const [at, { group, name }] of (outer[0]?.hyperparameters ?? []).entries()) {
    const path = all.get(group) ?? { group, ...kinds[group], lines: [] };
    const values = outer.map(({ hyperparameters }) => hyperparameters[at]!.value);
    path.lines.push({ name: name.split(".").at(-1)!, values, width: 2, ...looks[path.lines.length % looks.length]! });
    all.set(group, path);
  }
  return [...all.values()];
}
