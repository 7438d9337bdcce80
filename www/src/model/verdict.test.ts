import assert from "node:assert/strict";
import { test } from "node:test";
import type { Done, Evaluation, OuterIteration, Which } from "../../pkg/stackelberg.js";
import { advance, begin, type Run, type RunMessage } from "./run.ts";
import { defaults, withWrongLabels } from "./settings.ts";
import { bars, cost, ending, gained, outcome, unnamed, untaught, verdicts, wonBack } from "./verdict.ts";

const side = { windows: 1, people: [1] };
const classes = ["walking", "standing", "laying"].map((name) => ({ name, windows: 10, training: 5 }));
const data = { name: "", source: "builtin", fingerprint: "0", subset: false, train: side, validation: side, test: side, classes, notes: [] };

/** Scores of a network with these windows by true and named activity. */
function score(which: Which, confusion: number[]): Evaluation & { kind: "evaluation" } {
  const at = (row: number, column: number) => confusion[3 * row + column]!;
  const sum = (of: (other: number) => number) => of(0) + of(1) + of(2);
  const f1 = [0, 1, 2].map((one) => (2 * at(one, one)) / Math.max(1, sum((other) => at(one, other)) + sum((other) => at(other, one))));
  const right = at(0, 0) + at(1, 1) + at(2, 2);
  return { kind: "evaluation", which, loss: 1, accuracy: right / confusion.reduce((a, b) => a + b), macroF1: 0, f1, precision: f1, recall: f1, confusion };
}
const done: Done = {
  ending: "finished",
  best: 3,
  spent: 31.2,
  hypergradients: 2,
  pastEdge: 0,
  settled: false,
  method: "probe-descent",
  reason: "the hyperparameters are few",
  seconds: 12,
  files: [],
};
const play = (...messages: RunMessage[]) => messages.reduce(advance, begin({ settings: { ...defaults(null), compare: false }, engine: "webgpu", data }));
const run = (before: number[], after: number[], best = 3) => play(score("before", before), score("after", after), { kind: "done", ...done, best });
const point = (iteration: number, value: number, pastEdge = false, selection?: number): RunMessage & OuterIteration => ({
  kind: "outer",
  iteration,
  spent: iteration,
  loss: 1 / iteration,
  selection,
  differentiated: pastEdge,
  pastEdge,
  roughness: undefined,
  foretold: undefined,
  accepted: true,
  seconds: 1,
  hyperparameters: [{ name: "learning_rate", group: "lr", value, hypergradient: pastEdge ? -9 : undefined }],
});

const poor = [4, 3, 3, 3, 4, 3, 3, 3, 4];
const good = [9, 1, 0, 1, 9, 0, 0, 0, 10];

test("a good result needs no sentence", () => {
  assert.deepEqual(verdicts(run(poor, good)), []);
});

test("random search at equal cost stands beside the result, and is said first where it did better", () => {
  const beside = (random: number[]) =>
    [score("before", poor), score("after", good), score("random", random), { kind: "done" as const, ...done }].reduce(advance, begin({ settings: defaults(null), engine: "webgpu", data }));
  const better = [10, 0, 0, 0, 10, 0, 0, 0, 10];
  assert.match(gained(beside(poor))!, /^Tuning gained/);
  assert.match(gained(beside(better))!, /^Random search at equal cost did better: 100\.0 % of test accuracy, and 93\.3 % tuned/);
  assert.deepEqual(bars(beside(poor)).map(({ name }) => name), ["Start values", "Best of random search, 31 trainings", "Tuned by hypergradients"]);
  const cut = [score("before", poor), score("after", good), { kind: "done" as const, ...done }].reduce(advance, begin({ settings: defaults(null), engine: "webgpu", data }));
  assert.deepEqual(verdicts(cut), ["Random search at equal cost was not finished, so there is nothing to hold this against."]);
  assert.equal(bars({ ...beside(poor), baseline: 0.9 }).at(-1)?.accuracy, 0.9);
});

