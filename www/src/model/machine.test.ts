// Long because it has a test for every stage and event of the machine.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DataInfo, EngineState, FromWorker, OuterIteration } from "../../pkg/stackelberg.js";
import { announcement, silence, title, withoutResult } from "./announcement.ts";
import type { Act, Command, Event } from "./events.ts";
import { LONG, open, step } from "./machine.ts";
import { address, atWork, engine, isOf, live, settings, stage, type Stage, type Studio } from "./studio.ts";
import { defaults, toHash } from "./settings.ts";

const engineState = (engine: "webgpu" | "cpu", more: Partial<EngineState> = {}): EngineState => ({
  engine,
  name: engine === "webgpu" ? "A GPU" : "",
  software: engine === "cpu",
  problem: undefined,
  shaders: undefined,
  step: 0.004,
  run: 30,
  advice: undefined,
  ...more,
});
const cpu = engineState("cpu");
const gpu = engineState("webgpu", { run: 10 });
const side = { windows: 100, people: [1] };
const set = (source: string): DataInfo => ({ name: source, source, fingerprint: source, subset: source === "subset", train: side, validation: side, test: side, classes: [], notes: [] });

const engines = (...all: EngineState[]): Event => ({ kind: "engines", engines: all, faster: all[0]?.engine });
const data = (source: string): Event => ({ kind: "data", ...set(source) });
const outer: OuterIteration = { iteration: 1, spent: 3.6, loss: 1, selection: undefined, differentiated: true, pastEdge: false, roughness: undefined, foretold: undefined, accepted: true, hyperparameters: [], seconds: 1 };
const point: Event = { kind: "outer", ...outer };
const progress: Event = { kind: "progress", iteration: 1, phase: "training", step: 1, steps: 4, spent: 0.25, seconds: 1, secondsLeft: 3, share: 0.01 };
const done: Event = {
  kind: "done",
  ending: "finished",
  best: 1,
  spent: 3.6,
  hypergradients: 1,
  pastEdge: 0,
  settled: false,
  method: "probe-descent",
  reason: "the hyperparameters are few",
  seconds: 3,
  files: [],
};
const failed = (stage: "run" | "device" | "data"): Event => ({ kind: "failed", stage, message: `No ${stage}.` });
const broke: Event = { kind: "broke", message: "It is gone.", again: true };
const lost = (engine: "webgpu" | "cpu"): Event => ({ kind: "recovering", engine });
const first = (steps: number): Event => ({ kind: "first-run", network: "narrow", steps, budget: 36 });
const part = { steps: 4, batch: 8, validationWindows: 8, methods: [], values: [], verdicts: [] };
const report = { directions: [], exact: part, device: part, edge: undefined, outcome: "passed" as const };

/** A page at an address, played to through events, with all that it sent. */
class Page {
  studio: Studio;
  commands: Command[];
  constructor(hash = "", search = "") {
    [this.studio, this.commands] = open(search, hash);
  }
  play(...events: Event[]): this {
    for (const event of events) {
      const [studio, commands] = step(this.studio, event);
      this.studio = studio;
      this.commands = [...this.commands, ...commands];
    }
    return this;
  }
  /** Answers the last preparation. */
  settle(): this {
    return this.play({ kind: "settled", id: this.studio.asked });
  }
  get is(): Stage["is"] {
    return stage(this.studio).is;
  }
  get why(): string {
    const now = stage(this.studio);
    assert.equal(now.is, "stuck");
    return now.is === "stuck" ? now.why : "";
  }
  get ways(): string[] {
    const now = stage(this.studio);
    return now.is === "stuck" ? now.ways : [];
  }
  /** The kinds of what was sent since the last look. */
  sent(): string[] {
    const kinds = this.commands.map((command) => (command.kind === "send" ? command.message.kind : command.kind));
    this.commands = [];
    return kinds;
  }
}

const settling = (hash = "", search = "") => new Page(hash, search).play({ kind: "loaded" }, engines(cpu, gpu), data("builtin"));
const ready = (hash = "", search = "") => settling(hash, search).settle();
function started(page = ready()): Page {
  page.play({ kind: "start" });
  return page.play({ kind: "started", settings: settings(page.studio), engine: page.studio.wanted ?? "cpu", data: page.studio.data! });
}

