import type {
  DataInfo, Details, Done, Drawn, Engine, Evaluation, Forecast, FromWorker, OuterIteration, Progress, Settings, Weights, Which,
} from "../../pkg/stackelberg.js";

/** A run as far as the page was told of it. */
export interface Run {
  settings: Settings;
  /** The engine that it began on, and the one that it is on now. */
  engine: Engine;
  on: Engine;
  /** Its data, whatever is loaded meanwhile. */
  data: DataInfo;
  /** Why it ended without a result, if it did. */
  failure: string | null;
  progress: Progress | null;
  /** Training losses, one list an outer iteration. */
  inner: number[][];
  outer: OuterIteration[];
  scores: Partial<Record<Which, Evaluation>>;
  /** How well the next sample is told, where that is the task. */
  forecast: Forecast | null;
  /** How example weights told wrong labels, one an outer iteration. */
  weights: Weights[];
  /** Trainings of the random search beside it. */
  drawn: Drawn[];
  /** Single windows and people. */
  details: Details | null;
  /** What logistic regression reaches on its data. */
  baseline: number | null;
  done: Done | null;
  /** What it is called, if it was kept and opened again. */
  opened: string | null;
}

/** Messages about a run that is under way. */
export type RunMessage = Extract<FromWorker, { kind: "progress" | "inner-losses" | "outer" | "evaluation" | "forecast" | "weights" | "drawn" | "details" | "recovering" | "done" }>;

export function begin({ settings, engine, data, opened = null }: Pick<Run, "settings" | "engine" | "data"> & { opened?: string | null | undefined }): Run {
  return {
    settings, engine, on: engine, data, opened,
    failure: null, progress: null, inner: [], outer: [], scores: {}, forecast: null, weights: [], drawn: [], details: null, baseline: null, done: null,
  };
}

/** The run after one more message. */
export function advance(run: Run, message: RunMessage): Run {
  switch (message.kind) {
    case "progress":
      return { ...run, progress: message };
    case "inner-losses": {
      const inner = run.inner.slice();
      inner[message.iteration - 1] = message.losses;
      // Those of iterations before a run was taken up again are not known.
      return { ...run, inner: Array.from(inner, (losses) => losses ?? []) };
    }
    case "outer":
      return { ...run, outer: [...run.outer, message] };
    case "evaluation":
      return { ...run, scores: { ...run.scores, [message.which]: message } };
    case "forecast":
      return { ...run, forecast: message };
    case "weights":
      return { ...run, weights: [...run.weights, message] };
    case "drawn":
      return { ...run, drawn: [...run.drawn, message] };
    case "details":
      return { ...run, details: message };
    case "recovering":
      return { ...run, on: message.engine, progress: null };
    case "done":
      return { ...run, done: message };
    default:
      return message satisfies never;
  }
}

/** The lowest outer loss after each iteration; none before one that did not diverge. */
export function lowest(outer: OuterIteration[]): (number | null)[] {
  let least: number | null = null;
  return outer.map(({ loss }) => (least = loss === undefined ? least : Math.min(loss, least ?? loss)));
}

/** The iteration with the lowest outer loss, or the lowest loss on the people who choose where there are some. */
export function best(outer: OuterIteration[]): { iteration: number; loss: number } | undefined {
  return outer
    .flatMap(({ iteration, loss, selection }) => (loss !== undefined ? [{ iteration, loss, by: selection ?? loss }] : []))
    .reduce<{ iteration: number; loss: number; by: number } | undefined>(
      (least, one) => (least && least.by <= one.by ? least : one),
      undefined,
    );
}

/** The iteration whose values a run that is over has kept, or nothing while it is under way. */
export function kept({ outer, done }: Run): OuterIteration | undefined {
  return done ? outer.find(({ iteration }) => iteration === Math.max(1, done.best)) : undefined;
}

/** Seconds of the whole run, as far as one can tell now. */
export function foreseen({ progress }: Run): number | undefined {
  return progress?.secondsLeft === undefined ? undefined : progress.seconds + progress.secondsLeft;
}

/** What the run has cost so far, in trainings. */
export function spent({ progress, outer }: Run): number {
  return Math.max(progress?.spent ?? 0, outer.at(-1)?.spent ?? 0);
}

/** Share of the whole run that is done, 0 to 1. */
export function completed(run: Run): number {
  return run.done ? 1 : (run.progress?.share ?? 0);
}
