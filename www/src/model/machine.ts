// What the page is doing: one state, changed by events alone. Components read it and send events; nothing else decides.
// Long because every event has to be answered in every stage, which shows only where all of them stand together.
import type {
  CheckReport, DataInfo, Engine, EngineState, FirstRun, Form, FromWorker, NetworkInfo, OpenMachine, Reading, Seen, Settings, Slope, Told, ToClerk, ToWorker, Trace,
} from "../../pkg/stackelberg.js";
import { chosen, fromSearch, engines as names, unknown } from "./engine.ts";
import { duration, several } from "./format.ts";
import { advance, begin, completed, type Run } from "./run.ts";
import { defaults, fromHash, same, toHash } from "./settings.ts";
import { beginning, unrolled, type Unrolled } from "./unroll.ts";
import { ending, outcome } from "./verdict.ts";
import { inWords } from "./words.ts";

/** A message that files come with, in the order of their paths. */
export type WithFiles<Message> = Message extends { paths: string[] } ? Message & { files: Blob[] } : Message;

/** What the page asks of its worker: of the modules in it, or to fetch the built-in recordings again. */
export type ToEngine = ToWorker | WithFiles<ToClerk> | { kind: "fetch" };

/** What comes from the worker: the module's messages, and what keeps the module or its data from coming. */
export type FromEngine =
  | FromWorker
  /** The module is there. */
  | { kind: "loaded" }
  /** It is not and, unless it is worth another try, never will be. */
  | { kind: "broke"; message: string; again: boolean }
  /** Not all of the built-in recordings came. */
  | { kind: "no-data"; message: string };

/** What a visitor does. */
export type Act =
  | { kind: "choose"; settings: Settings; remarks?: string[] }
  | { kind: "standard" }
  | { kind: "take"; engine: Engine | null }
  | { kind: "address"; hash: string }
  | { kind: "start" | "confirm" | "decline" }
  | { kind: "pause" | "resume" | "stop" | "step" }
  /** Start a run of other settings as soon as it can be. */
  | { kind: "start-with"; settings: Settings }
  /** Go on with a run that the page was closed on. */
  | { kind: "go-on"; unfinished: Unfinished }
  /** Show a run that was kept on this device. */
  | { kind: "show"; run: Run }
  | { kind: "differentiate"; moves: number[] | null }
  | { kind: "foretell" | "try-out"; moves: number[] }
  | { kind: "check" | "cancel-check" }
  /** Take one hypergradient and show how. */
  | { kind: "draw" }
  /** Show what the settings are computed with. */
  | { kind: "open-machine" }
  | { kind: "open"; use: Use; name: string; files: readonly { path: string; file: Blob }[]; reading?: Reading }
  | { kind: "reading"; use: Use; name: string }
  | { kind: "unreadable"; use: Use; message: string }
  | { kind: "reread"; reading: Reading }
  | { kind: "window"; index: number }
  | { kind: "dismiss" }
  | { kind: "way"; way: Way };

/** What files are opened for: to learn from, to open a run that was kept, to be told of. */
export type Use = "recordings" | "open-run" | "predict";

/** What settings are computed with on an engine, while it is not known yet, or why it cannot be. */
export interface Opened {
  settings: Settings;
  engine: Engine;
  machine: OpenMachine | { problem: string } | null;
}

export type Event = FromEngine | Act | { kind: "silence" };

/** What is to be done about an event. */
export type Command =
  | { kind: "send"; message: ToEngine }
  | { kind: "restart" }
  /** Keep a run that has ended on this device. */
  | { kind: "keep"; run: Run }
  /** Keep what a run can go on from, or nothing once it has ended. */
  | { kind: "hold"; unfinished: Unfinished | null };

