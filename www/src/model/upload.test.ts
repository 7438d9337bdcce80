import assert from "node:assert/strict";
import { test } from "node:test";
import { gathered, refusal, unreadable } from "./upload.ts";

const chosen = (path: string, size = 1) => ({ path, file: { size } as File });

test("files of a likely size are read; all else is refused with what to do", () => {
  assert.equal(refusal([chosen("data.zip", 60e6)]), null);
  assert.equal(refusal([chosen("a.csv"), chosen("b.csv", 0)]), null);
  assert.match(refusal([])!, /Give tables, a folder or a zip/);
  assert.match(refusal([chosen("data.zip", 0)])!, /data\.zip is empty/);
  assert.match(refusal([chosen("data.zip", 3 * 2 ** 30)])!, /data\.zip has 3 GiB/);
  assert.match(refusal([chosen("a.csv", 2 ** 31), chosen("b.csv")])!, /2 files have 2 GiB/);
  assert.match(refusal(Array.from({ length: 10_001 }, (_, at) => chosen(`${at}.csv`)))!, /10001 files/);
});

test("what was given is named as one would, with paths as the command line has them", () => {
  const names = (paths: string[]) => {
    const { name, files } = gathered(paths.map((path) => chosen(path)));
    return [name, ...files.map(({ path }) => path)];
  };
  assert.deepEqual(names(["a.csv"]), ["a.csv", "a.csv"]);
  assert.deepEqual(names(["a.csv", "b.csv", "c.csv"]), ["a.csv and 2 more", "a.csv", "b.csv", "c.csv"]);
  assert.deepEqual(names(["watch/walk/1.csv", "watch/sit/1.csv", "watch/.DS_Store"]), ["watch", "walk/1.csv", "sit/1.csv"]);
  assert.deepEqual(names(["one/1.csv", "two/1.csv"]), ["one/1.csv and 1 more", "one/1.csv", "two/1.csv"]);
  assert.deepEqual(names([]), [""]);
});

test("a file that the browser cannot read is named", () => {
  assert.match(unreadable("x", new Error("not found")), /^x cannot be read \(not found\)/);
});
