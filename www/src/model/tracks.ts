import type { Hyperparameter, OuterIteration } from "../../pkg/stackelberg.js";
import { title } from "./format.ts";

/** What a hypergradient is good for. */
export type Slope =
  /** A way to go. */
  | "ordinary"
  /** Exactly 0. */
  | "flat"
  /** So steep that it holds for no step that is worth taking. */
  | "exploded"
  /** Not a number. */
  | "none";

/** One hyperparameter on a common ruler: decades moved since the start. */
export interface Track {
  name: string;
  start: number;
  now: number;
  /** Decades from the start (of the odds, for momentum); positive is up. */
  moved: number;
  hypergradient: number;
  slope: Slope;
  /** Where a step down the outer loss leads, −1 to 1, relative to the steepest ordinary one. */
  push: number;
}

/**
 * From here on a change of 1 % (hypergradients are taken of logarithms or of log-odds) would change the outer loss by a
 * nat or more: the loss is no straight line over any step that one would take.
 */
export const STEEP = 100;

export function slope({ hypergradient = 0 }: Pick<Hyperparameter, "hypergradient">): Slope {
  if (!Number.isFinite(hypergradient)) return "none";
  if (hypergradient === 0) return "flat";
  return Math.abs(hypergradient) >= STEEP ? "exploded" : "ordinary";
}

/** How far each hyperparameter that has a hypergradient of its own has come at an iteration, by itself the last, and where
 * the hypergradient that was taken last until then pushes it: most iterations are trainings alone. */
export function tracks(outer: OuterIteration[], at = outer.at(-1)): { rows: Track[]; reach: number } {
  const first = outer[0]?.hyperparameters ?? [];
  const taken = ({ hyperparameters }: OuterIteration) => hyperparameters.some(({ hypergradient }) => hypergradient !== undefined);
  const latest = outer.filter((one) => at && one.iteration <= at.iteration && taken(one)).at(-1)?.hyperparameters;
  const shown = (at?.hyperparameters ?? []).map((one, at) => ({ ...one, hypergradient: latest?.[at]?.hypergradient }));
  const ordinary = shown.filter((one) => slope(one) === "ordinary");
  const steepest = Math.max(...ordinary.map(({ hypergradient = 0 }) => Math.abs(hypergradient)), Number.MIN_VALUE);
  const moved = (one: Hyperparameter, at: number) => decades(one) - decades(first[at]!);
  const rows = shown.flatMap((now, at) =>
    now.hypergradient === undefined
      ? []
      : {
          name: title(now.name),
          start: first[at]!.value,
          now: now.value,
          moved: moved(now, at),
          hypergradient: now.hypergradient,
          slope: slope(now),
          push: slope(now) === "ordinary" ? -now.hypergradient / steepest : 0,
        },
  );
  const furthest = Math.max(0, ...outer.flatMap(({ hyperparameters }) => hyperparameters.map(moved).map(Math.abs)).filter(Number.isFinite));
  return { rows, reach: Math.max(0.5, Math.ceil(2 * furthest) / 2) };
}

/** What is to be said of hypergradients that are no ordinary ones, of a training through so many steps. */
export function remarks(rows: Track[], steps: number): string[] {
  const of = (slope: Slope) => rows.filter((row) => row.slope === slope).map(({ name }) => name);
  const names = (all: string[]) => (all.length > 3 ? `${all.slice(0, 3).join(", ")} and ${all.length - 3} more` : all.join(", "));
  const [exploded, flat, none] = [of("exploded"), of("flat"), of("none")];
  const said: string[] = [];
  if (exploded.length > 0)
    said.push(
      `Exploded: ${names(exploded)}. A change of 1 % there would change the outer loss by a nat or more. Training is past the edge of stability: the derivative is exact, but it holds for no step that is worth taking, so it is no direction. A lower learning rate or fewer training steps tame it.`,
    );
  if (none.length > 0) said.push(`Not a number: ${names(none)}. Training overflowed on the way, so there is no derivative.`);
  const first = steps === 1 && flat.includes("Momentum");
  if (first) said.push("Momentum is exactly 0: it acts through the steps before, and a training of one step has none.");
  const others = flat.filter((name) => !(first && name === "Momentum"));
  if (others.length > 0) said.push(`Exactly 0: ${names(others)}. The outer loss does not change with ${others.length === 1 ? "it" : "them"} here.`);
  return said;
}

function decades({ group, value }: Hyperparameter): number {
  return Math.log10(group === "momentum" ? value / (1 - value) : value);
}