/** What a run can go on from when the page is opened again. */
export interface Unfinished {
  settings: Settings;
  engine: Engine;
  /** What the command line calls its data, and what they are called. */
  source: string;
  name: string;
  iterations: number;
  state: Uint8Array<ArrayBuffer>;
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

/** Ways on from where nothing can be run. */
export type Way = "restart" | "fetch" | "retry" | "fastest" | "builtin" | "subset" | "standard";

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

type Busy = Extract<Stage, { is: "asking" | "starting" | "running" | "recovering" | "paused" | "stopping" | "checking" | "trying" | "unrolling" }>;

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

type Step = [Studio, Command[]];

/** Why no file is opened while a run is under way. */
export const inMidRun = "A run is under way on other data. Open a file once it has ended.";

/** A run that is foretold to take longer is asked about first. */
export const LONG = 3600;

/** What a page does first, opened at an address. */
export function open(search: string, hash: string): Step {
  const { settings, data, remarks } = fromHash(hash);
  const studio: Studio = {
    busy: null,
    module: "loading",
    engines: [],
    faster: undefined,
    firstRun: null,
    fixed: false,
    form: null,
    asked: 0,
    settled: 0,
    data: null,
    absent: null,
    reading: null,
    refused: null,
    seen: null,
    network: null,
    telling: null,
    told: null,
    untold: null,
    trace: null,
    pinned: settings,
    source: data,
    wanted: fromSearch(search),
    remarks: [...unknown(search), ...remarks],
    run: null,
    eager: false,
    hand: null,
    unroll: null,
    opened: null,
    baseline: null,
    cancelled: false,
    check: null,
    silent: false,
  };
  return [studio, greeting(studio)];
}

/** What a new worker is told. */
function greeting({ source }: Studio): Command[] {
  const open: Command = { kind: "send", message: { kind: "open" } };
  return source === "subset" ? [open, useBuiltin(true)] : [open];
}

const useBuiltin = (subset: boolean): Command => ({ kind: "send", message: { kind: "use-builtin", subset } });
const plain = (kind: "pause" | "resume" | "stop" | "step" | "fetch"): Command => ({ kind: "send", message: { kind } });

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

function resting(studio: Studio): Exclude<Stage, Busy> {
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

/** The studio after one more event, and what is to be done about it. */
export function step(before: Studio, given: Event): Step {
  const event = inWords(given);
  const studio = event.kind === "silence" || !before.silent ? before : { ...before, silent: false };
  switch (event.kind) {
    // What the worker says.
    case "loaded":
      return [{ ...studio, module: "there" }, []];
    case "broke":
      return [broken(studio, event), []];
    case "no-data":
      return [{ ...studio, absent: event.message }, []];
    case "engines": {
      const { engines, faster } = event;
      const first = studio.engines.length === 0;
      const next: Studio = { ...studio, module: "there", engines, faster };
      return first ? settle(next) : [next, []];
    }
    case "first-run": {
      if (studio.fixed) return [studio, []];
      const next = { ...studio, firstRun: event };
      return same(settings(next), settings(studio)) ? [next, []] : settle(next);
    }
    case "form":
      return [event.id === studio.asked ? { ...studio, form: event } : studio, []];
    case "settled": {
      if (event.id !== studio.asked) return [studio, []];
      const next = { ...studio, settled: event.id, fixed: true };
      return next.eager ? start({ ...next, eager: false }) : [next, []];
    }
    case "data":
      return received(studio, event);
    case "seen":
      return [{ ...studio, seen: event, reading: null, refused: null }, []];
    case "undivided":
      // Recordings that were seen say it where it can be mended; a data set as it was published has nothing to say otherwise.
      if (studio.reading !== null) return [{ ...studio, refused: event.message, reading: null }, []];
      return [{ ...studio, seen: studio.seen && { ...studio.seen, problem: event.message } }, []];
    case "network":
      return [{ ...studio, network: event, reading: null, refused: null, telling: null, told: null, untold: null }, []];
    case "told":
      return [{ ...studio, telling: null, told: event, untold: null }, []];
    case "untold":
      return [{ ...studio, telling: null, untold: event.message }, []];
    case "trace":
      return [{ ...studio, trace: event }, []];
    case "started": {
      const { settings, engine, data, opened } = event;
      // What tells of new recordings from now on is its network, which comes at its end if it names classes.
      const next: Studio = { ...studio, network: null, telling: null, told: null, untold: null };
      // A run that was kept is told from its beginning to its end at once; one that is shown already needs no telling.
      if (opened !== undefined) {
        const read = { ...next, reading: null, refused: null };
        return [studio.run?.opened === opened ? read : { ...read, busy: { is: "running" }, run: begin(event), cancelled: false }, []];
      }
      const busy: Busy = studio.busy?.is === "stopping" ? studio.busy : { is: "running" };
      return [{ ...next, busy, run: begin(event), pinned: settings, wanted: engine, source: data.source, cancelled: false }, []];
    }
    case "saved": {
      const { run } = studio;
      if (!run || !live(studio)) return [studio, []];
      const { settings, engine, data, outer } = run;
      return [studio, [{ kind: "hold", unfinished: { settings, engine, source: data.source, name: data.name, iterations: outer.length, state: event.state } }]];
    }
    case "weights":
    case "forecast":
    case "drawn":
    case "details":
    case "progress":
    case "inner-losses":
    case "outer":
    case "evaluation":
      return [onRun(studio, event, studio.busy?.is === "recovering" ? "running" : null), []];
    case "recovering":
      return [onRun(studio, event, "recovering"), []];
    case "paused":
      return [during(studio, "paused"), []];
    case "resumed":
      return [during(studio, "running"), []];
    case "done":
      return finished(studio, event);
    case "baseline": {
      const next = { ...studio, baseline: event };
      return [{ ...next, run: studio.run && beside(next, studio.run) }, []];
    }
    case "slope":
      return byHand(studio, (hand) => ({ ...hand, slope: event, moves: event.variables.map(() => 0), foretold: null, tried: [] }));
    case "foretold":
      return [studio.hand ? { ...studio, hand: { ...studio.hand, foretold: event } } : studio, []];
    case "tried":
      return byHand(studio, (hand) => ({ ...hand, tried: [...hand.tried, event] }));
    case "untried":
      return byHand(studio, (hand) => ({ ...hand, problem: event.message ?? null }));
    case "cancelled":
      return cancel(studio);
    case "failed":
      // Recordings that nobody chose are the built-in ones, which came but cannot be read.
      if (event.stage === "data") return [studio.reading === null ? { ...studio, absent: event.message } : { ...studio, refused: event.message, reading: null }, []];
      return settle({ ...studio, busy: null, run: studio.run && { ...studio.run, failure: event.message } });
    case "checking":
      return [{ ...studio, check: { state: "checking", ...event } }, []];
    case "checked":
      return checked(studio, { state: "checked", report: event });
    case "unchecked":
      return checked(studio, event.message === undefined ? null : { state: "failed", message: event.message });
    case "machine":
      return [{ ...studio, opened: studio.opened && { ...studio.opened, machine: event.machine ?? { problem: event.message ?? "" } } }, []];
    case "silence":
      return [{ ...studio, silent: true }, []];

    // What the visitor does.
    case "choose":
      if (live(studio)) return [studio, []];
      return settle({ ...studio, eager: false, pinned: event.settings, remarks: event.remarks ?? [] });
    case "standard":
      return live(studio) ? [studio, []] : settle({ ...studio, pinned: null, source: null, remarks: [] });
    case "take":
      return live(studio) ? [studio, []] : settle({ ...studio, wanted: event.engine });
    case "address":
      return readdressed(studio, event.hash);
    case "start":
      return start(studio);
    case "confirm":
      return studio.busy?.is === "asking" ? launch({ ...studio, busy: null }) : [studio, []];
    case "decline":
      return studio.busy?.is === "asking" ? [{ ...studio, busy: null }, []] : [studio, []];
    case "pause":
      return ["starting", "running", "recovering"].includes(stage(studio).is) ? [studio, [plain("pause")]] : [studio, []];
    case "resume":
      return studio.busy?.is === "paused" ? [studio, [plain("resume")]] : [studio, []];
    case "step":
      if (live(studio)) return [studio, studio.busy?.is === "stopping" ? [] : [plain("step")]];
      return stage(studio).is === "ready" ? launched(start(studio), plain("step")) : [studio, []];
    case "start-with":
      return live(studio) ? [studio, []] : eagerly(settle({ ...studio, busy: null, pinned: event.settings, remarks: [] }));
    case "go-on":
      return goOn(studio, event.unfinished);
    case "show":
      return live(studio) ? [studio, []] : shown(studio, event.run);
    case "differentiate":
      return differentiate(studio, event.moves);
    case "foretell":
      if (!studio.hand?.slope) return [studio, []];
      return [{ ...studio, hand: { ...studio.hand, moves: event.moves } }, [{ kind: "send", message: { kind: "foretell", moves: event.moves } }]];
    case "try-out":
      if (!studio.hand?.slope || stage(studio).is !== "ready") return [studio, []];
      return [
        { ...studio, busy: { is: "trying" }, hand: { ...studio.hand, moves: event.moves, problem: null } },
        [{ kind: "send", message: { kind: "foretell", moves: event.moves } }, { kind: "send", message: { kind: "try-out", moves: event.moves } }],
      ];
    case "stop":
      return live(studio) && studio.busy?.is !== "stopping" ? [{ ...studio, busy: { is: "stopping" } }, [plain("stop")]] : [studio, []];
    case "check":
      return check(studio);
    case "draw":
      return unroll(studio);
    case "open-machine":
      return openMachine(studio);
    case "unroll":
      return unrolling(studio, event);
    case "cancel-check":
      if (studio.busy?.is !== "checking" || studio.busy.cancelling) return [studio, []];
      return [{ ...studio, busy: { is: "checking", cancelling: true } }, [plain("stop")]];
    case "reading":
      return [event.use === "recordings" ? { ...studio, reading: event.name, refused: null } : { ...studio, telling: event.name, untold: null }, []];
    case "open": {
      const { use, name, files, reading } = event;
      if (live(studio)) return [unread(studio, use, inMidRun), []];
      if (studio.module !== "there") return [unread(studio, use, `${name} was not opened: the engine that reads it is not there.`), []];
      const given = { name, paths: files.map(({ path }) => path), files: files.map(({ file }) => file) };
      return [studio, [{ kind: "send", message: use === "predict" ? { kind: use, ...given, reading: reading ?? {} } : { kind: use, ...given } }]];
    }
    case "unreadable":
      return [unread(studio, event.use, event.message), []];
    case "reread":
      if (live(studio) || !studio.seen) return [studio, []];
      return [{ ...studio, reading: studio.seen.name, refused: null }, [{ kind: "send", message: { kind: "reread", reading: event.reading } }]];
    case "window":
      return [studio, [{ kind: "send", message: { kind: "window", index: event.index } }]];
    case "dismiss":
      return [{ ...studio, remarks: [] }, []];
    case "way":
      return takeWay(studio, event.way);
    default:
      return event satisfies never;
  }
}

/** One more part of the hypergradient that is drawn. */
function unrolling(studio: Studio, part: Extract<FromWorker, { kind: "unroll" }>): Step {
  const next: Studio = { ...studio, unroll: studio.unroll && unrolled(studio.unroll, part) };
  const over = part.part === "done" || part.part === "failed";
  return over && studio.busy?.is === "unrolling" ? settle({ ...next, busy: null }) : [next, []];
}

/** Asks for a hypergradient that can be watched. */
function unroll(studio: Studio): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const message: ToWorker = { kind: "unroll", settings: settings(studio), engine: state.engine };
  return [{ ...studio, busy: { is: "unrolling" }, unroll: beginning(settings(studio)) }, [{ kind: "send", message }]];
}

/** Asks what the settings are computed with, unless that is known. */
function openMachine(studio: Studio): Step {
  const [wanted, state] = [settings(studio), engine(studio)];
  if (stage(studio).is !== "ready" || !state || (studio.opened && isOf(studio.opened, studio))) return [studio, []];
  const message: ToWorker = { kind: "open-machine", settings: wanted, engine: state.engine };
  return [{ ...studio, opened: { settings: wanted, engine: state.engine, machine: null } }, [{ kind: "send", message }]];
}

/** Whether what was opened is what the settings at hand are computed with. */
export function isOf(opened: Opened, studio: Studio): boolean {
  return same(opened.settings, settings(studio)) && opened.engine === engine(studio)?.engine;
}

/** A run with what logistic regression reached on its data, where that is known and the labels are right. */
function beside({ baseline }: Studio, run: Run): Run {
  const known = baseline?.fingerprint === run.data.fingerprint && run.settings.mislabelled === 0;
  return known ? { ...run, baseline: baseline!.accuracy } : run;
}

/** A run is over: it is kept, unless it was before. */
function finished(studio: Studio, event: Extract<FromWorker, { kind: "done" }>): Step {
  if (!studio.run || !live(studio)) return [studio, []];
  const run = beside(studio, advance(studio.run, event));
  const [next, commands] = settle({ ...studio, busy: null, run });
  return [next, run.opened === null ? [{ kind: "hold", unfinished: null }, { kind: "keep", run }, ...commands] : commands];
}

/** A run that was kept on this device stands where it stood when it had just ended; its network is opened, too. */
function shown(studio: Studio, kept: Run): Step {
  const run = beside(studio, { ...kept, opened: kept.opened ?? `the run of ${kept.data.name}` });
  const parts = (kept.done?.files ?? []).filter(({ name }) => name !== "run.zip");
  const paths = parts.map(({ name }) => name);
  const next = { ...studio, run, network: null, told: null, cancelled: false };
  if (!paths.includes("model.safetensors")) return [next, []];
  const files = parts.map(({ bytes }) => new Blob([bytes as Uint8Array<ArrayBuffer>]));
  return [next, [{ kind: "send", message: { kind: "open-run", name: run.opened!, paths, files } }]];
}

function goOn(studio: Studio, { settings, engine, state, source }: Unfinished): Step {
  if (live(studio) || !studio.engines.some((one) => one.engine === engine && one.problem === undefined) || studio.data?.source !== source) return [studio, []];
  const next: Studio = { ...studio, busy: { is: "starting" }, pinned: settings, wanted: engine, remarks: [], cancelled: false };
  return [next, [{ kind: "send", message: { kind: "start", settings, engine, resume: state } }]];
}

const eagerly = ([studio, commands]: Step): Step => [{ ...studio, eager: true }, commands];

/** A start with more to do, unless it is asked about first. */
function launched([studio, commands]: Step, ...more: Command[]): Step {
  return [studio, commands.length > 0 ? [...commands, ...more] : []];
}

/** Something was done by hand. */
function byHand(studio: Studio, change: (hand: Hand) => Hand): Step {
  const next: Studio = { ...studio, hand: studio.hand && change(studio.hand) };
  return studio.busy?.is === "trying" ? settle({ ...next, busy: null }) : [next, []];
}

function differentiate(studio: Studio, moves: number[] | null): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const own = moves !== null && studio.hand?.slope ? studio.hand : null;
  const of = own ?? { settings: settings(studio), engine: state.engine };
  const hand: Hand = { ...of, slope: own?.slope ?? null, moves: own?.moves ?? [], foretold: null, tried: own?.tried ?? [], problem: null };
  const message: ToWorker = { kind: "differentiate", settings: of.settings, engine: of.engine, ...(own && moves ? { moves } : {}) };
  return [{ ...studio, busy: { is: "trying" }, hand }, [{ kind: "send", message }]];
}