/** A page at each of its stages. */
const pages: Record<Stage["is"], () => Page> = {
  loading: () => new Page(),
  looking: () => new Page().play({ kind: "loaded" }),
  fetching: () => new Page().play({ kind: "loaded" }, engines(cpu)),
  settling: () => settling(),
  ready: () => ready(),
  asking: () => ready().play(engines({ ...cpu, run: 2 * LONG }), { kind: "start" }),
  starting: () => ready().play({ kind: "start" }),
  running: () => started().play(progress),
  recovering: () => started().play(progress, lost("webgpu")),
  paused: () => started().play(progress, { kind: "paused" }),
  stopping: () => started().play(progress, { kind: "stop" }),
  checking: () => ready().play({ kind: "check" }),
  trying: () => ready().play({ kind: "differentiate", moves: null }),
  unrolling: () => ready().play({ kind: "draw" }),
  stuck: () => ready().play(broke),
};
const stages = Object.keys(pages) as Stage["is"][];

test("a page comes to each of its stages", () => {
  for (const [is, page] of Object.entries(pages)) assert.equal(page().is, is);
});

test("each act at each stage leads where it should, and is ignored where it makes no sense", () => {
  const acts: Record<string, [Event, Partial<Record<Stage["is"], Stage["is"]>>]> = {
    start: [{ kind: "start" }, { ready: "starting", checking: "starting", trying: "starting", unrolling: "starting" }],
    confirm: [{ kind: "confirm" }, { asking: "starting" }],
    decline: [{ kind: "decline" }, { asking: "ready" }],
    pause: [{ kind: "pause" }, {}],
    resume: [{ kind: "resume" }, {}],
    stop: [{ kind: "stop" }, { starting: "stopping", running: "stopping", recovering: "stopping", paused: "stopping" }],
    check: [{ kind: "check" }, { ready: "checking" }],
    "a hypergradient to watch": [{ kind: "draw" }, { ready: "unrolling" }],
    "what it is computed with": [{ kind: "open-machine" }, {}],
    "cancel a check": [{ kind: "cancel-check" }, {}],
    "other settings": [{ kind: "choose", settings: { ...defaults(null), seed: 7 } }, { ready: "settling" }],
    "the defaults": [{ kind: "standard" }, { ready: "settling" }],
    "another engine": [{ kind: "take", engine: "webgpu" }, { ready: "settling" }],
    "another address": [{ kind: "address", hash: "#seed=9" }, { ready: "settling", asking: "settling" }],
    "its own address": [{ kind: "address", hash: "" }, {}],
    "a start again": [
      { kind: "way", way: "restart" },
      Object.fromEntries(stages.map((is) => [is, "loading"])),
    ],
    "a broken worker": [broke, Object.fromEntries(stages.map((is) => [is, "stuck"]))],
    silence: [{ kind: "silence" }, {}],
    "a refused file": [failed("data"), { fetching: "stuck" }],
    "a file that cannot be read": [{ kind: "unreadable", use: "recordings", message: "No." }, {}],
    "a remark read": [{ kind: "dismiss" }, {}],
  };
  for (const [name, [event, leads]] of Object.entries(acts))
    for (const is of stages) {
      // The address of a page with a run is no longer empty.
      if (name === "its own address" && pages[is]().studio.pinned) continue;
      assert.equal(pages[is]().play(event).is, leads[is] ?? is, `${name} while ${is}`);
    }
});

test("what settings are computed with is asked once, and again for others", () => {
  const page = ready();
  page.sent();
  page.play({ kind: "open-machine" }, { kind: "open-machine" });
  assert.deepEqual(page.sent(), ["open-machine"]);
  page.play({ kind: "machine", machine: undefined, message: "No." });
  assert.deepEqual(page.studio.opened?.machine, { problem: "No." });
  page.play({ kind: "choose", settings: { ...defaults(null), seed: 7 } });
  assert.ok(page.studio.opened && !isOf(page.studio.opened, page.studio));
});

