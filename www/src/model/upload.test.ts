import assert from "node:assert/strict";
import { test } from "node:test";
import { refusal, unreadable } from "./upload.ts";

const file = (size: number, name = "data.zip") => ({ name, size });

test("one file of a likely size is read; all else is refused with what to do", () => {
  assert.equal(refusal([file(60e6)]), null);
  assert.match(refusal([])!, /Drop a table, or a zip/);
  assert.match(refusal([file(1), file(2)])!, /2 files were given, and none was opened/);
  assert.match(refusal([file(0)])!, /data\.zip is empty, or a folder/);
  assert.match(refusal([file(3 * 2 ** 30)])!, /data\.zip has 3 GiB/);
});

test("a file that the browser cannot read is named", () => {
  assert.match(unreadable("x", new Error("not found")), /^x cannot be read \(not found\)/);
});
