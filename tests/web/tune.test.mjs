// The page with its real engines: the browser's software GPU, and the processor.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inWorker, openPage, PATIENCE, shoot } from "./browser.mjs";

const timeout = 5 * PATIENCE;

/**
 * Opens the page on an engine, with the built-in subset only, so that scoring takes seconds; the rest of the data never
 * arrives.
 */
async function open(t, engine, hash = "", { prepare, ready = true, expected } = {}) {
  const page = await openPage(t, {
    path: `?engine=${engine}${hash}`,
    expected,
    async prepare(page) {
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.route(/rest.*\.bin/, () => {});
      await prepare?.(page);
    },
  });
  page.setDefaultTimeout(timeout);
  if (ready) await live(page).waitFor();
  return page;
}

/** The start, once engine and defaults are settled. */
const live = (page) => page.getByRole("button", { name: /^Tune/, disabled: false });

const start = (page) => page.getByRole("button", { name: /^Tune/ }).click();
const status = (page) => page.locator("section.bar .status").innerText();

/** Waits until the outer loss of iteration `count` is drawn. */
const iterations = (page, count) =>
  page.locator("tbody tr", { has: page.getByText("kept", { exact: true }) }).nth(count - 1).waitFor({ state: "attached" });

async function saved(page, file) {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: `Download ${file}` }).click();
  return readFile(await (await download).path());
}

/** Keeps the devices that a worker opens, to lose them, and a clock that can be put forward. */
const losing = `{
  const request = GPUAdapter.prototype.requestDevice;
  self.devices = [];
  GPUAdapter.prototype.requestDevice = async function (...given) {
    self.devices.push(await request.apply(this, given));
    return self.devices.at(-1);
  };
  const now = performance.now.bind(performance);
  self.later = 0;
  performance.now = () => now() + self.later;
}`;

/** Loses the device as a driver's reset would. */
const lose = (page) => page.workers()[0].evaluate(() => self.devices.at(-1).destroy());
const devices = (page) => page.workers()[0].evaluate(() => self.devices.length);

/** Counts the pipelines that a worker makes, and its dispatches of no workgroup, of which browsers warn. */
const counting = `{
  const dispatch = globalThis.GPUComputePassEncoder?.prototype.dispatchWorkgroups;
  self.empty = 0;
  if (dispatch) GPUComputePassEncoder.prototype.dispatchWorkgroups = function (x, y = 1, z = 1) {
    if (x * y * z === 0) self.empty += 1;
    return dispatch.call(this, x, y, z);
  };
  const make = globalThis.GPUDevice?.prototype.createComputePipeline;
  self.pipelines = 0;
  if (make) GPUDevice.prototype.createComputePipeline = function (...given) {
    self.pipelines += 1;
    return make.apply(this, given);
  };
}`;

for (const [engine, recorded] of Object.entries({ webgpu: "gpu", cpu: "cpu" })) {
  test(`from load to tuned result (${engine}), with no numerical work on the page's own thread`, { timeout }, async (t) => {
    const opened = performance.now();
    const page = await open(t, engine, "#steps=4&budget=5&seed=3", { prepare: inWorker(counting) });
    await start(page);
    await iterations(page, 1);
    t.diagnostic(`load to first outer iteration: ${((performance.now() - opened) / 1000).toFixed(1)} s`);
    await page.getByRole("heading", { name: /^Result/ }).waitFor();

    const result = JSON.parse(await saved(page, "result.json"));
    assert.equal(result.engine, recorded);
    assert.ok(result.dispatches > 0);
    assert.equal(result.configuration.device, engine === "cpu" ? "cpu" : "auto");
    assert.equal((await page.workers()[0].evaluate(() => self.pipelines)) > 0, engine === "webgpu", "no other engine ran");
    assert.equal(result.data.subset, true);
    assert.equal(result.configuration.data, "subset");
    assert.equal(result.iterations, 2);
    assert.equal(result.configuration.seed, 3);
    const model = await saved(page, "model.safetensors");
    const header = JSON.parse(model.subarray(8, 8 + Number(model.readBigUInt64LE())).toString());
    assert.deepEqual(header["conv1.kernel"].shape, [3, 9, 8]);
    const shown = await page.locator("table:not([aria-label^='Test accuracy'])", { hasText: "Tuned" }).locator("tbody td").allTextContents();
    const windows = result.end.test_classes.confusion.flat().map(String);
    assert.deepEqual(shown.slice(0, 36), windows);

    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    assert.ok(loaded.every((name) => !name.endsWith(".wasm")), "wasm belongs to the worker");
    await shoot(page, `tuned-${engine}-1280-light`);
  });
}