test("each message of the worker at each stage leads where it should", () => {
  const under = ["starting", "running", "recovering", "paused", "stopping"] as const;
  const from = (all: readonly Stage["is"][], to: Stage["is"]) => Object.fromEntries(all.map((is) => [is, to]));
  const messages: Record<string, [Event, Partial<Record<Stage["is"], Stage["is"]>>]> = {
    loaded: [{ kind: "loaded" }, { loading: "looking", stuck: "ready" }],
    progress: [progress, { recovering: "running" }],
    paused: [{ kind: "paused" }, { starting: "paused", running: "paused", recovering: "paused" }],
    resumed: [{ kind: "resumed" }, { starting: "running", recovering: "running", paused: "running" }],
    recovering: [lost("webgpu"), { running: "recovering", paused: "recovering" }],
    done: [done, from(under.slice(1), "settling")],
    cancelled: [{ kind: "cancelled" }, from([...under, "asking", "checking", "trying", "unrolling", "ready"], "settling")],
    failed: [failed("run"), from([...under, "asking", "checking", "trying", "unrolling", "ready"], "settling")],
    checked: [{ kind: "checked", ...report }, { checking: "settling" }],
    unrolled: [{ kind: "unroll", part: "done", seconds: 1 }, { unrolling: "settling" }],
    "unrolled in part": [{ kind: "unroll", part: "progress", done: 3 }, {}],
    "a machine that was not asked for": [{ kind: "machine", machine: undefined, message: "No." }, {}],
    untried: [{ kind: "untried", message: undefined }, { trying: "settling" }],
    unchecked: [{ kind: "unchecked", message: undefined }, { checking: "settling" }],
    "no data": [{ kind: "no-data", message: "None came." }, { fetching: "stuck" }],
    "a late preparation": [{ kind: "settled", id: 0 }, {}],
  };
  for (const [name, [event, leads]] of Object.entries(messages))
    for (const is of stages) assert.equal(pages[is]().play(event).is, leads[is] ?? is, `${name} while ${is}`);
});

test("the start is live only once engine and defaults are settled, for the settings at hand", () => {
  const page = settling();
  page.sent();
  assert.deepEqual(page.play({ kind: "start" }).sent(), [], "an early click starts nothing");
  page.play(first(200));
  assert.deepEqual(page.sent(), ["prepare"], "other defaults are another run");
  page.play({ kind: "settled", id: page.studio.asked - 1 });
  assert.equal(page.is, "settling", "what was settled is not what is at hand");
  page.settle();
  assert.equal(page.is, "ready");
  page.play(first(20));
  assert.equal(settings(page.studio).steps, 200, "defaults that were settled stay");
});

test("changing a field early pins the others", () => {
  const page = settling();
  const seen = settings(page.studio);
  page.play({ kind: "choose", settings: { ...seen, seed: 7 } }, first(200)).settle();
  assert.deepEqual(settings(page.studio), { ...seen, seed: 7 });
  assert.equal(address(page.studio), toHash({ ...seen, seed: 7 }, null));
  page.play({ kind: "standard" });
  assert.equal(settings(page.studio).steps, 200, "the defaults are those of the device");
  assert.equal(address(page.studio), "");
});

test("an address means the same run whatever is measured", () => {
  const page = settling("#steps=7").play(first(200)).settle();
  assert.deepEqual(settings(page.studio), { ...defaults(null), compare: false, steps: 7 });
});

test("a run puts all that it depends on into the address", () => {
  const page = ready().play(first(200));
  assert.equal(address(page.studio), "");
  started(page);
  assert.equal(address(page.studio), toHash(defaults(null), "builtin"));
  assert.equal(page.studio.wanted, "cpu", "the faster one, as it was then");
  const again = settling(address(page.studio), "?engine=cpu").play(first(200)).settle();
  assert.deepEqual(settings(again.studio), page.studio.run?.settings);
  assert.equal(engine(again.studio)?.engine, "cpu");
});

test("an address changed in mid-run is set back, and said", () => {
  const page = started();
  const before = address(page.studio);
  page.play({ kind: "address", hash: "#steps=3" });
  assert.equal(address(page.studio), before);
  assert.match(page.studio.remarks[0]!, /while a run is under way/);
  assert.deepEqual(settings(page.studio), page.studio.run?.settings);
});

test("preparation that a run interrupted goes on after it, however it ended", () => {
  const ends: [Event, string[]][] = [[done, ["hold", "keep"]], [{ kind: "cancelled" }, ["hold"]], [failed("run"), []], [failed("device"), []]];
  for (const [end, kept] of ends) {
    const page = started();
    page.sent();
    page.play(end);
    assert.deepEqual(page.sent(), [...kept, "prepare"], "what failed can be gone on with");
    assert.equal(page.is, "settling");
    assert.equal(page.settle().is, "ready");
  }
});

