import assert from "node:assert/strict";
import { test } from "node:test";
import type { Evaluation } from "../../pkg/stackelberg.js";
import { advance, begin } from "./run.ts";
import { defaults } from "./settings.ts";
import { unnamed, untaught, verdicts } from "./verdict.ts";

const side = { windows: 1, people: [1] };
const classes = ["walking", "standing", "laying"].map((name) => ({ name, windows: 10, training: 5 }));
const data = { name: "", source: "builtin", subset: false, train: side, validation: side, test: side, classes };

/** Scores of a network with these windows by true and named activity. */
function score(which: "before" | "after", confusion: number[]): Evaluation & { kind: "evaluation" } {
  const at = (row: number, column: number) => confusion[3 * row + column]!;
  const sum = (of: (other: number) => number) => of(0) + of(1) + of(2);
  const f1 = [0, 1, 2].map((one) => (2 * at(one, one)) / Math.max(1, sum((other) => at(one, other)) + sum((other) => at(other, one))));
  const right = at(0, 0) + at(1, 1) + at(2, 2);
  return { kind: "evaluation", which, loss: 1, accuracy: right / confusion.reduce((a, b) => a + b), macroF1: 0, f1, confusion };
}
const run = (before: number[], after: number[], best = 3) =>
  [
    score("before", before),
    score("after", after),
    { kind: "done", ending: "finished", best, seconds: 1, result: "", model: undefined } as const,
  ].reduce(advance, begin({ settings: defaults(null), engine: "webgpu", data }));

const poor = [4, 3, 3, 3, 4, 3, 3, 3, 4];
const good = [9, 1, 0, 1, 9, 0, 0, 0, 10];

test("a good result needs no sentence", () => {
  assert.deepEqual(verdicts(run(poor, good)), []);
});

test("activities that are never named right are named before any praise", () => {
  const after = [10, 0, 0, 10, 0, 0, 0, 0, 10];
  assert.equal(unnamed(score("after", after)), 1);
  assert.match(verdicts(run(poor, after))[0]!, /^Standing is never named right \(F1 0\).*1 activity of 3/);
  assert.match(verdicts(run(poor, [10, 0, 0, 10, 0, 0, 10, 0, 0]))[0]!, /^Standing and laying are never named right/);
  assert.match(verdicts(run(poor, [10, 0, 0, 10, 0, 0, 10, 0, 0])).join(), /Always naming “walking” would be right in 33\.3 %/);
  assert.equal(unnamed(score("after", [10, 0, 0, 0, 0, 0, 0, 0, 10])), 0, "an activity that nobody did in the test is no fault");
});

test("no gain is said, with what the outer loss did", () => {
  assert.match(verdicts(run(good, good, 1)).join(), /No outer step lowered/);
  assert.match(verdicts(run(good, good, 3)).join(), /did not rise/);
});

test("a run that changed its engine says so", () => {
  assert.match(verdicts({ ...run(poor, good), on: "cpu" }).join(), /the processor did the rest/);
});

test("an activity without training people is named", () => {
  assert.equal(untaught(classes), null);
  assert.match(untaught(classes.map((one, at) => ({ ...one, training: at }))) ?? "", /No training person has walking: .*name it/);
  assert.match(untaught(classes.map((one) => ({ ...one, training: 0 }))) ?? "", /walking, standing or laying: .*them/);
  assert.equal(untaught(classes.map((one) => ({ ...one, windows: 0, training: 0 }))), null, "nobody has it at all: an activity less");
});
