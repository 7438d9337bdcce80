import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, duration, moment, number, ofBudget, percent, points, several, tick } from "./format.ts";

test("numbers keep three digits and a true minus", () => {
  assert.deepEqual([0.0183456, 1.3, -0.25, 0, 4e-4, -1.5e-12].map((value) => number(value)), [
    "0.0183",
    "1.30",
    "−0.250",
    "0",
    "4.00·10⁻⁴",
    "−1.50·10⁻¹²",
  ]);
  assert.equal(number(Number.NaN), "—");
  assert.deepEqual([0.001, 0.0009999, 0.000999].map((value) => number(value)), ["0.00100", "0.00100", "9.99·10⁻⁴"]);
});

test("axis labels drop zeros that say nothing", () => {
  assert.deepEqual([0.5, 1, 100, 20_000, 0.002, 5e-4, 1e-6, -0.25].map(tick), ["0.5", "1", "100", "20000", "0.002", "5·10⁻⁴", "10⁻⁶", "−0.25"]);
});

test("shares, points, bytes and durations", () => {
  assert.equal(percent(0.8096), "81.0 %");
  assert.equal(points(-0.0123), "−1.2 points");
  assert.equal(points(0.471), "+47.1 points");
  assert.equal(bytes(2 ** 27), "128 MiB");
  assert.equal(bytes(1.5 * 2 ** 30), "1.5 GiB");
  assert.deepEqual([3.14, 31.4, 100, 3700, 7200].map(duration), ["3.1 s", "31 s", "1 min 40 s", "61 min 40 s", "2 h 0 min"]);
  assert.deepEqual([7199, 48 * 3600 - 31, 48 * 3600, 700 * 3600].map(duration), ["2 h 0 min", "47 h 59 min", "2 days", "29 days"]);
  assert.deepEqual([0.0009, 0.0994, 0.0997, 0.73, 0.9999].map(moment), ["0.90 ms", "99 ms", "0.10 s", "0.73 s", "1.0 s"]);
});

test("what was spent of a budget has a digit where it is no whole number", () => {
  assert.equal(ofBudget(3.6, 2), "3.6 trainings on a budget of 2");
  assert.deepEqual([3.6, 12.2 + 59.8, 0].map((spent) => ofBudget(spent, 72)), ["3.6 of 72 trainings", "72 of 72 trainings", "0 of 72 trainings"]);
});

test("one thing is not many", () => {
  assert.deepEqual([0, 1, 2].map((count) => several(count, "step")), ["0 steps", "1 step", "2 steps"]);
  assert.equal(several(2, "person", "people"), "2 people");
});