/** Files were not read, for a reason that stands where they were chosen. */
function unread(studio: Studio, use: Use, message: string): Studio {
  return use === "recordings" ? { ...studio, reading: null, refused: message } : { ...studio, telling: null, untold: message };
}

/** Asks for the engines to be prepared and measured for the settings at hand, now or once there is something to ask. */
function settle(studio: Studio): Step {
  const id = studio.asked + 1;
  const next = { ...studio, asked: id };
  if (studio.module !== "there" || studio.engines.length === 0 || !studio.data) return [next, []];
  const { wanted } = studio;
  return [next, [{ kind: "send", message: { kind: "prepare", id, settings: settings(studio), ...(wanted && { engine: wanted }) } }]];
}

/** A run goes on, or comes to another stage unless it is being stopped. */
function during(studio: Studio, is: "running" | "paused" | "recovering" | null): Studio {
  return is !== null && live(studio) && studio.busy?.is !== "stopping" ? { ...studio, busy: { is } } : studio;
}

function onRun(studio: Studio, message: Parameters<typeof advance>[1], is: "running" | "recovering" | null): Studio {
  return studio.run && live(studio) ? during({ ...studio, run: advance(studio.run, message) }, is) : studio;
}

function broken(studio: Studio, { message: why, again }: { message: string; again: boolean }): Studio {
  const check: Check | null = studio.check?.state === "checking" ? { state: "failed", message: why } : studio.check;
  const run = live(studio) && studio.run ? { ...studio.run, failure: why } : studio.run;
  return { ...studio, busy: null, eager: false, module: { why, again }, reading: null, ...gone, check, run };
}