test("a run is held after every iteration, kept at its end, and goes on where it was held", () => {
  const state = new Uint8Array([1, 2]);
  const page = started().play(point, { kind: "saved", state });
  const held = page.commands.at(-1)!;
  assert.ok(held.kind === "hold" && held.unfinished);
  assert.deepEqual([held.unfinished.iterations, held.unfinished.state, held.unfinished.source], [1, state, "builtin"]);
  const again = ready().play({ kind: "go-on", unfinished: held.unfinished });
  const start = again.commands.at(-1)!;
  assert.ok(start.kind === "send" && start.message.kind === "start");
  assert.deepEqual(start.message.resume, state);
  assert.equal(again.is, "starting");
  const other = ready().play({ kind: "go-on", unfinished: { ...held.unfinished, source: "watch.zip" } });
  assert.equal(other.is, "ready", "its data are not there");
  page.play(done);
  assert.deepEqual(page.commands.slice(-3).map(({ kind }) => kind), ["hold", "keep", "send"]);
});

test("a run of other settings starts as soon as it can, and a step by hand starts one, too", () => {
  const page = ready();
  const wanted = { ...defaults(null), mislabelled: 33 };
  page.sent();
  assert.deepEqual(page.play({ kind: "start-with", settings: wanted }).sent(), ["prepare"]);
  assert.equal(page.is, "settling");
  assert.deepEqual(page.settle().sent(), ["start"]);
  assert.equal(settings(page.studio).mislabelled, 33);
  const stepped = ready();
  stepped.sent();
  assert.deepEqual(stepped.play({ kind: "step" }).sent(), ["start", "step"]);
  assert.deepEqual(started().play({ kind: "paused" }, { kind: "step" }).sent().slice(-1), ["step"]);
  assert.equal(ready().play({ kind: "start-with", settings: wanted }, { kind: "choose", settings: defaults(null) }).settle().is, "ready", "what is chosen since does not start");
});

test("a run that was kept is told from its beginning, and neither address nor shelf take it for one of now", () => {
  const opened = { kind: "started", settings: { ...defaults(null), seed: 9 }, engine: "cpu", data: set("watch.zip"), opened: "watch" } as const;
  const page = ready();
  page.sent();
  page.play(opened, point, done);
  assert.deepEqual(page.sent(), ["prepare"]);
  assert.equal(address(page.studio), "");
  assert.equal(page.studio.run?.outer.length, 1);
  assert.equal(page.settle().is, "ready");
  const shown = ready().play({ kind: "show", run: { ...page.studio.run!, opened: null } });
  assert.equal(shown.studio.run?.opened, "the run of watch.zip");
  const before = shown.studio.run;
  shown.play({ ...opened, opened: "the run of watch.zip" }, point, done);
  assert.equal(shown.studio.run, before, "what is shown already is not told again");
});

test("a hypergradient by hand is taken at rest, and what it foretells is asked for", () => {
  const slope: Event = { kind: "slope", loss: 0.5, pastEdge: false, variables: [{ name: "momentum", value: 0.7, hypergradient: -0.1 }], downhill: [0.3] };
  const page = ready();
  page.sent();
  page.play({ kind: "differentiate", moves: null });
  assert.equal(page.is, "trying");
  assert.deepEqual(page.play(slope).sent(), ["differentiate", "prepare"], "preparation that it interrupted goes on");
  assert.deepEqual(page.settle().play({ kind: "foretell", moves: [0.2] }).sent(), ["foretell"]);
  assert.equal(page.is, "ready");
  assert.deepEqual(page.play({ kind: "try-out", moves: [0.2] }).sent(), ["foretell", "try-out"]);
  page.play({ kind: "tried", foretold: 0.48, loss: 0.47, moves: [0.2] }).settle();
  assert.deepEqual([page.is, page.studio.hand?.tried.length], ["ready", 1]);
  page.play({ kind: "differentiate", moves: [0.2] });
  const last = page.commands.at(-1)!;
  assert.ok(last.kind === "send" && last.message.kind === "differentiate");
  assert.deepEqual(last.message.moves, [0.2]);
  assert.equal(page.play({ kind: "untried", message: "It diverges." }).studio.hand?.problem, "It diverges.");
  assert.equal(started().play({ kind: "differentiate", moves: null }).is, "running", "not in a run");
});

test("logistic regression stands beside the run on its data, whenever it comes", () => {
  const baseline: Event = { kind: "baseline", fingerprint: "builtin", accuracy: 0.9 };
  assert.equal(started().play(done, baseline).studio.run?.baseline, 0.9);
  assert.equal(started(ready().play(baseline)).play(done).studio.run?.baseline, 0.9);
  assert.equal(started().play(done, { ...baseline, fingerprint: "watch.zip" }).studio.run?.baseline, null);
  const page = ready().play({ kind: "started", settings: defaults(null), engine: "cpu", data: set("builtin"), opened: "run.zip" }, point, done);
  assert.equal(page.studio.run?.baseline, null);
  assert.equal(page.play(baseline).studio.run?.baseline, 0.9, "of a run that was opened, too");
  assert.equal(ready().play(baseline, { kind: "show", run: { ...page.studio.run!, baseline: null } }).studio.run?.baseline, 0.9);
});

