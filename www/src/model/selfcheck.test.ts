import assert from "node:assert/strict";
import { test } from "node:test";
import { begun, checkedOn, verdict, type SelfCheckNews } from "./selfcheck.ts";

const after = (...news: SelfCheckNews[]) => news.reduce(checkedOn, begun);
const passed: SelfCheckNews = { is: "checked", engine: "webgpu", cases: 14, outputs: 40, failed: [] };

test("a self-check says in one sentence what passed", () => {
  assert.equal(verdict(after({ is: "running", done: 3, total: 28 }, passed)), "");
  assert.equal(
    verdict(after(passed, { ...passed, engine: "cpu", failed: ["op_softmax"] }, { is: "over" })),
    "All 14 reference cases (40 results) passed on the GPU; 1 of 14 reference cases failed on the processor (op_softmax), held against results in double precision.",
  );
  assert.match(verdict(after({ is: "broke", message: "the server answered 404" })), /could not be made: the server answered 404/);
});