/** What a worker that is gone had with it. */
const gone = { seen: null, network: null, telling: null, told: null, untold: null, hand: null, unroll: null, opened: null } satisfies Partial<Studio>;

function received(studio: Studio, data: DataInfo): Step {
  const own = data.source !== "builtin" && data.source !== "subset";
  const next: Studio = {
    ...studio,
    data,
    // The data card speaks of what is there now.
    absent: data.source === "builtin" ? null : studio.absent,
    reading: null,
    refused: null,
    seen: own && studio.seen?.name === data.source ? studio.seen : null,
    source: own ? data.source : studio.source,
  };
  // Whatever data there are now, the trace is to be one of theirs.
  const trace: Command = { kind: "send", message: { kind: "window", index: studio.trace?.index ?? 0 } };
  if (live(studio)) return [next, [trace]];
  const [settled, commands] = settle(own ? withBatchOf(next, data.train.windows) : next);
  return [settled, [trace, ...commands]];
}

/** A batch that was chosen, or was good for the data of before, has at most the windows that a visitor's own data have to train on. */
function withBatchOf(studio: Studio, windows: number): Studio {
  const { pinned } = studio;
  if (pinned === null || pinned.batch <= windows) return studio;
  const remark = `Batch: ${pinned.batch} is more than the ${several(windows, "training window")} of these data; ${windows} is taken.`;
  return { ...studio, pinned: { ...pinned, batch: windows }, remarks: [remark] };
}