test("the tab tells where the run is", () => {
  const page = started();
  assert.equal(title(page.play({ ...progress, share: 0.37 } as Event).studio), "37 % – Stackelberg studio");
  assert.equal(title(page.play({ kind: "paused" }).studio), "Paused at 37 % – Stackelberg studio");
  assert.match(title(page.play(point, done).studio), /^Outer loss .* – Stackelberg studio$/);
  assert.equal(title(ready().studio), "Stackelberg studio");
});

test("so does preparation that a check interrupted", () => {
  const page = ready().play({ kind: "check" });
  page.sent();
  assert.deepEqual(page.play({ kind: "checked", ...report }).sent(), ["prepare"]);
  assert.equal(page.settle().is, "ready");
});

test("settings changed during a check are settled after it", () => {
  const page = ready().play({ kind: "check" }, { kind: "choose", settings: { ...defaults(null), seed: 3 } });
  assert.equal(page.is, "checking");
  page.play({ kind: "checked", ...report });
  assert.equal(page.is, "settling");
});

test("a check is given up for a run, and on request", () => {
  const check = () => ready().play({ kind: "check" }, { kind: "checking", exactSteps: 4, steps: 4, seconds: 3, share: 0 });
  const page = check();
  page.sent();
  page.play({ kind: "cancel-check" });
  assert.deepEqual(page.sent(), ["stop"]);
  assert.deepEqual(stage(page.studio), { is: "checking", cancelling: true });
  assert.deepEqual(page.play({ kind: "cancel-check" }).sent(), [], "once is enough");
  assert.equal(page.play({ kind: "unchecked", message: undefined }).studio.check, null);
  const run = check().play({ kind: "start" }, { kind: "unchecked", message: undefined });
  assert.equal(run.is, "starting");
  assert.equal(check().play({ kind: "unchecked", message: "It diverges." }).studio.check?.state, "failed");
  assert.deepEqual(check().play(broke).studio.check, { state: "failed", message: "It is gone." });
});

test("a device lost in a run: the run goes on, on a new one or on the processor", () => {
  const page = started(ready("", "?engine=webgpu")).play(progress, point, lost("webgpu"));
  assert.equal(page.is, "recovering");
  assert.match(announcement(page.studio), /going on with a new one/);
  page.play(progress);
  assert.equal(page.is, "running");
  page.play(lost("cpu"));
  assert.match(announcement(page.studio), /the processor goes on/);
  assert.equal(page.studio.run?.on, "cpu");
  assert.equal(page.studio.run?.outer.length, 1, "what was finished stays");
  assert.equal(page.play(progress, done).studio.run?.engine, "webgpu");
});

test("a device lost while it is prepared leaves a way on", () => {
  const gone = engineState("webgpu", { problem: "The device was lost." });
  const page = settling("", "?engine=webgpu").play(engines(gone, cpu)).settle();
  assert.match(page.why, /GPU cannot be used.*The device was lost\./);
  assert.deepEqual(page.ways, ["retry", "fastest"]);
  page.sent();
  assert.deepEqual(page.play({ kind: "way", way: "retry" }).sent(), ["prepare"]);
  assert.equal(page.play(engines(gpu, cpu)).settle().is, "ready");
  const other = settling("", "?engine=webgpu").play(engines(gone, cpu), { kind: "way", way: "fastest" }).settle();
  assert.equal(engine(other.studio)?.engine, "cpu");
  assert.equal(other.is, "ready");
  assert.equal(settling().play(engines(gone, cpu)).settle().is, "ready", "nobody asked for the GPU");
});

test("a device lost while the run's shaders are prepared, then a stop: no result, and ready again", () => {
  const page = started().play(lost("webgpu"), { kind: "stop" }, { kind: "cancelled" }).settle();
  assert.equal(page.is, "ready");
  assert.ok(page.studio.cancelled);
  const later = started().play(point, lost("webgpu"), { kind: "stop" }, { kind: "cancelled" });
  assert.equal(later.studio.run?.outer.length, 1, "finished iterations are shown");
  assert.match(later.studio.run?.failure ?? "", /below/);
});

