// What is asked of the engine about the settings at hand, besides a run of them.
import type { ToWorker } from "../../pkg/stackelberg.js";
import { engine, isOf, settings, stage, type Hand, type Step, type Studio } from "./studio.ts";
import { beginning } from "./unroll.ts";

/** Asks for a hypergradient that can be watched. */
export function unroll(studio: Studio): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const message: ToWorker = { kind: "unroll", settings: settings(studio), engine: state.engine };
  return [{ ...studio, busy: { is: "unrolling" }, unroll: beginning(settings(studio)) }, [{ kind: "send", message }]];
}

/** Asks what the settings are computed with, unless that is known. */
export function openMachine(studio: Studio): Step {
  const [wanted, state] = [settings(studio), engine(studio)];
  if (stage(studio).is !== "ready" || !state || (studio.opened && isOf(studio.opened, studio))) return [studio, []];
  const message: ToWorker = { kind: "open-machine", settings: wanted, engine: state.engine };
  return [{ ...studio, opened: { settings: wanted, engine: state.engine, machine: null } }, [{ kind: "send", message }]];
}

/** Asks for the slope at a point that was chosen by hand. */
export function differentiate(studio: Studio, moves: number[] | null): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const own = moves !== null && studio.hand?.slope ? studio.hand : null;
  const of = own ?? { settings: settings(studio), engine: state.engine };
  const hand: Hand = { ...of, slope: own?.slope ?? null, moves: own?.moves ?? [], foretold: null, tried: own?.tried ?? [], problem: null };
  const message: ToWorker = { kind: "differentiate", settings: of.settings, engine: of.engine, ...(own && moves ? { moves } : {}) };
  return [{ ...studio, busy: { is: "trying" }, hand }, [{ kind: "send", message }]];
}

/** Asks for the hypergradient beside forward mode and differences. */
export function check(studio: Studio): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const message: ToWorker = { kind: "check-gradient", settings: settings(studio), engine: state.engine };
  return [{ ...studio, busy: { is: "checking", cancelling: false }, check: null }, [{ kind: "send", message }]];
}