for (const [name, line, page, said] of [
  ["no WebGPU", "delete WorkerNavigator.prototype.gpu;", () => delete Navigator.prototype.gpu, "does not offer WebGPU"],
  ["no adapter", "GPU.prototype.requestAdapter = async () => null;", () => {}, "found no graphics adapter"],
])
  test(`with ${name} the page says so, and works on the processor`, { timeout }, async (t) => {
    const prepare = async (opened) => {
      await opened.addInitScript(page);
      await inWorker(line)(opened);
    };
    const opened = await openPage(t, { path: "#steps=4&budget=5", prepare });
    opened.setDefaultTimeout(timeout);
    await opened.getByText(said).waitFor();
    await opened.getByText("16 people").waitFor();
    await opened.getByText(/measured: .* a step/).waitFor();
    await start(opened);
    await opened.getByRole("heading", { name: /^Result/ }).waitFor();
    assert.equal(JSON.parse(await saved(opened, "result.json")).engine, "cpu");
  });

test("without SIMD the page says so before it loads the module", { timeout }, async (t) => {
  const page = await openPage(t, { path: "?engine=cpu", prepare: inWorker("WebAssembly.validate = () => false;") });
  await page.locator("section.bar").getByText("has no SIMD").waitFor();
  assert.ok(await page.getByRole("button", { name: /^Tune/ }).isDisabled());
});

test("as a visitor finds it: the engine is settled before the start, and the run is foretold to take at most 40 s, or is the smallest there is", { timeout }, async (t) => {
  const page = await openPage(t);
  page.setDefaultTimeout(timeout);
  const radio = (name) => page.getByRole("radio", { name });
  const measured = async (name) => {
    const text = await page.locator("label", { has: radio(name) }).getByText(/measured: /).innerText();
    t.diagnostic(`${name}: ${text}`);
    const [, step, unit] = text.match(/measured: ([\d.]+) (ms|s) a step/);
    return step * (unit === "ms" ? 1e-3 : 1);
  };
  const opened = performance.now();
  const since = () => `${((performance.now() - opened) / 1000).toFixed(1)} s`;
  await measured("Processor");
  t.diagnostic(`load to the processor's measurement: ${since()}`);
  await live(page).waitFor();
  t.diagnostic(`load to the start: ${since()}`);
  await page.getByText("16 people").waitFor();
  await live(page).waitFor();
  // What plays a GPU is neither compiled for nor timed, as it would not be taken.
  assert.ok(await radio("Processor").isChecked());
  assert.equal(await page.getByText(/Preparing shaders/).count(), 0);
  await page.locator("label", { has: radio("GPU") }).getByText("not measured", { exact: true }).waitFor();
  const [foretold] = (await status(page)).split("\n");
  t.diagnostic(foretold);
  const [, time, unit] = foretold.match(/About (\d[\d.]*) (s|min)\b/) ?? [];
  const [steps, budget] = await Promise.all(["Training steps", "Budget"].map((label) => page.getByLabel(label).inputValue().then(Number)));
  assert.ok((unit === "s" && time <= 40) || (steps === 20 && budget === 18), foretold);
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  t.diagnostic(`load to the result: ${since()}; ${(await status(page)).replace(/\n+/g, "; ")}`);
  const result = JSON.parse(await saved(page, "result.json"));
  assert.equal(result.engine, "cpu");
  assert.equal(result.data.subset, false);
  assert.ok(result.spent <= budget, `${result.spent} trainings`);
  assert.ok(result.end.validation.loss < result.start.validation.loss, "tuning helps");
});

