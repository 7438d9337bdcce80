import assert from "node:assert/strict";
import { test } from "node:test";
import { paths } from "./paths.ts";
import { defaults } from "./settings.ts";
import { classTable, confusionTable, csv, fileName, innerTable, iterationsTable, outerTable, pathTable, toldTable, traceTable } from "./table.ts";

const outer = [1, 2].map((iteration) => ({
  iteration,
  spent: 2.6 + iteration,
  loss: iteration === 1 ? 1.5 : undefined,
  selection: undefined as number | undefined,
  differentiated: iteration === 1,
  pastEdge: false,
  roughness: undefined,
  foretold: undefined,
  accepted: iteration === 1,
  seconds: 0.25,
  hyperparameters: [
    { name: "l2.conv1", group: "l2" as const, value: 1e-7, hypergradient: -0.5 },
    { name: "l2.conv2", group: "l2" as const, value: 2, hypergradient: undefined },
  ],
}));

test("fields with commas, quotes and line ends are quoted, and what is missing is empty", () => {
  assert.equal(
    csv({ columns: ["a,b", 'say "c"', "d"], rows: [[null, Number.NaN, "e\nf"], [1e-7, undefined, 0]] }),
    '"a,b","say ""c""",d\r\n,,"e\nf"\r\n1e-7,,0\r\n',
  );
});

test("the outer loss says what was spent and where a hypergradient was taken, and leaves a divergence empty", () => {
  const [first, second] = outer;
  const third = { ...first!, iteration: 3, spent: 8.2, loss: 2, pastEdge: true };
  const [head, ...rows] = csv(outerTable([first!, second!, third], "nats")).trimEnd().split("\r\n");
  assert.equal(head, "outer iteration,trainings spent,validation loss (nats),lowest so far (nats),hypergradient");
  assert.deepEqual(rows, ["1,3.6,1.5,1.5,taken", "2,4.6,,1.5,not taken", "3,8.2,2,1.5,past the edge of stability"]);
});

test("inner losses are a column an outer iteration, also where one ended early", () => {
  const { columns, rows } = innerTable([[3, 2], [4]], 2, "nats");
  assert.equal(columns.length, 3);
  assert.deepEqual(rows, [[1, 3, 4], [2, 2, undefined]]);
});

test("paths keep the full digits of every hyperparameter", () => {
  const [l2] = paths(outer);
  assert.deepEqual(pathTable(l2!, outer), { columns: ["outer iteration", "trainings spent", "conv1", "conv2"], rows: [[1, 3.6, 1e-7, 2], [2, 4.6, 1e-7, 2]] });
});

test("a row of all iterations is as long as the header", () => {
  const { columns, rows } = iterationsTable(outer, "nats");
  assert.deepEqual(rows.map((row) => row.length), [columns.length, columns.length]);
  assert.deepEqual(rows[0], [1, 3.6, "taken", 1.5, undefined, "kept", 1e-7, 2, -0.5, undefined, 0.25]);
  const chosen = iterationsTable(outer.map((one) => ({ ...one, selection: 0.7 })), "nats");
  assert.deepEqual([chosen.columns[4], chosen.rows[0]![4], chosen.rows[0]!.length], ["loss of the people who choose (nats)", 0.7, chosen.columns.length]);
});

test("a confusion matrix and a recording go row by row", () => {
  const score = { which: "after" as const, loss: 1, accuracy: 1, macroF1: 1, f1: [0.8, 0.9], precision: [5 / 7, 7 / 8], recall: [5 / 6, 7 / 9], confusion: [5, 1, 2, 7] };
  assert.deepEqual(classTable(["sit", "walk"], score, score).rows, [["sit", 6, 5 / 7, 5 / 6, 0.8, 0.8], ["walk", 9, 7 / 8, 7 / 9, 0.9, 0.9]]);
  assert.deepEqual(confusionTable(["sit", "walk"], score).rows, [["sit", 5, 1], ["walk", 2, 7]]);
  const channels = [{ name: "body_acc_x", unit: "g" }, { name: "body_gyro_x", unit: "rad/s" }];
  const table = traceTable({ index: 0, person: 1, activity: "sitting", rate: 50, channels, samples: [1, 2, 3, 4] });
  assert.deepEqual(table, { columns: ["time (s)", "body_acc_x (g)", "body_gyro_x (rad/s)"], rows: [[0, 1, 2], [0.02, 3, 4]] });
});

test("file names say what is in them and of which run", () => {
  const run = { ...defaults(null), steps: 20, seed: 7 };
  assert.equal(fileName("Outer loss", "csv", run), "stackelberg-outer-loss-narrow-T20-seed7.csv");
  assert.equal(fileName("Recording of person 3: sitting", "svg"), "stackelberg-recording-of-person-3-sitting.svg");
});

test("what a lesson told has its numbers beside its curves", () => {
  assert.equal(csv(toldTable({ curves: { path: { x: [0, 1], y: [2, 3] } }, numbers: { slope: 0.5 } })), "name,x,y\r\npath,0,2\r\npath,1,3\r\nslope,,0.5\r\n");
});
