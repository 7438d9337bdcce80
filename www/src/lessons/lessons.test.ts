import assert from "node:assert/strict";
import { test } from "node:test";
import { begun, elsewhere, fromHash, toHash } from "./address.ts";
import { lessons } from "./all.ts";
import { pictureSvg } from "../drawing/picture.ts";
import type { Paint } from "../drawing/chart.ts";

const none = { numbers: {}, curves: {} };
const initial = (at: number) => Object.fromEntries(lessons[at]!.controls.map(({ name, value }) => [name, value]));
const paint = new Proxy({}, { get: (_, name) => `#${String(name)}` }) as Paint;

test("an address holds a lesson with its controls, and what a teacher made of it", () => {
  const hash = "#lesson=hypergradient&lambda=0.5&power=-2&steps=20&rate=0.1&hide=rate,steps&projector=true&factor=2";
  const address = fromHash(hash, lessons);
  assert.equal(address.lesson?.name, "hypergradient");
  assert.deepEqual(address.values, { lambda: 0.5, power: -2, steps: 20, rate: 0.1 });
  assert.equal(toHash(address), hash);
});

test("what is missing in an address, beyond its bounds or nonsense is as the lesson has it", () => {
  const { values, hidden, projector, factor } = fromHash("#lesson=hypergradient&lambda=99&steps=many&hide=everything&factor=x", lessons);
  assert.deepEqual(values, { ...initial(1), lambda: 1.5 });
  assert.deepEqual([hidden, projector, factor], [[], false, 1]);
  assert.equal(fromHash("#lesson=cookery", lessons).lesson, null);
});

test("a control stands at one of its steps, whatever an address says", () => {
  const { values } = fromHash("#lesson=hypergradient&lambda=0.52&power=-2.1&steps=20.6&rate=0.113", lessons);
  assert.deepEqual(values, { lambda: 0.5, power: -2, steps: 21, rate: 0.11 });
  assert.equal(fromHash("#lesson=overfitting&windows=14", lessons).values.windows, 12);
  assert.equal(fromHash("#lesson=cutting-planes&follows=0.4", lessons).values.follows, 0);
  for (const lesson of lessons) {
    const begin = fromHash(`#lesson=${lesson.name}`, lessons);
    assert.deepEqual(fromHash(toHash(begin), lessons), begin, "where it begins is a step");
  }
});

test("what a teacher wants is wanted in the other lessons and on their list, too", () => {
  const address = fromHash("#lesson=hypergradient&lambda=0.5&hide=rate&projector=true&factor=2", lessons);
  assert.equal(toHash(elsewhere(address, null)), "#lesson=all&projector=true&factor=2");
  assert.deepEqual(fromHash("#lesson=all&projector=true&factor=2", lessons), elsewhere(address, null));
  const { lesson, values, hidden, projector, factor } = elsewhere(address, lessons[0]!);
  assert.deepEqual([lesson, values, hidden, projector, factor], [lessons[0], initial(0), [], true, 2]);
});

test("a lesson begins again with its hidden controls where they are", () => {
  const address = fromHash("#lesson=hypergradient&lambda=0.5&rate=0.15&steps=7&hide=rate,steps", lessons);
  assert.deepEqual(begun(address).values, { ...initial(1), rate: 0.15, steps: 7 });
  assert.deepEqual(begun({ ...address, hidden: [] }).values, initial(1));
});

for (const [at, lesson] of lessons.entries())
  test(`${lesson.name} is short, has three questions, and shows itself before anything is computed`, () => {
    const words = lesson.words.join(" ").split(/\s+/).length;
    assert.ok(words <= 150, `${words} words`);
    assert.equal(lesson.controls.filter(({ plays }) => plays).length, 1);
    for (const { name, min, max, value } of lesson.controls) assert.ok(min <= value && value <= max, name);
    const least = Object.fromEntries(lesson.controls.map(({ name, min }) => [name, min]));
    for (const values of [initial(at), least]) {
      const labels = lesson.readings(values).map(({ label }) => label);
      assert.ok(labels.length > 0 && new Set(labels).size === labels.length);
    }
    assert.ok(lesson.questions.length === 3 && lesson.formulas.length > 0);
    for (const { formula } of lesson.formulas) {
      const tags = [...formula.matchAll(/<(\/?)(\w+)[^>]*>/g)];
      const open: string[] = [];
      for (const [, closes, name] of tags) {
        if (closes) assert.equal(open.pop(), name);
        else open.push(name!);
      }
      assert.deepEqual(open, []);
    }
    const svg = pictureSvg(lesson.panels(none, initial(at)), 900, 13, paint);
    assert.ok(!/NaN|undefined|Infinity/.test(svg), svg);
  });

test("a picture cuts lines off at its axes and leaves out what is no number", () => {
  const panel = {
    title: "t", xLabel: "x", yLabel: "y", x: [0, 1] as [number, number], y: [0, 1] as [number, number],
    strokes: [{ points: { x: [0, 0.5, 1], y: [0.5, 9, Number.NaN] }, colour: "leader" as const }],
  };
  const path = /<path d="(M[^"]*)" fill="none" stroke="#leader"/.exec(pictureSvg([panel], 400, 13, paint))![1]!;
  const [start, end] = [...path.matchAll(/[ML](\S+) (\S+?)(?=[ML]|$)/g)].map(([, x, y]) => [Number(x), Number(y)]);
  assert.equal(path.match(/[ML]/g)!.length, 2);
  const top = 13 * 3 + 2.7 * 13;
  assert.ok(Math.abs(end![1]! - top) < 1 && end![0]! < (start![0]! + 400) / 2);
});