test("the link of a run repeats it, to the same bits", { timeout }, async (t) => {
  const results = [];
  let path = "#steps=4&budget=5";
  for (let time = 0; time < 2; time++) {
    const page = await openPage(t, { path });
    page.setDefaultTimeout(timeout);
    await page.getByText("16 people").waitFor();
    await live(page).waitFor();
    await start(page);
    await page.getByRole("heading", { name: /^Result/ }).waitFor();
    results.push(JSON.parse(await saved(page, "result.json")));
    const { search, hash } = new URL(page.url());
    path = search + hash;
  }
  const [result, repeated] = results;
  assert.deepEqual(repeated.configuration, result.configuration);
  assert.deepEqual(repeated.end, result.end);
});

test("the hypergradient of the visitor's settings is checked in the worker, and a start ends a check", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=4&budget=5");
  const button = page.getByRole("button", { name: "Check the hypergradient" });
  const begun = performance.now();
  await button.click();
  await page.getByText("Yes: the hypergradient is right along every direction.").waitFor();
  t.diagnostic(`a check took ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  const rows = page.locator("section", { has: button }).locator("table").first().locator("tbody tr");
  assert.equal(await rows.count(), 3, "a direction for each kind");
  const [reverse, , differences, verdict] = await rows.first().locator("td").allTextContents();
  const value = (text) => Number(text.replace("−", "-"));
  assert.ok(Math.abs(value(reverse) / value(differences) - 1) < 1e-3, `${reverse} against ${differences}`);
  assert.equal(verdict, "agree");

  // However many steps there are: ten in double precision, and all on the device.
  await page.getByLabel("Training steps").fill("400");
  await page.getByLabel("Training steps").blur();
  await button.click();
  await page.getByText("Checking 10 training steps in double precision and 400 on the device").waitFor();
  await page.getByRole("button", { name: "Give the check up" }).click();
  await button.waitFor();
  await button.click();
  await page.getByText(/^Checking 10/).waitFor();
  await start(page);
  await page.getByText(/training, step \d/).waitFor();
  assert.equal(await page.getByText(/^Checking/).count(), 0);
});

for (const engine of ["cpu", "webgpu"])
  test(`what the visitor's settings are computed with can be opened (${engine})`, { timeout }, async (t) => {
    const page = await open(t, engine, "#steps=4&budget=5");
    const card = page.locator("details.card", { hasText: "Open the machine" });
    await card.locator("summary").first().click();
    const device = engine === "cpu" ? "processor" : "GPU";
    await card.getByText(new RegExp(`Here the dispatches run on the ${device}, which reaches [\\d.]+ billion\\s+operations a second\\s[^]* [\\d.]+ GB a second`)).waitFor();
    const adjoint = card.locator("details", { has: page.getByText("step_adjoint", { exact: true }) });
    await adjoint.locator("summary").first().click();
    assert.ok((await adjoint.getByText(/[\d.]+ % of the device’s (bytes|operations) a second/).count()) > 0);
    await adjoint.getByText(/^Dispatch 1: .*[\d,]+ operations, [\d,]+ bytes/).click();
    assert.match(await adjoint.getByRole("group", { name: "Shader of dispatch 1 of step_adjoint" }).textContent(), /@compute/);
    await card.getByText("Checkpoint plan", { exact: true }).click();
    await card.getByText("4 training steps").waitFor();
    await page.getByLabel("Training steps").fill("5");
    await page.getByLabel("Training steps").blur();
    await card.getByRole("button", { name: "Open it for those at hand", disabled: false }).click();
    await card.getByText("Checkpoint plan", { exact: true }).click();
    await card.getByText("5 training steps").waitFor();
  });

