import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineState } from "../../pkg/stackelberg.js";
import { chosen, fromSearch, pace, preparing, toSearch, unknown } from "./engine.ts";

const state = (engine: "webgpu" | "cpu", more: Partial<EngineState> = {}): EngineState => ({
  engine,
  name: "",
  software: false,
  problem: undefined,
  shaders: undefined,
  step: undefined,
  run: undefined,
  advice: undefined,
  ...more,
});
const empty = { engines: [], faster: undefined };
const both = { ...empty, engines: [state("webgpu"), state("cpu")] };

test("an address asks for an engine that exists, and keeps what else it says", () => {
  assert.equal(fromSearch("?engine=cpu"), "cpu");
  assert.equal(fromSearch("?engine=abacus"), null);
  assert.equal(fromSearch(""), null);
  assert.match(unknown("?engine=abacus").join(), /“abacus” is not webgpu or cpu/);
  assert.deepEqual([unknown(""), unknown("?engine=cpu"), unknown("?other=1")], [[], [], []]);
  assert.equal(toSearch("?a=1&engine=cpu", "webgpu"), "?a=1&engine=webgpu");
  assert.equal(toSearch("?engine=cpu", null), "");
});

test("the faster engine is taken unless another is wanted, and never one that cannot be used", () => {
  assert.equal(chosen(empty, null), undefined);
  assert.equal(chosen(both, null)?.engine, "webgpu");
  assert.equal(chosen({ ...both, faster: "cpu" }, null)?.engine, "cpu");
  assert.equal(chosen({ ...both, faster: "cpu" }, "webgpu")?.engine, "webgpu");
  const blind = { ...empty, engines: [state("webgpu", { problem: "none" }), state("cpu")] };
  assert.equal(chosen(blind, null)?.engine, "cpu");
  assert.equal(chosen(blind, "webgpu"), undefined, "what the address asks for is not replaced in silence");
});

test("shaders are counted while some are missing", () => {
  assert.equal(preparing(state("webgpu", { shaders: { done: 37, total: 42 } })), "Preparing shaders: 37 of 42");
  assert.equal(preparing(state("webgpu", { shaders: { done: 42, total: 42 } })), "");
  assert.equal(preparing(state("cpu")), "");
});

test("a pace has two digits and a unit that suits it", () => {
  assert.deepEqual([0.00412, 0.0731, 0.73].map(pace), ["4.1 ms a step", "73 ms a step", "0.73 s a step"]);
});