test("what wrong labels cost is said, and what came back of it", () => {
  const settings = withWrongLabels(defaults(null));
  const weights: RunMessage = { kind: "weights", iteration: 1, auc: 0.756, right: [1], wrong: [2] };
  const spoilt = (after: number[], right: number[]) =>
    [score("before", poor), weights, score("after", after), score("right-labels", right)].reduce<Run>(advance, begin({ settings, engine: "webgpu", data }));
  assert.match(wonBack(spoilt(good, good))!, /in 33 % of the training windows cost 53\.3 points .* won back 53\.3 points of these\. .* probability 0\.76\.$/);
  assert.match(wonBack(spoilt(poor, good))!, /won back none of these/);
  assert.match(wonBack(spoilt(good, poor))!, /cost no test accuracy here/);
  assert.equal(wonBack(run(poor, good)), null);
});

test("people who chose the iteration are told of, and those who were fitted by heart", () => {
  const told = (selection: number) =>
    verdicts(play(point(1, 0.1, false, selection), score("before", poor), score("after", good), { kind: "done", ...done, best: 1 })).join(" ");
  assert.match(told(1.5), /to choose the iteration: their loss is 1\.50, the outer loss 1\.00\.$/);
  assert.match(told(2.5), /their loss is 2\.50, the outer loss 1\.00\. The hyperparameters fit the people they were tuned on more than others\.$/);
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
  assert.match(verdicts(run(good, good, 1)).join(), /No point that was tried has a lower validation loss/);
  assert.match(verdicts(run(good, good, 3)).join(), /did not rise/);
});

test("the first line says what was gained on the test people, or that nothing was", () => {
  assert.equal(gained(run(poor, good)), "Tuning gained 53.3 points of test accuracy, on 1 person the model never saw.");
  assert.equal(outcome(run(poor, good)), "Test accuracy 40.0 % → 93.3 %");
  for (const worse of [good, poor]) {
    assert.equal(gained(run(good, worse)), "The tuned network is not better than the start on the 1 person the model never saw.");
    assert.match(outcome(run(good, worse)), /: not better than the start$/);
  }
});

test("without scores the outer loss is the outcome, and nothing is said of the test people", () => {
  const stopped = play(point(1, 0.1), point(2, 0.2), { kind: "done", ...done, ending: "stopped" });
  assert.equal(gained(stopped), null);
  assert.equal(outcome(stopped), "Outer loss 1.00 → 0.500");
  assert.equal(outcome(play({ kind: "done", ...done, ending: "diverged", best: 0 })), "Training diverged from the start values on");
});

test("a gain in accuracy at a higher test loss is no plain one", () => {
  const [before, after] = [{ ...score("before", poor), loss: 0.5 }, { ...score("after", good), loss: 0.6 }];
  assert.match(verdicts(play(before, after)).join(), /^The loss on the test people rose all the same, from 0\.500 to 0\.600/);
  assert.deepEqual(verdicts(play({ ...before, loss: 0.6 }, after)), []);
});

test("what a run cost is said in trainings, and whether patience ended it", () => {
  const whole = play(...[1, 2, 3, 4, 5].map((iteration) => point(iteration, 0.1)));
  assert.equal(ending(whole, done), "Finished after 31.2 of 36 trainings in 12 s");
  assert.deepEqual(cost(whole, done), [
    "Cost: 31.2 of 36 trainings, for 2 hypergradients and 3 trainings alone, through 20 training steps each, 12 s.",
    "The values of outer iteration 3 were kept.",
    "Outer optimiser: probe-descent (the hyperparameters are few).",
  ]);
  const settled = { ...done, settled: true, pastEdge: 1, best: 0 };
  assert.match(ending(whole, settled), /^Ended early, as nothing was gained any more, after 31\.2/);
  assert.match(cost(whole, settled)[0]!, /2 hypergradients \(1 past the edge of stability\) and/);
  assert.match(cost(whole, settled)[1]!, /^Patience ended the run/);
  assert.ok(!cost(whole, { ...settled, ending: "stopped" }).join().includes("Patience"), "it was stopped");
  const spent = { ...settled, spent: 36 };
  assert.match(ending(whole, spent), /^Finished after 36 of 36 trainings/);
  assert.ok(!cost(whole, spent).join().includes("Patience"), "the whole budget was spent");
});

test("values that were kept past the edge of stability are said, whenever that was found", () => {
  const over = (...points: RunMessage[]) => verdicts(play(...points, { kind: "done", ...done, best: 2 })).join();
  assert.match(over(point(1, 0.1), point(2, 0.2), point(3, 0.2, true)), /values that were kept is so steep/);
  assert.equal(over(point(1, 0.1), point(2, 0.2), point(3, 0.4, true)), "");
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
