import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hyperparameter, OuterIteration } from "../../pkg/stackelberg.js";
import { paths } from "./paths.ts";
import { advance, begin, best, completed, foreseen, kept, lowest, spent, type RunMessage } from "./run.ts";
import { defaults } from "./settings.ts";
import { remarks, slope, tracks } from "./tracks.ts";

const settings = { ...defaults(null), steps: 4, budget: 12 };
const side = { windows: 1, people: [1] };
const data = { name: "", source: "builtin", fingerprint: "0", subset: false, train: side, validation: side, test: side, classes: [], notes: [] };
const play = (...messages: RunMessage[]) => messages.reduce(advance, begin({ settings, engine: "webgpu", data }));

function outer(iteration: number, loss: number, accepted = true): OuterIteration {
  return {
    iteration,
    spent: 2.6 + iteration,
    loss,
    selection: undefined,
    differentiated: iteration === 1,
    pastEdge: false,
    roughness: undefined,
    foretold: undefined,
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

/** One that is a training alone. */
function alone(iteration: number, loss: number): OuterIteration {
  const one = outer(iteration, loss, false);
  return { ...one, differentiated: false, hyperparameters: one.hyperparameters.map((of) => ({ ...of, hypergradient: undefined })) };
}

test("an iteration that is done again on a new device replaces its inner losses", () => {
  const run = play(
    { kind: "inner-losses", iteration: 1, losses: [3, 2] },
    { kind: "inner-losses", iteration: 2, losses: [9] },
    { kind: "recovering", engine: "webgpu" },
    { kind: "inner-losses", iteration: 2, losses: [2, 1] },
  );
  assert.deepEqual(run.inner, [[3, 2], [2, 1]]);
});

test("of a run that was taken up again, earlier training losses are not known", () => {
  assert.deepEqual(play({ kind: "inner-losses", iteration: 3, losses: [2, 1] }).inner, [[], [], [2, 1]]);
});

test("the forecast is that of the last progress, not of the start", () => {
  const at = (seconds: number, secondsLeft: number | undefined): RunMessage => ({ kind: "progress", iteration: 1, phase: "training", step: 1, steps: 4, spent: 0.25, seconds, secondsLeft, share: 0.1 });
  assert.equal(foreseen(play()), undefined);
  assert.equal(foreseen(play(at(100, 17))), 117);
  assert.equal(foreseen(play(at(100, undefined))), undefined);
});

test("what was kept is the best iteration, or the start values, once the run is over", () => {
  const points: RunMessage[] = [1, 2].map((iteration) => ({ kind: "outer", ...outer(iteration, 1) }));
  const done = (best: number): RunMessage => ({ kind: "done", ending: "finished", best, spent: 2, hypergradients: 1, pastEdge: 0, settled: false, method: "probe-descent", reason: "", seconds: 1, files: [] });
  assert.equal(kept(play(...points)), undefined);
  assert.equal(kept(play(...points, done(2)))?.iteration, 2);
  assert.equal(kept(play(...points, done(0)))?.iteration, 1);
});

test("progress is what the engine says, and what is spent never falls behind an iteration", () => {
  const at = (spent: number): RunMessage => ({ kind: "progress", iteration: 1, phase: "backward", step: 1, steps: 4, spent, seconds: 1, secondsLeft: 1, share: spent / 24 });
  const point: RunMessage = { kind: "outer", ...outer(1, 1) };
  assert.equal(completed(play()), 0);
  assert.equal(completed(play(at(3))), 3 / 24, "half of a run is random search");
  assert.equal(spent(play(at(3), point)), 3.6);
  assert.equal(completed(play(at(3), point, at(4.6))), 4.6 / 24);
});

test("the lowest loss so far only falls, and a divergence does not count", () => {
  const diverged = { ...outer(1, 1), loss: undefined };
  assert.deepEqual(lowest([diverged, outer(2, 1), outer(3, 2), diverged, outer(4, 0.5)]), [null, 1, 1, 1, 0.5]);
});

test("the best iteration is one that was kept", () => {
  assert.equal(best([outer(1, 1), outer(2, 0.2, false), outer(3, 0.5)])?.iteration, 2);
  assert.equal(best([]), undefined);
  const chosen = [outer(1, 1), outer(2, 0.2), outer(3, 0.5)].map((one, at) => ({ ...one, selection: [1, 0.9, 0.8][at] }));
  assert.deepEqual(best(chosen), { iteration: 3, loss: 0.5, by: 0.8 }, "people kept from the outer loss choose");
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

test("tracks show the iteration that was kept where there is one", () => {
  const all = [outer(1, 1), outer(2, 0.5), outer(3, 0.9)];
  assert.equal(tracks(all).rows[0]!.now, 1e-2);
  assert.equal(tracks(all, all[1]).rows[0]!.now, 1e-3 * 10 ** 0.5);
});

test("the arrow is that of the last hypergradient, where it was taken", () => {
  const { rows, taken } = tracks([outer(1, 1), alone(2, 0.9), alone(3, 0.8)]);
  assert.equal(taken?.iteration, 1);
  assert.equal(rows[0]!.hypergradient, -0.4);
  assert.deepEqual([rows[0]!.origin, rows[0]!.moved], [0, 1]);
});

test("of the values that were kept, a hypergradient that was taken there later is shown", () => {
  const point = alone(2, 0.5);
  const later = { ...outer(4, 0.5), hyperparameters: outer(2, 0.5).hyperparameters, pastEdge: true };
  const all = [outer(1, 1), point, alone(3, 0.9), later, outer(5, 0.9)];
  const { rows, taken } = tracks(all, point);
  assert.equal(taken?.iteration, 4);
  assert.deepEqual(rows.map(({ slope, push }) => [slope, push]), [["noise", 0], ["flat", 0], ["noise", 0], ["noise", 0]]);
  assert.match(remarks({ rows, taken }, 20)[0]!, /^Noise: at outer iteration 4 training is past the edge of stability\./);
});

const steep = (name: string, hypergradient: number): Hyperparameter => ({ name, group: "lr", value: 0.01, hypergradient });

test("an exploding hypergradient is no direction, and takes no room from the others", () => {
  const point = { ...outer(1, 1), hyperparameters: [steep("learning_rate", -1.9e5), steep("momentum", 0.2), steep("l2.conv1", -0.1)] };
  const { rows, taken } = tracks([point]);
  assert.deepEqual(rows.map((row) => row.slope), ["exploded", "ordinary", "ordinary"]);
  assert.deepEqual(rows.map((row) => row.push), [0, -1, 0.5]);
  assert.match(remarks({ rows, taken }, 20)[0]!, /^Exploded: Learning rate\..*no direction/);
  assert.deepEqual([99, 100, Infinity, Number.NaN, 0].map((hypergradient) => slope({ hypergradient }, false)), ["ordinary", "exploded", "none", "none", "flat"]);
});

test("a hypergradient of exactly 0 is explained: momentum at one step, and others", () => {
  const rows = (...names: string[]) => tracks([{ ...outer(1, 1), hyperparameters: names.map((name) => steep(name, 0)) }]);
  assert.deepEqual(remarks(rows("momentum"), 1), ["Momentum is exactly 0: it acts through the steps before, and a training of one step has none."]);
  assert.match(remarks(rows("momentum"), 2)[0]!, /^Exactly 0: Momentum\./);
  assert.match(remarks(rows("l2.conv1", "l2.conv2", "l2.dense1", "l2.dense2"), 5)[0]!, /and 1 more\. The outer loss does not change with them/);
  const { rows: all, taken } = tracks([outer(1, 1)]);
  assert.deepEqual(remarks({ rows: all.filter((row) => row.slope === "ordinary"), taken }, 20), []);
  const overflow = tracks([{ ...outer(1, 1), hyperparameters: [steep("learning_rate", Number.NaN)] }]);
  assert.match(remarks(overflow, 20)[0]!, /^Not a number: Learning rate\. Training overflowed/);
});