test("the page advises a way to the hypergradient for these settings on this engine, and it can be taken", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=40&budget=5");
  const settings = page.locator("section#settings");
  /** The advice once it is of so many steps: the way, the seconds of a hypergradient, the bytes. */
  const advised = async (steps) => {
    await settings.getByText(new RegExp(`all ${steps} steps|its ${steps} steps`)).waitFor();
    const text = await settings.getByText(/^Advised here/).innerText();
    t.diagnostic(text);
    const [, way, time, unit, bytes] = text.match(/: (.+), about ([\d.]+) (ms|s) a hypergradient and ([\d.]+) MiB/);
    return { way, seconds: time * (unit === "ms" ? 1e-3 : 1), bytes: Number(bytes) };
  };
  const short = await advised(40);
  await page.getByLabel("Training steps").fill("400");
  await page.getByLabel("Training steps").blur();
  const long = await advised(400);
  assert.equal(short.way, "reverse mode, every state kept");
  assert.equal(long.way, short.way);
  assert.ok(long.seconds > 5 * short.seconds && long.bytes > short.bytes);
  await settings.getByText("All ways").click();
  const rows = settings.locator("tbody tr");
  assert.equal(await rows.count(), 7);
  assert.match(await settings.getByRole("row", { name: /^Implicit/ }).innerText(), /not possible: .*dropout/);

  // Of one hyperparameter a tangent is cheaper than a way back.
  await page.goto(page.url().replace(/#.*/, "#steps=4&budget=5&hyperparameters=lr"));
  assert.equal((await advised(4)).way, "forward mode");
  await settings.getByRole("button", { name: "Take it" }).click();
  assert.match(page.url(), /&method=forward&/);
  assert.equal(await settings.getByRole("button", { name: "Take it" }).count(), 0);
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  const result = JSON.parse(await saved(page, "result.json"));
  assert.equal(result.configuration.method, "forward");
  assert.equal(result.ending, "finished");
});

test("a run is held, goes on and stops at once", { timeout }, async (t) => {
  const page = await open(t, "webgpu", "#steps=20&budget=60");
  await start(page);
  await page.getByText(/training, step \d/).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  const held = await status(page);
  await page.waitForTimeout(1500);
  assert.equal(await status(page), held);
  await page.getByRole("button", { name: "Resume" }).click();
  await iterations(page, 1);
  const stopped = performance.now();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  t.diagnostic(`stop to result: ${((performance.now() - stopped) / 1000).toFixed(1)} s`);
  const result = JSON.parse(await saved(page, "result.json"));
  assert.equal(result.ending, "stopped");
  assert.ok(result.iterations >= 1 && result.iterations < 50);
  assert.ok((await saved(page, "model.safetensors")).length > 1000, "the best network is there without another training");

  // Nothing is known yet of a run that is stopped in its first outer iteration.
  await start(page);
  await page.getByText(/training, step \d/).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("there is no result").first().waitFor();
});

test("shaders are made before the start, counted, and once for all runs", { timeout }, async (t) => {
  const opened = performance.now();
  const page = await open(t, "webgpu", "#steps=4&budget=4", { prepare: inWorker(counting), ready: false });
  await page.locator("section.bar").getByText(/^Preparing shaders: \d+ of \d+$/).waitFor();
  assert.ok(await page.getByRole("button", { name: /^Tune/ }).isDisabled());
  // A step is measured once all are there.
  await page.locator("label", { has: page.getByRole("radio", { name: "GPU" }) }).getByText(/measured: /).waitFor();
  t.diagnostic(`load to all shaders: ${((performance.now() - opened) / 1000).toFixed(1)} s`);
  const pipelines = () => page.workers()[0].evaluate(() => self.pipelines);
  const made = await pipelines();
  assert.ok(made > 40, `${made} pipelines`);
  for (let run = 0; run < 2; run++) {
    await start(page);
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByRole("heading", { name: /^Result/ }).waitFor();
    await page.getByRole("button", { name: "Tune again" }).waitFor();
    assert.equal(await pipelines(), made, "no pipeline is made by a run");
  }
  assert.equal(await page.workers()[0].evaluate(() => self.empty), 0, "no dispatch is of zero workgroups");
  // Other settings need other programs.
  await page.getByRole("spinbutton", { name: /^Batch/ }).fill("48");
  await page.getByRole("spinbutton", { name: /^Batch/ }).blur();
  await page.getByText(/; preparing shaders: \d+ of \d+/).waitFor();
  assert.ok((await pipelines()) > made);
});

test("a file that is no data set is refused with a reason, and the data stay", { timeout }, async (t) => {
  const page = await open(t, "cpu");
  const name = "holiday.zip";
  await page.getByLabel("Open your recordings").setInputFiles({ name, mimeType: "application/zip", buffer: Buffer.from("PK no zip") });
  await page.getByRole("alert").filter({ hasText: name }).waitFor();
  await page.getByText("12 of 30 people").waitFor();
});

test("recordings of one's own are read as natively, and a run is on them", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=3&budget=4&batch=4");
  await page.getByLabel("Open your recordings").setInputFiles(fileURLToPath(new URL("../recordings/volunteers.csv", import.meta.url)));
  await page.getByText("volunteers.csv", { exact: true }).waitFor();
  await page.getByText("16 windows of 2.56 s, 2 classes, 4 people").waitFor();
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  const { data, end } = JSON.parse(await saved(page, "result.json"));
  // tests/cli_own_data.rs has the same.
  assert.deepEqual([data.fingerprint, data.training_windows, data.test_windows], ["3a1d5ec144794a17", 8, 4]);
  assert.deepEqual(end.test_classes.classes.map(({ name }) => name), ["sitting", "walking"]);
});

