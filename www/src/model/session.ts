import type {
  CheckReport,
  DataInfo,
  Done,
  Engine,
  EngineState,
  Evaluation,
  Failure,
  FirstRun,
  FromWorker,
  OuterIteration,
  Progress,
  Settings,
  Trace,
  Which,
} from "../../pkg/stackelberg.js";
import { number } from "./format.ts";

/** All the page knows; made only from the worker's messages. */
export interface Session {
  /** None before they were looked for. */
  engines: EngineState[];
  /** The one that would do the run at hand sooner, once measured. */
  faster: Engine | undefined;
  /** What is worth its time here, once measured. */
  firstRun: FirstRun | null;
  data: DataInfo | null;
  trace: Trace | null;
  run: Run | null;
  /** The last check of the hypergradient. */
  check: Check | null;
  /** The last run was stopped before it had a result. */
  cancelled: boolean;
  failure: Failure | null;
}

export type Check =
  /** Through so many training steps, and its seconds as foreseen. */
  | { state: "checking"; steps: number; seconds: number }
  | { state: "checked"; report: CheckReport }
  | { state: "failed"; message: string };

export interface Run {
  settings: Settings;
  engine: Engine;
  /** Its data, whatever is loaded meanwhile. */
  data: DataInfo;
  state: "running" | "paused" | "done" | "failed";
  progress: Progress | null;
  /** The device was lost, and an outer iteration is done again on a new one. */
  recovering: boolean;
  /** Training losses, one list an outer iteration. */
  inner: number[][];
  outer: OuterIteration[];
  scores: Partial<Record<Which, Evaluation>>;
  done: Done | null;
}

export const empty: Session = {
  engines: [],
  faster: undefined,
  firstRun: null,
  data: null,
  trace: null,
  run: null,
  check: null,
  cancelled: false,
  failure: null,
};

/** The session after one more message. */
export function reduce(session: Session, message: FromWorker): Session {
  switch (message.kind) {
    case "engines":
      return { ...session, engines: message.engines, faster: message.faster };
    case "first-run":
      return { ...session, firstRun: message };
    case "data":
      return { ...session, data: message, failure: session.failure?.stage === "data" ? null : session.failure };
    case "trace":
      return { ...session, trace: message };
    case "started":
      return { ...session, failure: null, cancelled: false, run: begin(message) };
    case "cancelled":
      return { ...session, cancelled: true, run: null };
    case "checking":
      return { ...session, check: { state: "checking", steps: message.steps, seconds: message.seconds } };
    case "checked":
      return { ...session, check: { state: "checked", report: message } };
    case "unchecked":
      return { ...session, check: message.message === undefined ? null : { state: "failed", message: message.message } };
    case "failed":
      return {
        ...session,
        failure: message,
        run: message.stage === "data" ? session.run : session.run && { ...session.run, state: "failed" },
      };
    default:
      return session.run ? { ...session, run: advance(session.run, message) } : session;
  }
}

function begin({ settings, engine, data }: { settings: Settings; engine: Engine; data: DataInfo }): Run {
  return { settings, engine, data, state: "running", progress: null, recovering: false, inner: [], outer: [], scores: {}, done: null };
}

type RunMessage = Exclude<
  FromWorker,
  { kind: "engines" | "first-run" | "data" | "trace" | "started" | "cancelled" | "checking" | "checked" | "unchecked" | "failed" }
>;

function advance(run: Run, message: RunMessage): Run {
  switch (message.kind) {
    case "progress":
      return { ...run, progress: message };
    case "inner-losses": {
      const inner = run.inner.slice();
      inner[message.iteration - 1] = message.losses;
      return { ...run, inner };
    }
    case "outer":
      return { ...run, recovering: false, outer: [...run.outer, message] };
    case "evaluation":
      return { ...run, scores: { ...run.scores, [message.which]: message } };
    case "recovering":
      return { ...run, recovering: true, progress: null };
    case "paused":
      return { ...run, state: "paused" };
    case "resumed":
      return { ...run, state: "running" };
    case "done":
      return { ...run, state: "done", done: message };
    default:
      return message satisfies never;
  }
}

export const withoutResult = "Stopped before the first outer iteration was complete, so there is no result.";

/** Where the page stands, in words, for the live region: said once a change, not once a step. */
export function announcement(session: Session): string {
  const { run, failure } = session;
  if (failure) return failure.message;
  if (!run) {
    if (session.cancelled) return withoutResult;
    return session.engines.length > 0 ? "Ready to tune." : "";
  }
  switch (run.state) {
    case "running":
      return run.recovering ? "The device was lost; going on with a new one." : "Tuning.";
    case "paused":
      return "Paused.";
    case "failed":
      return "The run ended early.";
    case "done": {
      const { before, after } = run.scores;
      const least = best(run.outer);
      const course =
        before && after
          ? ` Test accuracy went from ${(100 * before.accuracy).toFixed(1)} to ${(100 * after.accuracy).toFixed(1)} percent.`
          : least
            ? ` The outer loss went from ${number(run.outer[0]?.loss)} to ${number(least.loss)}.`
            : "";
      return `${run.done?.ending === "stopped" ? "Stopped." : "Finished."}${course}`;
    }
  }
}

/** The lowest outer loss among accepted iterations. */
export function best(outer: OuterIteration[]): { iteration: number; loss: number } | undefined {
  return outer
    .flatMap(({ iteration, loss, accepted }) => (accepted && loss !== undefined ? [{ iteration, loss }] : []))
    .reduce<{ iteration: number; loss: number } | undefined>(
      (least, one) => (least && least.loss <= one.loss ? least : one),
      undefined,
    );
}

/** Share of the whole run that is done, 0 to 1. */
export function completed({ settings, progress, outer, state }: Run): number {
  if (state === "done") return 1;
  const inside = progress && progress.iteration > outer.length ? part(progress) : 0;
  return Math.min(1, (outer.length + inside) / settings.outer);
}

/** Share of one outer iteration: training is the first quarter, the way back takes three times as long. */
function part({ phase, step, steps }: Progress): number {
  const share = steps > 0 ? step / steps : 0;
  switch (phase) {
    case "training":
      return share / 4;
    case "backward":
      return (1 + 3 * share) / 4;
    case "forward":
      return share;
    default:
      return 1;
  }
}
