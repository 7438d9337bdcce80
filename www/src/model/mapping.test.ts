import assert from "node:assert/strict";
import { test } from "node:test";
import type { Seen } from "../../pkg/stackelberg.js";
import { listed, origins, positive, roleOf, withRole } from "./mapping.ts";

const columns = ["t", "ax", "ay", "what", "who"];
const reading = { time: "t", channels: ["ax", "ay"], label: "what", person: "column who" };

test("each column has one role", () => {
  assert.deepEqual(columns.map((name) => roleOf(reading, name)), ["time", "signal", "signal", "label", "person"]);
  assert.equal(roleOf({}, "t"), "unused");
});

test("a column gets another role, and loses the one that it had", () => {
  const signal = withRole(reading, columns, "t", "signal");
  assert.deepEqual([signal.time, signal.channels], ["none", ["t", "ax", "ay"]]);
  assert.deepEqual(withRole({ channels: ["ay", "unseen"] }, columns, "ax", "signal").channels, ["ax", "ay", "unseen"]);
  const label = withRole(reading, columns, "ay", "label");
  assert.deepEqual([label.label, label.channels, roleOf(label, "what")], ["column ay", ["ax"], "unused"]);
  assert.equal(withRole(reading, columns, "who", "unused").person, "none");
  assert.deepEqual(reading.channels, ["ax", "ay"], "what was there is left as it is");
});

test("labels and people stand in columns and in names, and the one at hand is chosen", () => {
  const seen = {
    columns: columns.map((name) => ({ name, examples: [] })),
    places: [{ origin: "folder", values: ["a", "b", "c", "d"] }, { origin: "file word 2", values: ["x", "y"] }],
  } as unknown as Seen;
  const all = origins(seen, "file word 2");
  assert.deepEqual(all.filter(({ chosen }) => chosen).map(({ label }) => label), ["Word 2 of the file name: x, y"]);
  assert.deepEqual(all.slice(0, 2).map(({ label }) => label), ["Nowhere", "Folder: a, b, c, …"]);
  assert.deepEqual(origins(seen, "folder 3")[1], { value: "folder 3", label: "Folder, 3 above the file", chosen: true });
  assert.equal(origins(seen, undefined)[0]!.chosen, true);
});

test("numbers and lists are read as people write them", () => {
  assert.deepEqual(["50", " 12,5 ", "0", "-1", "", "x"].map(positive), [50, 12.5, undefined, undefined, undefined, undefined]);
  assert.deepEqual(listed(" 0, none ,,"), ["0", "none"]);
});
