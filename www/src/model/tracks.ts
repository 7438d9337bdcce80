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
  /** Of a training past the edge of stability. */
  | "noise"
  /** Not a number. */
  | "none";

/** One hyperparameter on a common ruler: decades moved since the start. */
export interface Track {
  name: string;
  start: number;
  now: number;
  /** Decades from the start (of the odds, for momentum), now and where the hypergradient was taken; positive is up. */
  moved: number;
  origin: number;
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

export function slope({ hypergradient = 0 }: Pick<Hyperparameter, "hypergradient">, pastEdge: boolean): Slope {
  if (!Number.isFinite(hypergradient)) return "none";
  if (hypergradient === 0) return "flat";
  if (pastEdge) return "noise";
  return Math.abs(hypergradient) >= STEEP ? "exploded" : "ordinary";
}

/** Whether the hypergradient of an iteration, if it was taken, holds for no step that is worth taking. */
export function useless({ hyperparameters, pastEdge }: OuterIteration): boolean {
  return pastEdge || hyperparameters.some((one) => slope(one, false) === "exploded");
}

/** Whether two iterations trained with the same values. */
export function samePoint(one: OuterIteration, other: OuterIteration): boolean {
  return one.hyperparameters.every(({ value }, at) => value === other.hyperparameters[at]?.value);
}

/** All hyperparameters that have a hypergradient of their own, and the iteration that this was taken at. */
export interface Tracks {
  rows: Track[];
  /** Decades that the ruler shows to each side. */
  reach: number;
  taken: OuterIteration | undefined;
}

/**
 * How far each hyperparameter has come at an iteration, by itself the last, and where a hypergradient pushes it: that of the
 * same values where it was taken, else the last one until then, as most iterations are trainings alone.
 */
export function tracks(outer: OuterIteration[], at = outer.at(-1)): Tracks {
  const first = outer[0]?.hyperparameters ?? [];
  const has = ({ hyperparameters }: OuterIteration) => hyperparameters.some(({ hypergradient }) => hypergradient !== undefined);
  const taken = outer.filter((one) => at && has(one) && (one.iteration <= at.iteration || samePoint(one, at))).at(-1);
  const decadesMoved = (one: Hyperparameter, at: number) => decades(one) - decades(first[at]!);
  const slopes = (taken?.hyperparameters ?? []).map((one) => slope(one, taken!.pastEdge));
  const ordinary = taken?.hyperparameters.filter((_, at) => slopes[at] === "ordinary") ?? [];
  const steepest = Math.max(...ordinary.map(({ hypergradient = 0 }) => Math.abs(hypergradient)), Number.MIN_VALUE);
  const rows = (taken?.hyperparameters ?? []).flatMap((origin, row) => {
    const now = at!.hyperparameters[row]!;
    if (origin.hypergradient === undefined) return [];
    return {
      name: title(now.name),
      start: first[row]!.value,
      now: now.value,
      moved: decadesMoved(now, row),
      origin: decadesMoved(origin, row),
      hypergradient: origin.hypergradient,
      slope: slopes[row]!,
      push: slopes[row] === "ordinary" ? -origin.hypergradient / steepest : 0,
    };
  });
  const all = outer.flatMap(({ hyperparameters }) => hyperparameters.map(decadesMoved).map(Math.abs));
  const furthest = Math.max(0, ...all.filter(Number.isFinite));
  return { rows, reach: Math.max(0.5, Math.ceil(2 * furthest) / 2), taken };
}

/** What is to be said of hypergradients that are no ordinary ones, of a training through so many steps. */
export function remarks({ rows, taken }: Pick<Tracks, "rows" | "taken">, steps: number): string[] {
  const of = (slope: Slope) => rows.filter((row) => row.slope === slope).map(({ name }) => name);
  const names = (all: string[]) => (all.length > 3 ? `${all.slice(0, 3).join(", ")} and ${all.length - 3} more` : all.join(", "));
  const [exploded, flat, none] = [of("exploded"), of("flat"), of("none")];
  const said: string[] = [];
  if (taken?.pastEdge)
    said.push(
      `Noise: at outer iteration ${taken.iteration} training is past the edge of stability. The derivative is exact, but it holds for no step that is worth taking, so it is no direction. A lower learning rate or fewer training steps tame it.`,
    );
  if (exploded.length > 0)
    said.push(
      `Exploded: ${names(exploded)}. A change of 1 % there would change the outer loss by a nat or more: the derivative is exact, but it holds for no step that is worth taking, so it is no direction.`,
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