/** A run was stopped before a result: what it has finished stays. */
function cancel(studio: Studio): Step {
  const finished = (studio.run?.outer.length ?? 0) > 0;
  const failure = "Stopped while the lost device was being replaced: what was finished before is below, but its network is lost.";
  const [next, commands] = settle({ ...studio, busy: null, cancelled: !finished, run: finished && studio.run ? { ...studio.run, failure } : null });
  return [next, [{ kind: "hold", unfinished: null }, ...commands]];
}

function checked(studio: Studio, check: Check | null): Step {
  const next = { ...studio, check };
  return studio.busy?.is === "checking" ? settle({ ...next, busy: null }) : [next, []];
}

function readdressed(studio: Studio, hash: string): Step {
  if (hash === address(studio)) return [studio, []];
  if (live(studio)) {
    const remark = "The address was changed while a run is under way. It is that of the run again; change it once the run has ended.";
    return [{ ...studio, remarks: [remark] }, []];
  }
  const { settings, data, remarks } = fromHash(hash);
  const [next, commands] = settle({ ...studio, busy: studio.busy?.is === "asking" ? null : studio.busy, pinned: settings, source: data, remarks });
  const other = data !== null && data !== studio.data?.source && (data === "builtin" || data === "subset");
  return [next, other ? [useBuiltin(data === "subset"), ...commands] : commands];
}

