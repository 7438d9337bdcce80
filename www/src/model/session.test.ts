import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineState, FromWorker, OuterIteration } from "../../pkg/stackelberg.js";
import { paths } from "./paths.ts";
import { announcement, best, completed, empty, reduce, withoutResult } from "./session.ts";
import { defaults } from "./settings.ts";
import { tracks } from "./tracks.ts";

const settings = { ...defaults(null), steps: 4, outer: 3 };
const cpu: EngineState = {
  engine: "cpu",
  name: "",
  software: true,
  problem: undefined,
  shaders: undefined,
  step: 0.004,
  run: 30,
  advice: undefined,
};
const ready: FromWorker = { kind: "engines", engines: [cpu], faster: "cpu" };
const side = { windows: 1, people: [1] };
const data = { name: "", subset: false, train: side, validation: side, test: side, classes: [] };
const started: FromWorker = { kind: "started", settings, engine: "cpu", data };
const play = (...messages: FromWorker[]) => messages.reduce(reduce, empty);

function outer(iteration: number, loss: number, accepted = true): OuterIteration {
  return {
    iteration,
    loss,
    accepted,
    seconds: 1,
    hyperparameters: [
      { name: "learning_rate", group: "lr", value: 1e-3 * 10 ** ((iteration - 1) / 2), hypergradient: -0.4 },
      { name: "momentum", group: "momentum", value: 0.5, hypergradient: 0 },
      { name: "l2.conv1", group: "l2", value: 1e-3, hypergradient: 0.1 },
      { name: "l2.conv2", group: "l2", value: 1e-3 / 10 ** (iteration - 1), hypergradient: 0.2 },
    ],
  };
}

test("an iteration that is done again on a new device replaces its inner losses", () => {
  const { run } = play(
    started,
    { kind: "inner-losses", iteration: 1, losses: [3, 2] },
    { kind: "inner-losses", iteration: 2, losses: [9] },
    { kind: "recovering" },
    { kind: "inner-losses", iteration: 2, losses: [2, 1] },
  );
  assert.deepEqual(run?.inner, [[3, 2], [2, 1]]);
  assert.equal(run?.recovering, true);
});

test("a failed run keeps what it had; failed data does not end a run", () => {
  const point: FromWorker = { kind: "outer", ...outer(1, 1) };
  const broken: FromWorker = { kind: "failed", stage: "run", message: "It diverged." };
  const { run, failure } = play(started, point, broken);
  assert.equal(run?.state, "failed");
  assert.equal(run?.outer.length, 1);
  assert.equal(failure?.message, "It diverged.");
  assert.equal(play(started, { ...broken, stage: "data" }).run?.state, "running");
  assert.equal(play(started, broken, started).failure, null);
});

test("a stop before the first result forgets the run", () => {
  const cancelled = play(ready, started, { kind: "cancelled" });
  assert.equal(cancelled.run, null);
  assert.equal(announcement(cancelled), withoutResult);
  assert.equal(reduce(cancelled, started).cancelled, false);
});

test("a check has an outcome, or gives way to a run", () => {
  const begun: FromWorker = { kind: "checking", steps: 4, seconds: 3 };
  const report = { steps: 4, directions: [], methods: [], values: [], verdicts: [], agreements: [], outcome: "passed" as const };
  assert.equal(play(begun).check?.state, "checking");
  assert.deepEqual(play(begun, { kind: "checked", ...report }).check, { state: "checked", report: { kind: "checked", ...report } });
  assert.equal(play(begun, { kind: "unchecked", message: undefined }).check, null);
  assert.equal(play(begun, { kind: "unchecked", message: "It diverges." }).check?.state, "failed");
});

test("what was measured makes the default run", () => {
  const { firstRun } = play(ready, { kind: "first-run", network: "narrow", steps: 50, outer: 10 });
  assert.equal(defaults(firstRun).steps, 50);
});

test("messages of a run that is gone are ignored", () => {
  assert.equal(play({ kind: "paused" }).run, null);
});

test("the live region speaks of phases, not of steps", () => {
  const progress: FromWorker = {
    kind: "progress",
    iteration: 1,
    phase: "training",
    step: 1,
    steps: 4,
    seconds: 1,
    secondsLeft: undefined,
  };
  assert.equal(announcement(play(ready)), "Ready to tune.");
  assert.equal(announcement(play(ready, started)), announcement(play(ready, started, progress)));
  assert.equal(announcement(play(ready, started, { kind: "paused" })), "Paused.");
});

test("progress grows through the phases of an iteration", () => {
  const at = (phase: "training" | "backward" | "forward", step: number) =>
    completed(
      play(started, { kind: "progress", iteration: 1, phase, step, steps: 4, seconds: 1, secondsLeft: 1 }).run!,
    );
  const shares = [at("training", 0), at("training", 4), at("backward", 2), at("backward", 4)];
  assert.deepEqual([...shares].sort((a, b) => a - b), shares);
  assert.equal(shares[0], 0);
  assert.equal(shares[3], 1 / 3);
  assert.equal(at("forward", 2), 1 / 6);
});

test("the best iteration is one that was kept", () => {
  assert.equal(best([outer(1, 1), outer(2, 0.2, false), outer(3, 0.5)])?.iteration, 3);
  assert.equal(best([]), undefined);
});

test("paths group the hyperparameters, one line each", () => {
  const [lr, momentum, l2] = paths([outer(1, 1), outer(2, 0.9)]);
  assert.deepEqual(lr?.lines[0]?.values.length, 2);
  assert.equal(momentum?.log, false);
  assert.deepEqual(l2?.lines.map(({ name }) => name), ["conv1", "conv2"]);
  assert.notDeepEqual(l2?.lines[0]?.dash, l2?.lines[1]?.dash);
});

test("tracks count decades and push against the hypergradient", () => {
  const { rows, reach } = tracks([outer(1, 1), outer(2, 0.9)]);
  assert.ok(Math.abs(rows[0]!.moved - 0.5) < 1e-12);
  assert.equal(rows[0]!.push, 1);
  assert.equal(rows[3]!.push, -0.5);
  assert.equal(rows[1]!.moved, 0);
  assert.equal(reach, 1);
});
