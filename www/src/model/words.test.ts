import assert from "node:assert/strict";
import { test } from "node:test";
import { said, spoken } from "./words.ts";

test("options of the command line are called as the page calls them", () => {
  const said: [string, string][] = [
    ["50 samples a second are assumed (`--rate` says otherwise)", "50 samples a second are assumed (“Samples a second” says otherwise)"],
    ["resample them with `--rate 50`, or leave the filter out", "resample them with “Samples a second”: 50, or leave the filter out"],
    ['name the columns (`--columns "channels=ax, ay, az"`)', "name the columns (“Channels”: ax, ay, az)"],
    ['in their order: --columns "channels=…"', "in their order: “Channels”"],
    ["name that (`--columns \"person=folder\"`, `person=file`)", "name that (“People stand in”: folder, “People stand in”: file)"],
    ["take a smaller `--overlap` or `--rate`, or fewer files", "take a smaller “Overlap of windows” or “Samples a second”, or fewer files"],
    ["which columns are what (`--columns`)", "which columns are what (“Columns”)"],
    ["nothing is said of options - here", "nothing is said of options - here"],
  ];
  for (const [sentence, wanted] of said) assert.equal(spoken(sentence), wanted);
});

test("settings and hyperparameters are called as the form calls them", () => {
  const form = {
    id: 1, values: [], unused: [], layers: undefined,
    offers: [{ setting: "method", value: "forward", refusal: "`hyperparameters` is lr,example-weights, but must be without lr, which this training does not have", usual: [] }],
    problem: "`learning_rate` is 0, but must be above 0. Leave it out to start from the usual one.",
  };
  const { problem, offers } = said(form);
  assert.equal(problem, "“Learning rate” is 0, but must be above 0. Leave it out to start from the usual one.");
  assert.equal(offers[0]!.refusal, "“Hyperparameters to tune” is learning rate,example weights, but must be without learning rate, which this training does not have");
  assert.equal(said({ ...form, problem: undefined }).problem, undefined);
});