test("no engine at all, and a GPU that is asked for where there is none", () => {
  const none = engineState("webgpu", { name: "", problem: "None was found." });
  assert.deepEqual(settling("", "?engine=webgpu").play(engines(none, cpu)).ways, ["fastest"]);
  const all = settling().play(engines(none, { ...cpu, problem: "No." }));
  assert.match(all.why, /None was found\. No\./);
  assert.deepEqual(all.ways, ["retry"]);
});

test("a module that does not come is said, and is worth another try unless the browser cannot run it", () => {
  const page = new Page().play({ kind: "broke", message: "The server answered 404.", again: true });
  assert.equal(page.why, "The server answered 404.");
  assert.deepEqual(page.ways, ["restart"]);
  page.sent();
  page.play({ kind: "way", way: "restart" });
  assert.deepEqual(page.sent(), ["restart", "open"]);
  assert.equal(page.play({ kind: "loaded" }, engines(cpu), data("builtin")).settle().is, "ready");
  assert.deepEqual(new Page().play({ kind: "broke", message: "No SIMD.", again: false }).ways, []);
});

test("a worker that throws ends a run, keeps what was finished, and can be started again", () => {
  const page = started().play(progress, point, broke);
  assert.equal(page.is, "stuck");
  assert.equal(page.studio.run?.outer.length, 1);
  assert.equal(page.studio.run?.failure, "It is gone.");
  page.play({ kind: "way", way: "restart" }, { kind: "loaded" }, engines(cpu), data("builtin")).settle();
  assert.equal(page.is, "ready");
  assert.equal(page.studio.run?.outer.length, 1);
});

test("recordings that do not come are said, and can be fetched again", () => {
  const page = new Page().play({ kind: "loaded" }, engines(cpu), { kind: "no-data", message: "None came." });
  assert.equal(page.why, "None came.");
  page.sent();
  assert.deepEqual(page.play({ kind: "way", way: "fetch" }).sent(), ["fetch"]);
  assert.equal(page.is, "fetching");
  const unreadable = new Page().play({ kind: "loaded" }, engines(cpu), failed("data"));
  assert.equal(unreadable.why, "No data.", "they came, but cannot be read");
  assert.deepEqual(unreadable.ways, ["fetch"]);
  page.play(data("subset"), { kind: "no-data", message: "The others did not." }).settle();
  assert.equal(page.is, "ready", "the first people are enough to begin with");
  assert.equal(page.play(data("builtin")).studio.absent, null);
});

test("an address with data waits for just these", () => {
  const all = new Page("#data=builtin").play({ kind: "loaded" }, engines(cpu), data("subset"));
  assert.equal(all.is, "fetching");
  assert.deepEqual(all.play({ kind: "no-data", message: "No." }).ways, ["fetch", "subset"]);
  assert.equal(all.play(data("builtin")).settle().is, "ready");
  const some = new Page("#data=subset");
  assert.deepEqual(some.commands.at(-1), { kind: "send", message: { kind: "use-builtin", subset: true } });
  const own = new Page("#data=my%20own.zip").play({ kind: "loaded" }, engines(cpu), data("builtin"));
  assert.match(own.why, /a run on my own\.zip/);
  assert.equal(own.play(data("my own.zip")).settle().is, "ready");
  assert.equal(new Page("#data=x.zip").play({ kind: "loaded" }, engines(cpu), data("builtin"), { kind: "way", way: "builtin" }).settle().is, "ready");
});

test("a visitor's own data go into the address of a run, and the built-in ones come back", () => {
  const page = ready().play({ kind: "reading", use: "recordings", name: "a.zip" }, { kind: "open", use: "recordings", name: "a.zip", files: [] }, data("a.zip")).settle();
  assert.equal(page.studio.reading, null);
  started(page).play(done);
  assert.match(address(page.studio), /&data=a\.zip$/);
  page.sent();
  assert.deepEqual(page.play({ kind: "way", way: "builtin" }).sent(), ["use-builtin", "prepare"]);
  assert.match(address(page.play(data("builtin")).settle().studio), /&data=builtin$/);
  assert.equal(page.is, "ready");
});

test("a refused file leaves the data, also in a run", () => {
  const page = started().play({ kind: "reading", use: "recordings", name: "b.zip" }, failed("data"));
  assert.equal(page.is, "running");
  assert.equal(page.studio.refused, "No data.");
  assert.equal(page.studio.data?.source, "builtin");
  assert.deepEqual(page.play({ kind: "open", use: "recordings", name: "b.zip", files: [] }).sent().includes("recordings"), false);
});

const seen = (name: string, problem?: string): Event =>
  ({ kind: "seen", name, reading: { rate: 50 }, problem, columns: [], places: [], classes: [], people: [], notes: [], written: "" }) as unknown as Event;

