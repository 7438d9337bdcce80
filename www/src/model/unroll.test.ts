import assert from "node:assert/strict";
import { test } from "node:test";
import { SvgPen } from "../drawing/pen.ts";
import { draw, stepAt } from "../drawing/unroll.ts";
import { defaults } from "./settings.ts";
import { beginning, summary, unrolled, unrollTable, where, type Part } from "./unroll.ts";

// Three steps with every state kept.
const plan: Part = { kind: "unroll", part: "plan", steps: 3, places: 4, bytes: 4096, actions: 7, turns: [0, 0, 3, 3, 4, 3, 7, 0], kept: [0, 0, 7, 1, 1, 6] };
const parts: Part[] = [
  plan,
  { kind: "unroll", part: "progress", done: 2 },
  { kind: "unroll", part: "turned", loss: 0.5, losses: [2, 1, 0.75] },
  { kind: "unroll", part: "back", from: 1, slopes: [-2, 4] },
  { kind: "unroll", part: "back", from: 0, slopes: [-1] },
  { kind: "unroll", part: "done", seconds: 0.25 },
];
const after = (count: number) => parts.slice(0, count).reduce(unrolled, beginning(defaults(null)));

test("the parts of a hypergradient come together, the last step first", () => {
  assert.deepEqual(after(1).slopes, [null, null, null]);
  assert.deepEqual(after(4).slopes, [null, -2, 4]);
  assert.deepEqual(after(6).slopes, [-1, -2, 4]);
  assert.equal(after(6).done, 7);
  assert.deepEqual(unrollTable(after(6)).rows, [[1, 2, -1], [2, 1, -2], [3, 0.75, 4]]);
});

test("the way goes there and back over the actions", () => {
  const { plan } = after(1);
  const at = [0, 2, 3, 4, 6, 7].map((done) => where(plan!, done).step);
  assert.deepEqual(at, [0, 2, 3, 3, 1, 0]);
  assert.deepEqual([2, 6].map((done) => where(plan!, done).back), [false, true]);
});

test("it is said what is kept, and where the rate acts most", () => {
  assert.match(summary(after(1)), /^Every state is kept \(4 kB|^Every state is kept/);
  assert.match(summary(after(6)), /in 2 of 3 steps; it acts most in step 3, with dE\/dη 4\.00/);
  const few = unrolled(beginning(defaults(null)), { ...plan, actions: 9 } as Part);
  assert.match(summary(few), /so 2 steps of 3 are run again/);
  assert.equal(unrolled(after(4), { kind: "unroll", part: "failed", message: undefined }).problem, "It gave way to a run.");
});

test("every bar stands under its step, and nothing is drawn outside", () => {
  const pen = new SvgPen();
  draw(pen, after(6), 480, { ink: "#000", muted: "#111", line: "#222", surface: "#fff", leader: "#00f", follower: "#f80" });
  const svg = pen.svg(480, 456, "#fff");
  const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="#00f"/g)].map((all) => all.slice(1).map(Number));
  assert.equal(bars.length, 3);
  for (const [at, [x, y, width, height]] of bars.entries()) {
    assert.equal(stepAt(x! + width! / 2, 480, 3), at);
    assert.ok(y! >= 158 && y! + height! <= 258);
  }
  // Where a larger rate would raise the loss, the bar is above the line.
  assert.ok(bars[2]![1]! < 208 && bars[0]![1]! === 208);
  assert.equal(stepAt(10, 480, 3), null);
});
