// All the page knows, and what follows from it.
import type { CheckReport, DataInfo, Engine, EngineState, FirstRun, Form, NetworkInfo, OpenMachine, Seen, Settings, Slope, Told, Trace } from "../../pkg/stackelberg.js";
import { chosen, engines as names } from "./engine.ts";
import type { Command, Way } from "./events.ts";
import type { Run } from "./run.ts";
import { defaults, same, toHash } from "./settings.ts";
import type { Unrolled } from "./unroll.ts";

/** What settings are computed with on an engine, while it is not known yet, or why it cannot be. */
export interface Opened {
  settings: Settings;
  engine: Engine;
  machine: OpenMachine | { problem: string } | null;
}

/** A hypergradient taken by hand, what it foretold and what came. */
export interface Hand {
  /** Of which settings. */
  settings: Settings;
  engine: Engine;
  slope: Slope | null;
  /** What is being moved, and what the slope foretells of it. */
  moves: number[];
  foretold: { loss: number; values: number[] } | null;
  /** Points that were trained at, the last one last. */
  tried: { foretold: number; loss?: number; moves: number[] }[];
  problem: string | null;
}

/** What the page is doing. */
export type Stage =
  /** Waiting for the module. */
  | { is: "loading" }
  /** Looking for engines. */
  | { is: "looking" }
  /** Waiting for recordings. */
  | { is: "fetching" }
  /** Finding out which engine the settings at hand run on, what it takes, and what the defaults are. */
  | { is: "settling" }
  | { is: "ready" }
  /** A start of a run that would take very long has to be confirmed. */
  | { is: "asking"; seconds: number }
  | { is: "starting" | "running" | "recovering" | "paused" | "stopping" }
  | { is: "checking"; cancelling: boolean }
  /** Taking a hypergradient, or training, at a point that was chosen by hand. */
  | { is: "trying" }
  /** Taking a hypergradient that is drawn step by step. */
  | { is: "unrolling" }
  /** Nothing can be run until something changes. */
  | { is: "stuck"; why: string; ways: Way[] };

export type Busy = Extract<Stage, { is: "asking" | "starting" | "running" | "recovering" | "paused" | "stopping" | "checking" | "trying" | "unrolling" }>;

export type Check =
  /** Through so many training steps, in f64 and on the device; its seconds as foreseen, and the share that is done. */
  | { state: "checking"; exactSteps: number; steps: number; seconds: number; share: number }
  | { state: "checked"; report: CheckReport }
  | { state: "failed"; message: string };

/** All the page knows. */
export interface Studio {
  /** What is under way; at rest the stage follows from the rest. */
  busy: Busy | null;
  module: "loading" | "there" | { why: string; again: boolean };
  /** None before they were looked for. */
  engines: EngineState[];
  /** The one that would do the run at hand sooner, once measured. */
  faster: Engine | undefined;
  /** What is worth its time here, once measured; fixed as soon as the first run could have begun. */
  firstRun: FirstRun | null;
  fixed: boolean;
  /** What goes with the settings at hand, once they were looked at. */
  form: Form | null;
  /** Preparations that were asked for, and the last one that was answered. */
  asked: number;
  settled: number;
  data: DataInfo | null;
  /** Why not all of the built-in recordings are there. */
  absent: string | null;
  /** The file that is being read, and why the last one was not taken. */
  reading: string | null;
  refused: string | null;
  /** The visitor's own recordings, as they were read. */
  seen: Seen | null;
  /** What can tell of new recordings; those that it is telling of, what it told, and why it did not. */
  network: NetworkInfo | null;
  telling: string | null;
  told: Told | null;
  untold: string | null;
  trace: Trace | null;
  /** What the address says: settings once there is something to say, data once a run made them matter, the engine. */
  pinned: Settings | null;
  source: string | null;
  wanted: Engine | null;
  /** What was not taken as it was typed, or as the address has it. */
  remarks: string[];
  run: Run | null;
  /** A run is to start as soon as it can. */
  eager: boolean;
  hand: Hand | null;
  /** What settings are computed with, once somebody wants to know. */
  opened: Opened | null;
  /** The hypergradient that was drawn last. */
  unroll: Unrolled | null;
  /** What logistic regression reached on data. */
  baseline: { fingerprint: string; accuracy: number } | null;
  /** The last run was stopped before it had a result. */
  cancelled: boolean;
  /** The last check of the hypergradient. */
  check: Check | null;
  /** Nothing was heard from the worker for long although it is at work. */
  silent: boolean;
}

/** It after an event, and what is to be done. */
export type Step = [Studio, Command[]];

/** The settings at hand. */
export function settings({ pinned, firstRun, data }: Studio): Settings {
  return pinned ?? defaults(firstRun, data?.train.windows);
}

/** The engine that a run of the settings at hand would use, if there is one. */
export function engine(studio: Studio): EngineState | undefined {
  return chosen(studio, studio.wanted);
}

/** Whether a run is under way. */
export function live({ busy }: Studio): boolean {
  return busy !== null && !["asking", "checking", "trying", "unrolling"].includes(busy.is);
}

/** Whether the worker is at something that lets it be heard now and then. */
export function atWork(studio: Studio): boolean {
  return ["looking", "settling", "starting", "running", "recovering", "stopping"].includes(stage(studio).is);
}

/** What the address is to say after its path: `#` with all of the settings at hand, once one was chosen or run. */
export function address({ pinned, source }: Studio): string {
  return pinned ? toHash(pinned, source) : "";
}

export function stage(studio: Studio): Stage {
  return studio.busy ?? resting(studio);
}

/** The stage that follows from what is known, where nothing is under way. */
export function resting(studio: Studio): Exclude<Stage, Busy> {
  const { module, engines, data, absent, source, asked, settled } = studio;
  if (module === "loading") return { is: "loading" };
  if (module !== "there") return { is: "stuck", why: module.why, ways: module.again ? ["restart"] : [] };
  if (engines.length === 0) return { is: "looking" };
  if (!data) return absent ? { is: "stuck", why: absent, ways: ["fetch"] } : { is: "fetching" };
  if (source === "builtin" && data.source === "subset")
    return absent ? { is: "stuck", why: absent, ways: ["fetch", "subset"] } : { is: "fetching" };
  if (source !== null && source !== data.source && source !== "builtin" && source !== "subset") {
    const why = `The address is of a run on ${source}, which no address can carry. Open that file below, or take the built-in data.`;
    return { is: "stuck", why, ways: ["builtin"] };
  }
  if (!engine(studio)) return noEngine(studio);
  const { form } = studio;
  if (settled === asked && form?.id === asked && form.problem !== undefined) return { is: "stuck", why: form.problem, ways: ["standard"] };
  return settled === asked ? { is: "ready" } : { is: "settling" };
}

function noEngine({ engines, wanted }: Studio): Extract<Stage, { is: "stuck" }> {
  const asked = engines.find(({ engine }) => engine === wanted);
  if (wanted === "webgpu" && asked?.name === "")
    return { is: "stuck", why: "The address asks for a GPU, but there is none to use here.", ways: ["fastest"] };
  const problems = (asked ? [asked] : engines).flatMap(({ problem }) => problem ?? []).join(" ");
  if (!asked) return { is: "stuck", why: `No engine can be used here. ${problems}`, ways: ["retry"] };
  return { is: "stuck", why: `${names[asked.engine].label} cannot be used. ${problems}`, ways: ["retry", "fastest"] };
}

/** Whether what was opened is what the settings at hand are computed with. */
export function isOf(opened: Opened, studio: Studio): boolean {
  return same(opened.settings, settings(studio)) && opened.engine === engine(studio)?.engine;
}
