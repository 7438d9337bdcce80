import assert from "node:assert/strict";
import { test } from "node:test";
import { advice, unsupported } from "./browser.ts";

const agents = {
  chrome: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
  firefox: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
  safari: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
  iphone: "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0 Mobile/15E148 Safari/604.1",
};

test("each browser gets its own way to WebGPU", () => {
  const first = (agent: string) => advice(agent, true, false).steps.join(" ");
  assert.match(first(agents.chrome), /chrome:\/\/flags/);
  assert.match(first(agents.firefox), /about:config/);
  assert.match(first(agents.safari), /Safari 26/);
  assert.match(first(agents.iphone), /iOS/);
  assert.ok(first("something else").length > 0);
});

test("an insecure address is named before the browser is blamed", () => {
  assert.match(advice(agents.chrome, false, false).missing, /not secure/);
});

test("a browser with the interface but no adapter is not told to update", () => {
  const { missing, steps } = advice(agents.chrome, true, true);
  assert.match(missing, /no graphics adapter/);
  assert.ok(steps.every((step) => !/Update/.test(step)));
});

test("WebAssembly without SIMD is noticed before the module is loaded, and only then", (t) => {
  assert.equal(unsupported(), null);
  t.mock.method(WebAssembly, "validate", () => false);
  assert.match(unsupported()!, /no SIMD.*Safari 16\.4/);
});