test("a lost device is replaced, and the run goes on where it was; also in its last part", { timeout }, async (t) => {
  const last = `{
    const post = self.postMessage;
    self.postMessage = (message, ...more) => {
      post.call(self, message, ...more);
      if (message.kind === "outer" && message.iteration === 3) {
        self.later += 61_000;
        self.devices.at(-1).destroy();
      }
    };
  }`;
  // Steps enough for the first loss to come before the second, which the last iteration brings.
  const page = await open(t, "webgpu", "#steps=16&budget=6&seed=3", { prepare: inWorker(losing + last) });
  await start(page);
  await iterations(page, 1);
  // As a driver's reset would.
  const devtools = await page.context().browser().newBrowserCDPSession();
  await devtools.send("Browser.crashGpuProcess");
  await page.getByText("The device was lost; opening a new one").waitFor();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  const result = JSON.parse(await saved(page, "result.json"));
  assert.deepEqual([result.iterations, result.ending, result.engine, await devices(page)], [3, "finished", "gpu", 3]);
});

test("a device lost while shaders are made at load is replaced, and one lost before the start too", { timeout }, async (t) => {
  const page = await open(t, "webgpu", "#steps=3&budget=4", { prepare: inWorker(losing), ready: false });
  await page.getByText(/^Preparing shaders: [1-9]\d* of \d+$/).first().waitFor();
  await lose(page);
  await live(page).waitFor();
  assert.equal(await devices(page), 2);
  // Nobody notices until it is used; a minute later it is no second loss.
  await page.workers()[0].evaluate(() => (self.later += 61_000));
  await lose(page);
  await start(page);
  await page.getByText(/The device was lost/).first().waitFor();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  const result = JSON.parse(await saved(page, "result.json"));
  assert.deepEqual([result.engine, result.iterations, await devices(page)], ["gpu", 1, 3]);
});

test("a device lost twice while shaders are made: a sentence, and the processor is a way on", { timeout }, async (t) => {
  const page = await open(t, "webgpu", "#steps=3&budget=4", { prepare: inWorker(losing), ready: false });
  for (const count of [1, 2]) {
    await page.waitForFunction(() => true);
    while ((await devices(page)) < count) await page.waitForTimeout(50);
    await page.getByText(/^Preparing shaders: [1-9]\d* of \d+$/).first().waitFor();
    await lose(page);
  }
  await page.locator("section.bar").getByText(/GPU cannot be used\. It was lost twice within a minute/).waitFor();
  await page.getByRole("button", { name: "Take the fastest there is" }).click();
  await live(page).waitFor();
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  assert.equal(JSON.parse(await saved(page, "result.json")).engine, "cpu");
});