test("recordings are shown as they were read, read anew on other terms, and gone with the built-in data", () => {
  const page = ready().play({ kind: "reading", use: "recordings", name: "a.csv" }, { kind: "open", use: "recordings", name: "a.csv", files: [] });
  page.play(seen("a.csv", "nothing says what is done"));
  assert.deepEqual([page.studio.reading, page.studio.data?.source, page.studio.seen?.problem], [null, "builtin", "nothing says what is done"]);
  page.sent();
  assert.deepEqual(page.play({ kind: "reread", reading: { label: "column a" } }).sent(), ["reread"]);
  assert.equal(page.studio.reading, "a.csv");
  page.play(seen("a.csv"), data("a.csv")).settle();
  assert.deepEqual([page.studio.seen?.problem, page.studio.data?.source, page.studio.reading], [undefined, "a.csv", null]);
  // In a run nothing is read anew.
  page.play({ kind: "start" });
  page.sent();
  assert.deepEqual(page.play({ kind: "reread", reading: {} }).sent(), []);
  // Read, and yet no run can be on them.
  const undivided: Event = { kind: "undivided", message: "ax has the same value throughout" };
  const same = ready().play(seen("a.csv"), undivided);
  assert.deepEqual([same.studio.seen?.problem, same.studio.absent, same.studio.data?.source], ["ax has the same value throughout", null, "builtin"]);
  const published = ready().play({ kind: "reading", use: "recordings", name: "a.zip" }, undivided);
  assert.deepEqual([published.studio.refused, published.studio.reading], ["ax has the same value throughout", null]);
  const back = ready().play(seen("a.csv"), data("a.csv")).settle().play({ kind: "way", way: "builtin" }, data("builtin"));
  assert.equal(back.studio.seen, null);
});

test("a network tells of new recordings, or says why not", () => {
  const network = { kind: "network", classes: [], channels: [], hyperparameters: [], files: [] } as unknown as Event;
  const page = ready().play(network, { kind: "reading", use: "predict", name: "b.csv" });
  assert.equal(page.studio.telling, "b.csv");
  page.sent();
  assert.deepEqual(page.play({ kind: "open", use: "predict", name: "b.csv", files: [] }).sent(), ["predict"]);
  page.play({ kind: "untold", message: "No." });
  assert.deepEqual([page.studio.telling, page.studio.untold, page.studio.told], [null, "No.", null]);
  page.play({ kind: "told", name: "b.csv", windows: [], csv: "", notes: [] });
  assert.deepEqual([page.studio.untold, page.studio.told?.name], [null, "b.csv"]);
  assert.equal(page.play(network).studio.told, null, "what another network told is gone");
  assert.equal(started(ready().play(network)).studio.network, null, "nor does it tell beside another run");
  const begun: Event = { kind: "started", settings: defaults(null), engine: "cpu", data: set("a.csv"), opened: "run.zip" };
  const opened = ready().play(network, { kind: "reading", use: "open-run", name: "run.zip" }, begun);
  assert.deepEqual([opened.studio.network, opened.studio.telling], [null, null], "nor does that of a run that names no class");
  const busy = started().play({ kind: "open", use: "open-run", name: "run.zip", files: [] });
  assert.match(busy.studio.untold!, /A run is under way/);
  assert.equal(ready().play(network, broke).studio.network, null);
});

test("a batch that nobody named follows small data", () => {
  const small: Event = { kind: "data", ...set("a.csv"), train: { windows: 9, people: [1] } };
  assert.equal(settings(ready().play(small).studio).batch, 9);
  // One that was named, or run with on other data, is too large for them, which is said.
  const chosen = ready().play({ kind: "choose", settings: defaults(null) }, small);
  assert.equal(settings(chosen.studio).batch, 9);
  assert.deepEqual(chosen.studio.remarks, ["Batch: 64 is more than the 9 training windows of these data; 9 is taken."]);
  const first: Event = { kind: "data", ...set("subset"), train: { windows: 9, people: [1] } };
  assert.equal(settings(new Page("#batch=64").play({ kind: "loaded" }, engines(cpu), first).studio).batch, 64, "the other people are on their way");
  const after = started().play(done, small);
  assert.deepEqual([settings(after.studio).batch, after.studio.run?.settings.batch, after.studio.remarks.length], [9, 64, 1]);
});

