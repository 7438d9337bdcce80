import assert from "node:assert/strict";
import { test } from "node:test";
import { command, defaults, fromHash, toHash } from "./settings.ts";

const start = defaults(null);

test("the defaults are what was found worth its time", () => {
  const { network, steps, outer, batch } = defaults({ network: "paper", steps: 200, outer: 15 });
  assert.deepEqual([network, steps, outer, batch], ["paper", 200, 15, start.batch]);
});

test("an address without settings means the defaults, and the defaults an empty address", () => {
  assert.deepEqual(fromHash("", start), start);
  assert.equal(toHash(start, start), "");
});

test("settings survive the address", () => {
  const chosen = { ...start, network: "paper" as const, steps: 7, seed: 4294967295, hyperparameters: ["lr", "example-weights"] as const };
  const settings = { ...chosen, hyperparameters: [...chosen.hyperparameters] };
  assert.deepEqual(fromHash(toHash(settings, start), start), settings);
});

test("what an address has out of range is pulled into it, what it has wrong is left out", () => {
  const settings = fromHash("#steps=0&outer=99999&batch=x&network=huge&hyperparameters=nothing&seed=-1", start);
  assert.deepEqual(settings, { ...start, steps: 1, outer: 200 });
});

test("a method survives the address if the page has it, with its steps pulled into range", () => {
  for (const method of ["forward", "truncated:7"]) {
    assert.equal(toHash({ ...start, method }, start), `#method=${method}`);
    assert.equal(fromHash(`#method=${method}`, start).method, method);
  }
  assert.equal(fromHash("#method=truncated:0", start).method, "truncated:1");
  for (const method of ["implicit:20", "truncated:", "truncated:x", "huge"])
    assert.equal(fromHash(`#method=${method}`, start).method, "reverse", method);
});

test("hyperparameters keep the order of the list, whatever the address says", () => {
  assert.deepEqual(fromHash("#hyperparameters=l2,lr", start).hyperparameters, ["lr", "l2"]);
});

test("the command line names every setting", () => {
  assert.equal(
    command(start),
    "stackelberg tune --network narrow --steps 20 --outer 10 --batch 64 --seed 0 --method reverse --hyperparameters lr,momentum,l2",
  );
  assert.match(command(start, "cpu"), / --device cpu$/);
});
