import type { Hyperparameter, OuterIteration } from "../../pkg/stackelberg.js";
import { title } from "./format.ts";

/** One hyperparameter on a common ruler: decades moved since the start. */
export interface Track {
  name: string;
  start: number;
  now: number;
  /** Decades from the start (of the odds, for momentum); positive is up. */
  moved: number;
  hypergradient: number;
  /** Where a step down the outer loss leads, −1 to 1, relative to the steepest. */
  push: number;
}

/** How far each hyperparameter that has a hypergradient of its own has come and where its hypergradient pushes it. */
export function tracks(outer: OuterIteration[]): { rows: Track[]; reach: number } {
  const first = outer[0]?.hyperparameters ?? [];
  const last = outer.at(-1)?.hyperparameters ?? [];
  const steepest = Math.max(...last.map(({ hypergradient = 0 }) => Math.abs(hypergradient)), Number.MIN_VALUE);
  const moved = (one: Hyperparameter, at: number) => decades(one) - decades(first[at]!);
  const rows = last.flatMap((now, at) =>
    now.hypergradient === undefined
      ? []
      : {
          name: title(now.name),
          start: first[at]!.value,
          now: now.value,
          moved: moved(now, at),
          hypergradient: now.hypergradient,
          push: -now.hypergradient / steepest,
        },
  );
  const furthest = Math.max(0, ...outer.flatMap(({ hyperparameters }) => hyperparameters.map(moved).map(Math.abs)));
  return { rows, reach: Math.max(0.5, Math.ceil(2 * furthest) / 2) };
}

function decades({ group, value }: Hyperparameter): number {
  return Math.log10(group === "momentum" ? value / (1 - value) : value);
}
