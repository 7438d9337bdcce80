import type {
  DataInfo,
  Device,
  Done,
  Evaluation,
  Failure,
  FromWorker,
  OuterIteration,
  Progress,
  Settings,
  Trace,
  Which,
} from "../../pkg/stackelberg.js";

/** All the page knows; made only from the worker's messages. */
export interface Session {
  device: Device | null;
  warmup: { done: number; total: number } | null;
  data: DataInfo | null;
  trace: Trace | null;
  run: Run | null;
  failure: Failure | null;
}

export interface Run {
  settings: Settings;
  /** What it runs on, whatever is loaded meanwhile. */
  data: DataInfo;
  state: "running" | "paused" | "done" | "failed";
  progress: Progress | null;
  /** Training losses, one list an outer iteration. */
  inner: number[][];
  outer: OuterIteration[];
  scores: Partial<Record<Which, Evaluation>>;
  done: Done | null;
}

export const empty: Session = { device: null, warmup: null, data: null, trace: null, run: null, failure: null };

/** The session after one more message. */
export function reduce(session: Session, message: FromWorker): Session {
  switch (message.kind) {
    case "ready":
      return { ...session, device: message };
    case "warmup":
      return { ...session, warmup: message };
    case "data":
      return { ...session, data: message, failure: session.failure?.stage === "data" ? null : session.failure };
    case "trace":
      return { ...session, trace: message };
    case "started":
      return { ...session, failure: null, run: begin(message) };
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

function begin({ settings, data }: { settings: Settings; data: DataInfo }): Run {
  return { settings, data, state: "running", progress: null, inner: [], outer: [], scores: {}, done: null };
}

type RunMessage = Exclude<
  FromWorker,
  { kind: "ready" | "warmup" | "data" | "trace" | "started" | "failed" }
>;

function advance(run: Run, message: RunMessage): Run {
  switch (message.kind) {
    case "progress":
      return { ...run, progress: message };
    case "inner-losses": {
      const inner = run.inner.slice();
      const known = inner[message.iteration - 1] ?? [];
      inner[message.iteration - 1] = [...known.slice(0, message.firstStep), ...message.losses];
      return { ...run, inner };
    }
    case "outer":
      return { ...run, outer: [...run.outer, message] };
    case "evaluation":
      return { ...run, scores: { ...run.scores, [message.which]: message } };
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

/** Where the page stands, in words, for the live region: said once a change, not once a step. */
export function announcement(session: Session): string {
  const { run, failure } = session;
  if (failure) return failure.message;
  if (!run) return session.device ? "Ready to tune." : "";
  switch (run.state) {
    case "running":
      return "Tuning.";
    case "paused":
      return "Paused.";
    case "failed":
      return "The run ended early.";
    case "done": {
      const { before, after } = run.scores;
      const scores =
        before && after
          ? ` Test accuracy went from ${(100 * before.accuracy).toFixed(1)} to ${(100 * after.accuracy).toFixed(1)} percent.`
          : "";
      return `${run.done?.stopped ? "Stopped." : "Finished."}${scores}`;
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
  const inside = progress && progress.phase !== "evaluating" ? halfway(progress) : 0;
  return Math.min(1, (outer.length + inside) / settings.outer);
}

/** Share of one outer iteration: training is the first third, the way back the rest. */
function halfway({ phase, step, steps }: Progress): number {
  const part = steps > 0 ? step / steps : 0;
  return phase === "training" ? part / 3 : phase === "backward" ? (1 + 2 * part) / 3 : 1 / 3;
}