function start(studio: Studio): Step {
  // A check gives way to a run, and so does what is tried by hand.
  const { is } = studio.busy?.is === "checking" || studio.busy?.is === "trying" || studio.busy?.is === "unrolling" ? resting(studio) : stage(studio);
  if (is !== "ready") return [studio, []];
  const seconds = engine(studio)?.run ?? 0;
  return seconds > LONG ? [{ ...studio, busy: { is: "asking", seconds } }, []] : launch(studio);
}

function launch(studio: Studio): Step {
  const state = engine(studio);
  if (!state) return [studio, []];
  const next: Studio = { ...studio, busy: { is: "starting" }, pinned: settings(studio), wanted: state.engine, remarks: [], cancelled: false };
  return [next, [{ kind: "send", message: { kind: "start", settings: settings(studio), engine: state.engine } }]];
}

function check(studio: Studio): Step {
  const state = engine(studio);
  if (stage(studio).is !== "ready" || !state) return [studio, []];
  const message: ToWorker = { kind: "check-gradient", settings: settings(studio), engine: state.engine };
  return [{ ...studio, busy: { is: "checking", cancelling: false }, check: null }, [{ kind: "send", message }]];
}

function takeWay(studio: Studio, way: Way): Step {
  switch (way) {
    case "restart": {
      const run = live(studio) && studio.run ? { ...studio.run, failure: "The engine was started again." } : studio.run;
      const check = studio.check?.state === "checking" ? null : studio.check;
      const fresh: Studio = { ...studio, busy: null, run, check, module: "loading", engines: [], faster: undefined, data: null, absent: null, reading: null, ...gone };
      return [fresh, [{ kind: "restart" }, ...greeting(studio)]];
    }
    case "fetch":
      return [{ ...studio, absent: null }, [plain("fetch")]];
    case "retry":
      return settle(studio);
    case "fastest":
      return settle({ ...studio, wanted: null });
    case "standard":
      return step(studio, { kind: way });
    case "builtin":
    case "subset": {
      if (live(studio)) return [studio, []];
      const subset = way === "subset";
      const missing = studio.absent !== null && !subset;
      const next: Studio = { ...studio, source: way, refused: null, absent: missing ? null : studio.absent };
      const [settled, commands] = settle(next);
      return [settled, [...(missing ? [plain("fetch")] : []), useBuiltin(subset), ...commands]];
    }
  }
}