test("a device lost twice within a minute in a run gives way to the processor, which goes on from what was finished", { timeout }, async (t) => {
  const page = await open(t, "webgpu", "#steps=3&budget=6", { prepare: inWorker(losing) });
  await start(page);
  await iterations(page, 1);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  await lose(page);
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("The device was lost; opening a new one").or(page.getByText("The device was lost; the run goes on with a new one")).first().waitFor();
  while ((await devices(page)) < 2) await page.waitForTimeout(50);
  await lose(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  await page.getByText("The GPU was lost twice within a minute, so the processor did the rest of this run.").waitFor();
  const result = JSON.parse(await saved(page, "result.json"));
  assert.deepEqual([result.engine, result.iterations, result.ending], ["cpu", 3, "finished"]);
});

for (const [what, pattern, said] of [
  ["module", /stackelberg_bg.*\.wasm/, /engine could not be loaded \(the server answered 404\)/],
  ["worker’s script", /worker-.*\.js/, /The engine stopped: its files could not be loaded/],
  ["first recordings", /subset.*\.bin/, /built-in recordings did not arrive \(the server answered 404\)/],
])
  test(`the ${what} answered by 404: a sentence, and another try`, { timeout }, async (t) => {
    let missing = true;
    const page = await open(t, "cpu", "#steps=3&budget=4", {
      ready: false,
      expected: [/404/, /net::ERR_(ABORTED|FAILED)/],
      prepare: (page) => page.route(pattern, (route) => (missing ? route.fulfill({ status: 404, body: "" }) : route.continue())),
    });
    await page.locator("section.bar").getByText(said).waitFor();
    assert.equal(await page.getByText(/Looking for a GPU|Unpacking|Loading the engine/).count(), 0);
    missing = false;
    await page.locator("section.bar").getByRole("button", { name: /again$/ }).click();
    await live(page).waitFor();
    await start(page);
    await page.getByRole("heading", { name: /^Result/ }).waitFor();
  });

test("a module and recordings that are none of ours are said", { timeout }, async (t) => {
  for (const [pattern, said] of [
    [/stackelberg_bg.*\.wasm/, /engine could not be loaded/],
    [/subset.*\.bin/, /subset\.bin|recordings|built-in/],
  ]) {
    const page = await open(t, "cpu", "", {
      ready: false,
      expected: [/WebAssembly/, /net::ERR_ABORTED/],
      prepare: (page) => page.route(pattern, (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<title>Log in</title>" })),
    });
    await page.locator("section.bar").getByText(said).first().waitFor();
    await page.locator("section.bar").getByRole("button", { name: /again$/ }).waitFor();
    assert.equal(await page.getByText(/Looking for a GPU|Unpacking|Loading the engine/).count(), 0);
  }
});

test("offline after the first people came: they are enough, and the others can be fetched later", { timeout }, async (t) => {
  const page = await openPage(t, {
    path: "?engine=cpu#steps=3&budget=4",
    expected: [/rest.*\.bin/, /ERR_INTERNET_DISCONNECTED|ERR_FAILED/],
    prepare: (page) => page.route(/rest.*\.bin/, (route) => route.abort("internetdisconnected")),
  });
  page.setDefaultTimeout(timeout);
  await page.getByText(/^The recordings of the other people did not arrive/).first().waitFor();
  await live(page).waitFor();
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  // A run on the first people is repeated with these.
  assert.match(page.url(), /&data=subset$/);
  await page.unroute(/rest.*\.bin/);
  await page.getByRole("button", { name: "Take all built-in people" }).click();
  await page.getByText("16 people").waitFor();
  assert.match(page.url(), /&data=builtin$/);
});

test("a worker that throws in mid-run is said, and another one goes on", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=20&budget=200", { expected: [/a bug/] });
  await start(page);
  await iterations(page, 1);
  await page.workers()[0].evaluate(() => setTimeout(() => { throw new Error("a bug"); }));
  await page.locator("section.bar").getByText(/The engine stopped: .*a bug/).waitFor();
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
  await page.getByRole("button", { name: "Start the engine again" }).click();
  await live(page).waitFor();
  await start(page);
  await iterations(page, 1);
});

test("momentum has a hypergradient of exactly 0 at one training step, and the page says why", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=1&budget=4");
  await start(page);
  await page.getByText("Momentum is exactly 0: it acts through the steps before, and a training of one step has none.").waitFor();
  // The start was live before the ways to the hypergradient were known; what it interrupted goes on.
  await page.getByText(/^Advised here/).waitFor();
});

test("the forecast of an engine is corrected by what a run took", { timeout }, async (t) => {
  const page = await open(t, "cpu", "#steps=20&budget=6", {
    prepare: inWorker(`{
      const now = performance.now.bind(performance);
      self.pace = 1;
      performance.now = () => self.pace * now();
    }`),
  });
  const foretold = async () => {
    const [, value, unit] = (await page.getByText(/about [\d.]+ (s|min|h).* for this run/).innerText()).match(/about ([\d.]+) (\w+)/);
    return Number(value) * (unit === "s" ? 1 : 60);
  };
  const before = await foretold();
  // From here on everything seems to take ten times as long.
  await page.workers()[0].evaluate(() => (self.pace = 10));
  await start(page);
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  await live(page).waitFor();
  const after = await foretold();
  assert.ok(after > 3 * before, `${before} s before the run, ${after} s after it`);
});
