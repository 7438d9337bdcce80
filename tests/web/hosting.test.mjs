// The built page where it may be served from: any static server, a path of one, the disk, an address without TLS; and what it
// says where one of its files is missing.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { openPage, PATIENCE } from "./browser.mjs";

const timeout = 3 * PATIENCE;
const dist = fileURLToPath(new URL("../../www/dist/", import.meta.url));

/** Serves a folder as `python3 -m http.server` does, and gives its address. */
async function python(t, folder) {
  const server = spawn("python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]);
  t.after(() => server.kill());
  const port = await new Promise((give, fail) => {
    server.on("error", fail);
    server.stdout.on("data", (text) => /port (\d+)/.test(text) && give(String(text).match(/port (\d+)/)[1]));
  });
  return `http://127.0.0.1:${port}/`;
}

async function folder(t) {
  const made = await mkdtemp(join(tmpdir(), "stackelberg-"));
  t.after(() => rm(made, { recursive: true }));
  return made;
}

const start = (page) => page.locator("section.bar").getByRole("button", { name: /^Tune/, disabled: false });

/** A short run, on the processor. */
async function runs(t, address) {
  const page = await openPage(t, { path: `${address}?engine=cpu#steps=2&budget=2&batch=16&data=subset` });
  await start(page).click();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
}

test("python's own server is enough", { timeout }, async (t) => {
  await runs(t, await python(t, dist));
});

test("a path of a server is enough, as project pages have", { timeout }, async (t) => {
  const root = await folder(t);
  await cp(dist, join(root, "someone", "studio"), { recursive: true });
  await runs(t, `${await python(t, root)}someone/studio/`);
});

test("with --base the addresses are absolute, and work under that path", { timeout }, async (t) => {
  const root = await folder(t);
  const { build } = await import("vite");
  await build({ base: "/studio/", logLevel: "error", build: { outDir: join(root, "studio"), emptyOutDir: true } });
  const address = await python(t, root);
  const index = await (await fetch(`${address}studio/`)).text();
  assert.match(index, /src="\/studio\/assets\//);
  await runs(t, `${address}studio/`);
});

test("from the disk there is one sentence, and no blank page", { timeout }, async (t) => {
  const page = await openPage(t, { path: pathToFileURL(join(dist, "index.html")).href, expected: [/CORS|ERR_FAILED|Not allowed|origin/] });
  await page.getByText(/was perhaps opened as a file from the disk/).waitFor();
});

test("over plain HTTP on a name of its own the page says why there is no GPU, and works", { timeout }, async (t) => {
  const { port } = new URL(await python(t, dist));
  const page = await openPage(t, { path: `http://studio.test:${port}/#steps=2&budget=2&batch=16&data=subset` });
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await page.getByText(/secure|https/i).first().waitFor();
  await start(page).click();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
});

test("whichever file does not come, a sentence says so or nothing is missed", { timeout: 2 * timeout }, async (t) => {
  const address = await python(t, dist);
  const files = (await readdir(join(dist, "assets"))).filter((name) => !/selfcheck|case|tensors/.test(name));
  const said = {
    "index-.*js": /was perhaps opened as a file/,
    "worker-.*js": /engine (stopped|could not be loaded)|could not be loaded/i,
    "stackelberg_bg-.*wasm": /engine could not be loaded/,
    "subset-.*bin": /did not arrive/,
    "rest-.*bin": /recordings of the other people did not arrive/i,
  };
  for (const [pattern, words] of Object.entries(said)) {
    const of = files.filter((name) => new RegExp(`^${pattern}$`).test(name));
    assert.ok(of.length > 0, `${pattern} is among ${files.join(", ")}`);
    const page = await openPage(t, {
      path: `${address}?engine=cpu`,
      expected: [/404|ERR_|Failed to load|MIME/],
      prepare: (page) => page.route(new RegExp(`/assets/${pattern}$`), (route) => route.fulfill({ status: 404, body: "" })),
    });
    await page.getByText(words).first().waitFor();
  }
  // What reads files comes when they do.
  const late = await openPage(t, {
    path: `${address}?engine=cpu`,
    expected: [/404|ERR_|Failed to load|MIME/],
    prepare: (page) => page.route(/\/assets\/clerk-.*\.js$/, (route) => route.fulfill({ status: 404, body: "" })),
  });
  await late.getByRole("button", { name: /^Tune/, disabled: false }).waitFor();
  await late.getByLabel("Open your recordings").setInputFiles({ name: "a.csv", mimeType: "text/csv", buffer: Buffer.from("a,b\n1,2\n") });
  await late.getByText(/part of the page that reads files could not be loaded/).first().waitFor();
  // Without its styles and fonts it is plain, and works.
  const page = await openPage(t, {
    path: `${address}?engine=cpu`,
    expected: [/404|ERR_|Failed to load|MIME/],
    prepare: (page) => page.route(/\.(css|woff2)$/, (route) => route.fulfill({ status: 404, body: "" })),
  });
  await start(page).waitFor();
});
