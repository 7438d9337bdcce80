import type { FromWorker, Settings } from "../../pkg/stackelberg.js";
import { bytes, number, several } from "./format.ts";
import { lossUnit } from "./settings.ts";
import type { Table } from "./table.ts";

/** One hypergradient as far as the page was told of it. */
export interface Unrolled {
  /** Of which settings. */
  settings: Settings;
  plan: Plan | null;
  /** Actions that are done. */
  done: number;
  /** The outer loss, once the training is over, and the training loss of each step. */
  loss: number | null;
  losses: number[];
  /** dE/dη_t of each step; none of those that the way back has not come to. */
  slopes: (number | null)[];
  seconds: number | null;
  problem: string | null;
}

/** Which states are kept, drawn over the actions that are run one after the other. */
export interface Plan {
  steps: number;
  places: number;
  bytes: number;
  actions: number;
  /** Where the way turns: after how many actions, at which step. */
  turns: [number, number][];
  /** States that are kept: the step before each, and from which action to which. */
  kept: [number, number, number][];
}

export type Part = Extract<FromWorker, { kind: "unroll" }>;

export function beginning(settings: Settings): Unrolled {
  return { settings, plan: null, done: 0, loss: null, losses: [], slopes: [], seconds: null, problem: null };
}

/** Numbers in groups of so many. */
function grouped<Group extends number[]>(numbers: number[], size: number): Group[] {
  return Array.from({ length: numbers.length / size }, (_, at) => numbers.slice(at * size, (at + 1) * size) as Group);
}

/** The same after one more part. */
export function unrolled(before: Unrolled, part: Part): Unrolled {
  switch (part.part) {
    case "plan": {
      const { steps, places, bytes, actions } = part;
      return { ...before, plan: { steps, places, bytes, actions, turns: grouped(part.turns, 2), kept: grouped(part.kept, 3) }, slopes: Array<null>(steps).fill(null) };
    }
    case "progress":
      return { ...before, done: Math.max(before.done, part.done) };
    case "turned":
      return { ...before, loss: part.loss, losses: part.losses };
    case "back": {
      const slopes = before.slopes.slice();
      part.slopes.forEach((slope, at) => (slopes[part.from + at] = slope));
      return { ...before, slopes };
    }
    case "done":
      return { ...before, seconds: part.seconds, done: before.plan?.actions ?? 0 };
    case "failed":
      return { ...before, problem: part.message ?? "It gave way to a run." };
    default:
      return part satisfies never;
  }
}

/** At which step the way there and back is, and whether it goes back. */
export function where({ turns }: Plan, done: number): { step: number; back: boolean } {
  const next = turns.findIndex(([action]) => action >= done);
  const [later, to] = turns[next === -1 ? turns.length - 1 : next]!;
  const [earlier, from] = turns[Math.max(0, (next === -1 ? turns.length : next) - 1)]!;
  const share = later === earlier ? 1 : Math.min(1, (done - earlier) / (later - earlier));
  return { step: from + share * (to - from), back: to < from };
}

/** What the picture shows, in words. */
export function summary({ plan, loss, slopes, seconds }: Unrolled): string {
  if (!plan) return "The way there and back is being planned.";
  const stored = plan.kept.length > 0 && plan.actions <= 2 * plan.steps + 1;
  const how = stored
    ? `Every state is kept (${bytes(plan.bytes)} in all), so no step is run again`
    : `${several(plan.places, "state")} fit into memory (${bytes(plan.bytes)} in all), so ${several(plan.actions - 2 * plan.steps - 1, "step")} of ${plan.steps} are run again`;
  const known = slopes.flatMap((slope, step) => (slope === null ? [] : [{ slope, step }]));
  if (loss === null || known.length === 0) return `${how}.`;
  const steepest = known.reduce((most, one) => (Math.abs(one.slope) > Math.abs(most.slope) ? one : most));
  const longer = known.filter(({ slope }) => slope < 0).length;
  const end = seconds === null ? "" : ` A larger rate would lower the outer loss in ${longer} of ${several(known.length, "step")}; it acts most in step ${steepest.step + 1}, with dE/dη ${number(steepest.slope)}.`;
  return `${how}. The outer loss is ${number(loss)}.${end}`;
}

/** The numbers behind the picture. */
export function unrollTable({ settings, losses, slopes }: Unrolled): Table {
  return { columns: ["training step", `training loss (${lossUnit(settings)})`, "dE/dη_t"], rows: slopes.map((slope, at) => [at + 1, losses[at] ?? "", slope ?? ""]) };
}