export const withoutResult = "Stopped before the first outer iteration was complete, so there is no result.";

/** Where the page stands, in words, for the live region: said once a change, not once a step. */
export function announcement(studio: Studio): string {
  const { run } = studio;
  if (studio.silent) return silence;
  const now = stage(studio);
  switch (now.is) {
    case "loading":
    case "looking":
    case "fetching":
      return "";
    case "settling":
    case "ready": {
      if (run?.failure) return `The run ended early. ${run.failure}`;
      if (run?.done) return `${ending(run, run.done)}. ${outcome(run).replace("→", "to")}.`;
      if (studio.cancelled) return withoutResult;
      return now.is === "ready" ? "Ready to tune." : "";
    }
    case "asking":
      return `This run would take about ${duration(now.seconds)}. Start it all the same?`;
    case "starting":
    case "running":
      return "Tuning.";
    case "recovering":
      return run && run.on !== run.engine ? "The GPU was lost twice; the processor goes on." : "The device was lost; going on with a new one.";
    case "paused":
      return "Paused.";
    case "stopping":
      return "Stopping.";
    case "trying":
      return "Training at the point that was chosen.";
    case "unrolling":
      return "Taking a hypergradient.";
    case "checking":
      return now.cancelling ? "Giving the check up." : "Checking the hypergradient.";
    case "stuck":
      return studio.module === "there" ? "Nothing can be run yet: what to do is said beside the start." : now.why;
  }
}

/** What the browser's tab says. */
export function title(studio: Studio): string {
  const now = stage(studio);
  const name = "Stackelberg studio";
  const { run } = studio;
  if (live(studio)) {
    const done = `${Math.round(100 * (run ? completed(run) : 0))} %`;
    return `${now.is === "paused" ? `Paused at ${done}` : done} – ${name}`;
  }
  return run?.done && run.opened === null ? `${outcome(run)} – ${name}` : name;
}

export const silence = "Nothing was heard from the engine for half a minute. It may be at work on something long; if it hangs, start it again.";
