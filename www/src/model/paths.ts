import type { OuterIteration } from "../../pkg/stackelberg.js";
import type { Line } from "../drawing/chart.ts";
import { kind, type Kind } from "./schema.ts";

/** The course of one group of hyperparameters over the outer iterations. */
export interface Path {
  group: string;
  title: string;
  unit: string;
  log: boolean;
  lines: (Line & { values: number[] })[];
}

// Told apart by their dashes as well as by their colour.
const looks: Pick<Line, "colour" | "dash">[] = [
  { colour: "leader" },
  { colour: "good", dash: [9, 4] },
  { colour: "ink", dash: [2, 4] },
  { colour: "bad", dash: [9, 3, 2, 3] },
];

/** How the values of a kind are shown. */
function look({ label, unit, log }: Kind): Pick<Path, "title" | "unit" | "log"> {
  return { title: label, unit: log ? `${unit} (log)` : unit, log };
}

/** One picture a group, one line a hyperparameter, in the order the engine lists them. */
export function paths(outer: OuterIteration[]): Path[] {
  const all = new Map<string, Path>();
  for (const [at, { group, name }] of (outer[0]?.hyperparameters ?? []).entries()) {
    const path: Path = all.get(group) ?? { group, ...look(kind(group)), lines: [] };
    const values = outer.map(({ hyperparameters }) => hyperparameters[at]!.value);
    path.lines.push({ name: name.split(".").at(-1)!, values, width: 2, ...looks[path.lines.length % looks.length]! });
    all.set(group, path);
  }
  return [...all.values()];
}
