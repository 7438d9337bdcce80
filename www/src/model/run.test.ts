import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hyperparameter, OuterIteration, Progress } from "../../pkg/stackelberg.js";
import { paths } from "./paths.ts";
import { advance, begin, best, completed, foreseen, kept, type RunMessage } from "./run.ts";
import { defaults } from "./settings.ts";
import { remarks, slope, tracks } from "./tracks.ts";

const settings = { ...defaults(null), steps: 4, outer: 3 };
const side = { windows: 1, people: [1] };
const data = { name: "", source: "builtin", subset: false, train: side, validation: side, test: side, classes: [] };
const play = (...messages: RunMessage[]) => messages.reduce(advance, begin({ settings, engine: "webgpu", data }));

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
  const run = play(
    { kind: "inner-losses", iteration: 1, losses: [3, 2] },
    { kind: "inner-losses", iteration: 2, losses: [9] },
    { kind: "recovering", engine: "webgpu" },
    { kind: "inner-losses", iteration: 2, losses: [2, 1] },
  );
  assert.deepEqual(run.inner, [[3, 2], [2, 1]]);
});

test("the forecast is that of the last progress, not of the start", () => {
  const at = (seconds: number, secondsLeft: number | undefined): RunMessage => ({ kind: "progress", iteration: 1, phase: "training", step: 1, steps: 4, seconds, secondsLeft });
  assert.equal(foreseen(play()), undefined);
  assert.equal(foreseen(play(at(100, 17))), 117);
  assert.equal(foreseen(play(at(100, undefined))), undefined);
});

test("what was kept is the best iteration, or the start values, once the run is over", () => {
  const points: RunMessage[] = [1, 2].map((iteration) => ({ kind: "outer", ...outer(iteration, 1) }));
  const done = (best: number): RunMessage => ({ kind: "done", ending: "finished", best, seconds: 1, result: "", model: undefined });
  assert.equal(kept(play(...points)), undefined);
  assert.equal(kept(play(...points, done(2)))?.iteration, 2);
  assert.equal(kept(play(...points, done(0)))?.iteration, 1);
});

test("progress grows through the phases of an iteration", () => {
  const at = (phase: Progress["phase"], step: number) =>
    completed(play({ kind: "progress", iteration: 1, phase, step, steps: 4, seconds: 1, secondsLeft: 1 }));
  const shares = [at("training", 0), at("training", 4), at("backward", 2), at("backward", 4)];
  assert.deepEqual([...shares].sort((a, b) => a - b), shares);
  assert.equal(shares[0], 0);
  assert.equal(shares[3], 1 / 3);
  assert.equal(at("forward", 2), 1 / 6);
});

test("the best iteration is one that was kept", () => {
  assert.equal(best([outer(1, 1), outer(2, 0.2, false), outer(3, 0.5)])?.iteration, 2);
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

test("tracks show the iteration that was kept where there is one", () => {
  const all = [outer(1, 1), outer(2, 0.5), outer(3, 0.9)];
  assert.equal(tracks(all).rows[0]!.now, 1e-2);
  assert.equal(tracks(all, all[1]).rows[0]!.now, 1e-3 * 10 ** 0.5);
});

const steep = (name: string, hypergradient: number): Hyperparameter => ({ name, group: "lr", value: 0.01, hypergradient });

test("an exploding hypergradient is no direction, and takes no room from the others", () => {
  const point = { ...outer(1, 1), hyperparameters: [steep("learning_rate", -1.9e5), steep("momentum", 0.2), steep("l2.conv1", -0.1)] };
  const { rows } = tracks([point]);
  assert.deepEqual(rows.map((row) => row.slope), ["exploded", "ordinary", "ordinary"]);
  assert.deepEqual(rows.map((row) => row.push), [0, -1, 0.5]);
  assert.match(remarks(rows, 20)[0]!, /^Exploded: Learning rate\..*no direction/);
  assert.deepEqual([99, 100, Infinity, Number.NaN, 0].map((hypergradient) => slope({ hypergradient })), ["ordinary", "exploded", "none", "none", "flat"]);
});

test("a hypergradient of exactly 0 is explained: momentum at one step, and others", () => {
  const rows = (...names: string[]) => tracks([{ ...outer(1, 1), hyperparameters: names.map((name) => steep(name, 0)) }]).rows;
  assert.deepEqual(remarks(rows("momentum"), 1), ["Momentum is exactly 0: it acts through the steps before, and a training of one step has none."]);
  assert.match(remarks(rows("momentum"), 2)[0]!, /^Exactly 0: Momentum\./);
  assert.match(remarks(rows("l2.conv1", "l2.conv2", "l2.dense1", "l2.dense2"), 5)[0]!, /and 1 more\. The outer loss does not change with them/);
  assert.deepEqual(remarks(tracks([outer(1, 1)]).rows.filter((row) => row.slope === "ordinary"), 20), []);
  const overflow = tracks([{ ...outer(1, 1), hyperparameters: [steep("learning_rate", Number.NaN)] }]).rows;
  assert.match(remarks(overflow, 20)[0]!, /^Not a number: Learning rate\. Training overflowed/);
});
