// Pages for the tests, in one headless Chromium.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.mjs";

/** Longest wait for one thing on the page, in ms; a shared machine with a software GPU needs patience. */
export const PATIENCE = 60_000;

const root = fileURLToPath(new URL("../../", import.meta.url));
const shots = `${root}target/screenshots/`;

/** Where something of the shared data lies, if they are here. */
export const shared = (path) =>
  [process.env.STACKELBERG_SHARED, `${root}../shared`, `${root}../../shared`].filter(Boolean).map((place) => `${place}/${path}`).find(existsSync);

const browser = once(launch);

const server = once(async () => {
  // `cargo xtask test` names the served page; by hand, Vite serves it.
  if (process.env.PAGE_URL) return { url: process.env.PAGE_URL, close() {} };
  const { preview } = await import("vite");
  const vite = await preview({ preview: { host: "127.0.0.1", port: 0 }, logLevel: "warn" });
  return { url: vite.resolvedUrls.local[0], close: () => vite.close() };
});

// Registered here and not on first use, which would be within a test and end with it.
after(async () => {
  await (await browser()).close();
  await (await server()).close();
});

/**
 * Opens the page in a fresh profile and gives Playwright's `Page`.
 *
 * When test `t` ends the page is closed, and the test fails if the page or a worker of it wrote an error or a warning to the
 * console, threw, or asked for something that it did not get.
 *
 * `prepare(page)` runs before the page is loaded, to put a script, a route or a listener in its way. `expected` are
 * patterns of the errors that the test itself brings about.
 */
export async function openPage(t, { path = "", width = 1280, height = 800, scheme = "light", prepare, expected = [] } = {}) {
  const context = await (await browser()).newContext({ viewport: { width, height }, colorScheme: scheme });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const faults = watch(page);
  t.after(async () => {
    await context.close();
    const unexpected = faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)));
    assert.deepEqual(unexpected, [], "the page reported errors");
  });
  await prepare?.(page);
  await page.goto(new URL(path, (await server()).url).href);
  return page;
}

/** Puts a line before the worker's own script, where a page's init scripts do not reach. */
export const inWorker = (line) => (page) =>
  page.route(/worker-.*\.js/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${line}\n${await response.text()}` });
  });

/** Opens the page at a width and colour scheme and keeps what it looks like in target/screenshots. */
export async function screenshot(t, name, width, scheme, options = {}) {
  const page = await openPage(t, { ...options, width, scheme });
  await shoot(page, `${name}-${width}-${scheme}`);
  return page;
}

/** Keeps what the whole page looks like now as target/screenshots/NAME.png, and gives the picture. */
export async function shoot(page, name) {
  await mkdir(shots, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  return page.screenshot({ path: `${shots}${name}.png`, fullPage: true });
}

/** The list that fills with what goes wrong on a page. */
function watch(page) {
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => faults.push(`uncaught: ${error.stack ?? error}`));
  page.on("crash", () => faults.push("the page crashed"));
  page.on("requestfailed", (request) => faults.push(`request failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (response) => {
    if (response.status() >= 400) faults.push(`response ${response.status()}: ${response.url()}`);
  });
  return faults;
}

function once(make) {
  let made;
  return () => (made ??= make());
}
