import assert from "node:assert/strict";
import { test } from "node:test";
import { inWords, spoken } from "./words.ts";

test("options of the command line are called as the page calls them", () => {
  const said: [string, string][] = [
    ["50 samples a second are assumed (`--rate` says otherwise)", "50 samples a second are assumed (“Samples a second” says otherwise)"],
    ["resample them with `--rate 50`, or leave the filter out", "resample them with “Samples a second”: 50, or leave the filter out"],
    ['name the columns (`--columns "channels=ax, ay, az"`)', "name the columns (“Channels”: ax, ay, az)"],
    ['in their order: --columns "channels=…"', "in their order: “Channels”"],
    ["name that (`--columns \"person=folder\"`, `person=file`)", "name that (“People stand in”: folder, “People stand in”: file)"],
    ["take a smaller `--overlap` or `--rate`, or fewer files", "take a smaller “Overlap of windows” or “Samples a second”, or fewer files"],
    ["which columns are what (`--columns`)", "which columns are what (“Columns”)"],
    ["or use `--device cpu`", "or use “Engine”: cpu"],
    ["a larger `--memory-budget`", "a larger “Memory”"],
    ["nothing is said of options - here", "nothing is said of options - here"],
  ];
  for (const [sentence, wanted] of said) assert.equal(spoken(sentence), wanted);
});

test("settings and hyperparameters are called as the form calls them", () => {
  const said: [string, string][] = [
    ["`learning_rate` is 0, but must be above 0. Leave it out to start from the usual one.", "“Learning rate” is 0, but must be above 0. Leave it empty to start from the usual one."],
    ["`hyperparameters` is lr,example-weights, but must be without lr, which this training does not have", "“Hyperparameters to tune” is learning rate, example weights, but must be without learning rate, which this training does not have"],
    ["The optimizer is adam, which has betas in its place: name lr,betas,l2, or take optimizer momentum.", "The inner optimiser is adam, which has betas in its place: name learning rate, decay rates, L2 penalty, or take inner optimiser momentum."],
    ["`outer_rate` is 0.1, but must be left out here. What is tuned has a rate of its own: set example_weight_rate in its place.", "“Outer rate” is 0.1, but must be left empty here. What is tuned has a rate of its own: set “Outer rate of example weights” in its place."],
    ["There are too many example-weights: take guarded-adam.", "There are too many example weights: take guarded-adam."],
    ["the validation subjects [99] are not in the data, which hold the subjects [1, 2]", "the validation people [99] are not in the data, which hold the people [1, 2]"],
  ];
  for (const [problem, wanted] of said) {
    const form = { kind: "form", id: 1, values: [], unused: [], layers: undefined, offers: [{ setting: "method", value: "forward", refusal: problem, usual: [] }], problem };
    const { problem: of, offers } = inWords(form);
    assert.deepEqual([of, offers[0]!.refusal], [wanted, wanted]);
  }
  const refusal = "`hyperparameters` is betas, but must be without betas, which this training does not have. The optimizer is momentum: take optimizer adam.";
  const { offers } = inWords({ kind: "form", offers: [{ setting: "hyperparameters", refusal }], problem: undefined });
  assert.equal(offers[0]!.refusal, "The inner optimiser is momentum: take inner optimiser adam.", "what is refused is named beside it");
  assert.equal(inWords({ kind: "form", offers: [] as never[], problem: undefined }).problem, undefined);
});

test("a run that fails speaks of settings, and what is read of columns", () => {
  assert.equal(inWords({ kind: "failed", stage: "run", message: "`outer_rate` is too large" }).message, "“Outer rate” is too large");
  for (const event of [{ kind: "failed", stage: "data" }, { kind: "untold" }, { kind: "undivided" }])
    assert.equal(inWords({ ...event, message: "there is no column `batch`: name it by `--columns`" }).message, "there is no column `batch`: name it by “Columns”");
});
