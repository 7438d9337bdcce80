// What becomes of the page with every event, and nothing else decides: components read its state and send events.
import type { DataInfo, FromWorker } from "../../pkg/stackelberg.js";
import { check, differentiate, openMachine, unroll } from "./asks.ts";
import { fromSearch, unknown } from "./engine.ts";
import type { Command, Event, Unfinished, Use, Way } from "./events.ts";
import { several } from "./format.ts";
import { advance, begin, type Run } from "./run.ts";
import { fromHash, same } from "./settings.ts";
import { address, engine, live, resting, settings, stage, type Busy, type Check, type Hand, type Step, type Studio } from "./studio.ts";
import { unrolled } from "./unroll.ts";
import { inWords } from "./words.ts";

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
    // What was built in may come while files of the visitor's are read.
    reading: own ? null : studio.reading,
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
