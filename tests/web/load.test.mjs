// The page as it is loaded: nothing here depends on what it contains.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage, PATIENCE, screenshot } from "./browser.mjs";

const timeout = 2 * PATIENCE;

/** The engine that is ready at once. */
const path = "?engine=cpu";

test("the page loads without an error, under its name", { timeout }, async (t) => {
  const page = await openPage(t, { path });
  assert.equal(await page.title(), "Stackelberg studio");
  assert.ok((await page.locator("body").innerText()).trim().length > 0, "the page shows text");
});

test("the browser has WebGPU on the page's address", { timeout }, async (t) => {
  const page = await openPage(t, { path });
  assert.ok(await page.evaluate(async () => (await navigator.gpu.requestAdapter()) !== null));
});

for (const width of [1280, 390, 360, 320]) {
  for (const scheme of ["light", "dark"]) {
    test(`the page fits ${width} px, ${scheme}`, { timeout }, async (t) => {
      const page = await screenshot(t, "load", width, scheme, { path });
      const needed = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(needed <= width, `${needed} px are needed`);
    });
  }
}

test("a broken page would be noticed", { timeout }, async (t) => {
  const files = {
    "broken.html": `<script>
      console.error("first");
      setTimeout(() => { throw new Error("second"); });
      const worker = new Worker("broken.js");
      worker.onerror = () => fetch("absent").then(() => { document.title = "done"; });
    </script>`,
    "broken.js": `console.error("third"); throw new Error("fourth");`,
  };
  const prepare = (page) =>
    page.route(/broken|absent/, (route) => {
      const body = files[new URL(route.request().url()).pathname.slice(1)];
      const contentType = body?.startsWith("<") ? "text/html" : "text/javascript";
      return route.fulfill(body ? { body, contentType } : { status: 404 });
    });
  // Stands for the test of such a page: it hands over the check that would end it.
  let end;
  const page = await openPage({ after: (check) => { end = check; } }, { path: "broken.html", prepare });
  await page.waitForFunction(() => document.title === "done");
  // What a worker throws comes by a way of its own, on a busy machine after the rest.
  await page.waitForTimeout(3000);
  await assert.rejects(end(), ({ actual }) => {
    for (const word of ["first", "second", "third", "fourth", "response 404"]) {
      assert.ok(actual.some((fault) => fault.includes(word)), `${word} is not among ${actual.join("\n")}`);
    }
    return true;
  });
});
