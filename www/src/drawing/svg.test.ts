import assert from "node:assert/strict";
import { test } from "node:test";
import { chartSvg, type Line, type Paint } from "./chart.ts";
import { confusionSvg } from "./confusion.ts";
import { SvgPen } from "./pen.ts";
import { traceSvg } from "./trace.ts";

const paint = new Proxy({}, { get: (_, name) => `#${String(name)}` }) as Paint & Parameters<typeof confusionSvg>[3];
const numbers = (svg: string) => svg.match(/(?<=[ML"])-?[\d.]+(?= |")/g)!.map(Number);

/** Everything that is opened is closed, and nothing is drawn outside or at no place at all. */
function sound(svg: string) {
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  assert.ok(!/NaN|undefined|Infinity/.test(svg), svg);
  const opened = svg.match(/<(svg|text)\b/g)!.length;
  assert.equal(svg.match(/<\/(svg|text)>/g)!.length, opened);
  const [width, height] = [/ width="(\d+)"/, / height="(\d+)"/].map((pattern) => Number(pattern.exec(svg)![1])) as [number, number];
  assert.ok(numbers(svg).every((number) => number >= 0 && number <= Math.max(width, height)));
}

test("a pen escapes what is no markup", () => {
  const pen = new SvgPen();
  pen.font = '12px "A", serif';
  pen.fillText("a < b & c", 1.23456, 2);
  assert.match(pen.svg(10, 10, "#fff"), /x="1.23" y="2".*&quot;A&quot;.*>a &lt; b &amp; c<\/text>/);
});

test("a chart draws its lines in order, skips what is missing, and names them", () => {
  const lines: Line[] = [
    { name: "kept", values: [1, null, 0.1], colour: "leader", marks: "filled" },
    { name: "taken back", values: [null, 2, null], colour: "bad", marks: "hollow", only: true },
  ];
  const svg = chartSvg("Outer loss", [1, 2, 3], lines, { xLabel: "outer iteration", yLabel: "loss (log)", log: true }, paint);
  sound(svg);
  const paths = svg.match(/<path d="M[^"]*L[^"]*" fill="none" stroke="#leader"/g)!;
  assert.equal(paths.length, 2, "the line and its sample in the legend");
  assert.equal(paths[0]!.match(/L/g)!.length, 1, "two points, as the middle one is missing");
  for (const text of ["Outer loss", "outer iteration", "loss (log)", "kept", "taken back"]) assert.ok(svg.includes(`>${text}</text>`));
});

test("a chart's steps hold each value until the next, and ∇ marks are drawn beside dots", () => {
  const lines: Line[] = [
    { name: "", values: [2, 1], colour: "leader", stepped: true },
    { name: "", values: [2, null], colour: "good", marks: "filled", shape: "nabla", only: true },
    { name: "", values: [null, 3], colour: "muted", marks: "hollow", only: true },
  ];
  const svg = chartSvg("Outer loss", [3.6, 4.6], lines, { xLabel: "trainings spent", yLabel: "loss", log: false }, paint);
  sound(svg);
  const path = svg.match(/<path d="([^"]*)" fill="none" stroke="#leader"/)![1]!;
  const [start, corner, end] = path.slice(1).split("L").map((point) => point.split(" ").map(Number)) as [number[], number[], number[]];
  assert.deepEqual(corner, [end[0], start[1]]);
  assert.match(svg, /<path d="M[^"A-Z]*(L[^"A-Z]*){4}" fill="#good"/);
  assert.match(svg, /<path d="M[^"]*a3\.5[^"]*" fill="#surface"/);
});

test("a chart without values, or with one, is still a picture", () => {
  const axes = { xLabel: "x", yLabel: "y", log: true };
  sound(chartSvg("none", [], [{ name: "", values: [], colour: "leader" }], axes, paint));
  sound(chartSvg("one", [1], [{ name: "", values: [0.5], colour: "leader", marks: "filled" }], axes, paint));
});

test("axes stay where they are while values come within what they hold at least", () => {
  const line = (values: number[]): Line[] => [{ name: "", values, colour: "leader", only: true }];
  const place = (xs: number[], values: number[]) => {
    const svg = chartSvg("held", xs, line(values), { xLabel: "x", yLabel: "y", log: true, least: { x: [0, 72], y: [0.1, 2] } }, paint);
    sound(svg);
    return svg.match(/>(72|60|0\.1|0\.2|2)<\/text>/g);
  };
  assert.deepEqual(place([3.6], [0.6]), place([3.6, 70], [0.6, 0.11]));
  assert.notDeepEqual(place([3.6], [0.6]), place([3.6, 70], [0.6, 0.01]), "what lies beyond is shown all the same");
});

test("a loss of 0 lies below all else where the axis is logarithmic", () => {
  const svg = chartSvg("zero", [1, 2], [{ name: "", values: [0.5, 0], colour: "leader" }], { xLabel: "x", yLabel: "y", log: true }, paint);
  sound(svg);
  const [first, last] = svg.match(/<path d="M([^"]*)" fill="none" stroke="#leader"/)![1]!.split("L").map((point) => Number(point.split(" ")[1]));
  assert.ok(last! > first!);
});

test("a confusion matrix shows every count", () => {
  const svg = confusionSvg("Tuned", ["sit", "walk"], [5, 1, 0, 0], paint);
  sound(svg);
  assert.deepEqual([...svg.matchAll(/middle"[^>]*>(\d+)<\/text>/g)].map(([, count]) => Number(count)), [1, 5, 1, 2, 0, 0]);
});

test("a recording is drawn to its end", () => {
  const channels = ["x", "y"].map((axis) => ({ name: `body_acc_${axis}`, unit: "g" }));
  const samples = Array.from({ length: 256 }, (_, at) => Math.sin(at / 9));
  const svg = traceSvg({ index: 0, person: 1, activity: "walking", rate: 50, channels, samples }, paint);
  sound(svg);
  assert.ok(svg.includes("Body acceleration, g"));
});