test("a failed run says why and keeps what it had; the next one starts afresh", () => {
  const page = started().play(point, failed("run")).settle();
  assert.equal(page.studio.run?.failure, "No run.");
  assert.equal(page.studio.run?.outer.length, 1);
  assert.match(announcement(page.studio), /ended early\. No run\./);
  assert.equal(started(page).studio.run?.failure, null);
});

test("a stop before the first result forgets the run", () => {
  const page = started().play({ kind: "stop" }, { kind: "cancelled" }).settle();
  assert.equal(page.studio.run, null);
  assert.equal(announcement(page.studio), withoutResult);
  assert.equal(started(page).studio.cancelled, false);
});

test("a pause is heard whatever the run is at, and a resume only where it is held", () => {
  for (const is of stages) {
    const page = pages[is]();
    page.sent();
    assert.deepEqual(page.play({ kind: "pause" }).sent(), ["starting", "running", "recovering"].includes(is) ? ["pause"] : [], is);
    assert.deepEqual(page.play({ kind: "resume" }).sent(), is === "paused" ? ["resume"] : [], is);
  }
});

test("a stop that comes before the run has begun is not forgotten", () => {
  const page = ready().play({ kind: "start" }, { kind: "stop" });
  page.play({ kind: "started", settings: settings(page.studio), engine: "cpu", data: set("builtin") });
  assert.equal(page.is, "stopping");
  assert.equal(page.play({ kind: "paused" }, progress).is, "stopping");
});

test("a run that takes very long is asked about, once it is foretold", () => {
  const page = ready().play(engines({ ...cpu, run: LONG + 1 }));
  page.sent();
  assert.deepEqual(page.play({ kind: "start" }).sent(), []);
  assert.match(announcement(page.studio), /about 1 h 0 min|about 60 min/);
  assert.deepEqual(page.play({ kind: "decline" }).sent(), []);
  assert.deepEqual(page.play({ kind: "start" }, { kind: "confirm" }).sent(), ["start"]);
  assert.equal(ready().play(engines({ ...cpu, run: LONG }), { kind: "start" }).is, "starting");
});

test("silence is said while the worker is at work, and ends with the next word", () => {
  for (const is of stages)
    assert.equal(atWork(pages[is]().studio), ["looking", "settling", "starting", "running", "recovering", "stopping"].includes(is), is);
  const page = started().play({ kind: "silence" });
  assert.equal(announcement(page.studio), silence);
  assert.equal(page.play(progress).studio.silent, false);
  page.play({ kind: "silence" }, { kind: "way", way: "restart" });
  assert.equal(page.is, "loading");
  assert.match(page.studio.run?.failure ?? "", /started again/);
});

test("messages of a run that is gone are ignored", () => {
  const late: FromWorker[] = [progress, point, done, { kind: "paused" }, { kind: "resumed" }] as FromWorker[];
  for (const message of late) {
    const page = ready().play(message);
    assert.equal(page.studio.run, null);
    assert.equal(page.is, "ready");
  }
});

test("whatever data there are, the trace is to be one of theirs", () => {
  const page = started();
  page.sent();
  assert.deepEqual(page.play(data("builtin")).sent(), ["window"], "in a run nothing else is asked for");
});

test("the live region speaks of phases, not of steps", () => {
  const said = (page: Page) => announcement(page.studio);
  assert.equal(said(ready()), "Ready to tune.");
  assert.equal(said(started()), said(started().play(progress)));
  for (const is of stages.filter((is) => !["loading", "looking", "fetching", "settling"].includes(is)))
    assert.ok(said(pages[is]()).length > 0, is);
});

test("the end of a run is said with what it cost and what came of it, in words", () => {
  const settled: Event = { ...done, settled: true } as Event;
  const page = started().play(point, { ...point, iteration: 2, spent: 4.6, loss: 0.5 } as Event, settled).settle();
  assert.equal(
    announcement(page.studio),
    "Ended early, as nothing was gained any more, after 3.6 of 36 trainings in 3.0 s. Outer loss 1.00 to 0.500.",
  );
});

test("only a run under way locks what it depends on", () => {
  for (const is of stages) assert.equal(live(pages[is]().studio), ["starting", "running", "recovering", "paused", "stopping"].includes(is), is);
  const locked: Act[] = [
    { kind: "choose", settings: { ...defaults(null), seed: 1 } },
    { kind: "standard" },
    { kind: "take", engine: "webgpu" },
    { kind: "way", way: "builtin" },
  ];
  for (const act of locked) {
    const page = started();
    const before = page.studio;
    assert.deepEqual(page.play(act).studio, before, act.kind);
  }
});
