import type { Engine } from "../../pkg/stackelberg.js";
import { several } from "./format.ts";

/** How an output of a reference case compares, as the engine says it. */
export interface Compared {
  name: string;
  passed: boolean;
}

/** What the worker of the self-check tells. */
export type SelfCheckNews =
  | { is: "running"; done: number; total: number }
  | { is: "checked"; engine: Engine; cases: number; outputs: number; failed: string[] }
  | { is: "over" }
  | { is: "broke"; message: string };

/** A self-check as far as it has come. */
export interface SelfCheck {
  /** The share that is done, 0 to 1; 1 once it is over. */
  share: number;
  engines: Extract<SelfCheckNews, { is: "checked" }>[];
  problem: string | null;
}

export const begun: SelfCheck = { share: 0, engines: [], problem: null };

/** The same after one more message. */
export function checkedOn(check: SelfCheck, news: SelfCheckNews): SelfCheck {
  switch (news.is) {
    case "running":
      return { ...check, share: news.done / news.total };
    case "checked":
      return { ...check, engines: [...check.engines, news] };
    case "over":
      return { ...check, share: 1 };
    case "broke":
      return { ...check, share: 1, problem: news.message };
    default:
      return news satisfies never;
  }
}

const places: Record<Engine, string> = { webgpu: "the GPU", cpu: "the processor" };

/** What it came to, in a sentence. */
export function verdict({ engines, problem, share }: SelfCheck): string {
  if (problem !== null) return `The self-check could not be made: ${problem}.`;
  if (share < 1) return "";
  const of = ({ engine, cases, outputs, failed }: SelfCheck["engines"][number]) =>
    failed.length === 0
      ? `all ${several(cases, "reference case")} (${several(outputs, "result")}) passed on ${places[engine]}`
      : `${failed.length} of ${several(cases, "reference case")} failed on ${places[engine]} (${failed.join(", ")})`;
  const said = engines.map(of).join("; ");
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}, held against results in double precision.`;
}
