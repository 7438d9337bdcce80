// The page apart from its engine: keyboard, accessibility, phone width, and what it says when things are missing.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { openPage, shoot } from "./browser.mjs";
import { install } from "./double.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const plain = { software: false, stopAfter: 1e9, subset: true };
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

/** Opens the page with a scripted engine. */
async function open(t, { script = plain, size = sizes.desktop, scheme, path = "?engine=webgpu", gpu = true } = {}) {
  const prepare = async (page) => {
    await page.emulateMedia({ reducedMotion: "reduce" });
    await page.addInitScript(install, script);
    if (!gpu) await page.addInitScript(() => delete Navigator.prototype.gpu);
  };
  const page = await openPage(t, { ...size, scheme, path, prepare });
  if (!script.failure) await page.getByRole("heading", { name: "Walking downstairs" }).waitFor();
  return page;
}

const tune = (page) => page.getByRole("button", { name: /^Tune/ });
const asked = (page) => page.evaluate(() => window.double.asked);

async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}

for (const [name, size] of Object.entries(sizes))
  for (const scheme of ["light", "dark"])
    test(`axe finds no fault, and nothing scrolls sideways (${name}, ${scheme})`, async (t) => {
      const page = await open(t, { size, scheme });
      const wide = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.deepEqual(await violations(page), []);
      assert.ok((await wide()) <= 0);
      await tune(page).click();
      await page.getByRole("heading", { name: "Result" }).waitFor();
      await page.getByText("All outer iterations as a table").click();
      assert.deepEqual(await violations(page), []);
      assert.ok((await wide()) <= 0);
    });

test("axe finds no fault while a run is under way, paused, asked about or failed", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 2, hours: 2 } });
  await tune(page).click();
  await page.getByText(/Start it all the same/).first().waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Start it" }).click();
  await page.getByText(/backwards through/).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Resume" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.evaluate(() => window.double.say({ kind: "broke", message: "It is gone.", again: true }));
  await page.getByRole("button", { name: "Start the engine again" }).waitFor();
  assert.deepEqual(await violations(page), []);
});

test("a run goes from one button to the result, and its files can be saved", async (t) => {
  const page = await open(t);
  await tune(page).click();
  await page.getByText("Test accuracy 37.1 % → 84.3 %", { exact: true }).waitFor();
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
  const cells = await page.locator("table:not([aria-label^='Test accuracy'])", { hasText: "Start values" }).locator("tbody td").allTextContents();
  assert.equal(cells.length, 36);
  assert.deepEqual(cells.slice(0, 3), ["52", "18", "18"]);
  for (const file of ["result.json", "model.safetensors"]) {
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: `Download ${file}` }).click();
    assert.equal((await download).suggestedFilename(), file);
  }
});

test("the hypergradient can be checked, and a check that fails says so", async (t) => {
  const page = await open(t);
  const card = page.locator("section", { has: page.getByRole("heading", { name: "Is the gradient right?" }) });
  await card.getByRole("button", { name: "Check the hypergradient" }).click();
  await card.getByText("Yes: the hypergradient is right along every direction.").waitFor();
  const rows = card.locator("tbody tr");
  assert.deepEqual(await rows.nth(0).locator("td").allTextContents(), ["−0.18401", "−0.18401", "−0.18407", "agree"]);
  assert.deepEqual(await rows.nth(3).locator("td").allTextContents(), ["−0.18401", "−0.18401", "agree"]);
  assert.deepEqual(await violations(page), []);
  await shoot(page, "checked-1280-light");
  const check = (...args) => page.evaluate((args) => window.double.check({ settings: { steps: 12 } }, ...args), args);
  await check("unsettled");
  await card.getByText("too rough to tell along L2, random signs 1").waitFor();
  assert.deepEqual((await rows.nth(2).locator("td").allTextContents()).slice(3), ["too rough to tell"]);
  await check("failed");
  await card.getByText("No: along L2, random signs 1, answers disagree").waitFor();
  assert.deepEqual((await rows.nth(2).locator("td").allTextContents()).slice(3), ["disagree"]);
  for (const [edge, why] of [["scatter", "last digits"], ["steep", "five times the loss"], ["diverged", "diverges"]]) {
    await check("edge", edge);
    await card.getByText(new RegExp(`exact, but rough here: .*${why}`)).waitFor();
  }
  await page.evaluate(() => window.double.say({ kind: "checking", exactSteps: 10, steps: 12, seconds: 9.5, share: 0.25 }));
  await card.getByText("Checking 10 training steps in double precision and 12 on the device: about 9.5 s in all.").waitFor();
  assert.equal(await card.getByRole("progressbar").getAttribute("value"), "0.25");
  await page.evaluate(() => window.double.say({ kind: "unchecked", message: "training diverges at these hyperparameters" }));
  await card.getByText("training diverges").waitFor();
  await page.evaluate(() => window.double.say({ kind: "unchecked" }));
  assert.equal(await card.getByText("training diverges").count(), 0);
});

test("the advice is of the settings at hand and the engine chosen, and unfolds to all ways", async (t) => {
  for (const size of Object.values(sizes)) {
    const page = await open(t, { size });
    await page.getByText("Advised here: reverse mode, every state kept, about 65 ms a hypergradient and 32 MiB.").waitFor();
    await page.getByText("All ways, their time and memory").click();
    assert.equal(await page.getByText(/^not possible: implicit differentiation cannot see/).count(), 1);
    assert.equal(await page.getByRole("button", { name: "Take it" }).count(), 0);
    await page.getByLabel("Way to the hypergradient").selectOption("truncated");
    assert.match(new URL(page.url()).hash, /&method=truncated:2&/);
    await page.getByLabel("Last steps").fill("5");
    await page.getByLabel("Last steps").blur();
    assert.equal(await page.evaluate(() => window.double.prepared.settings.method), "truncated:5");
    assert.deepEqual(await violations(page), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0);
    await shoot(page, `advised-${size.width}-light`);
    await page.getByRole("button", { name: "Take it" }).click();
    assert.match(new URL(page.url()).hash, /&method=reverse&/);
    await page.getByRole("radio", { name: /^Processor/ }).check();
    await page.getByText("about 0.30 s a hypergradient").waitFor();
  }
});

test("every picture can be saved as numbers and as a picture, under a name that says what it is", async (t) => {
  const page = await open(t);
  const save = async (what, file) => {
    await page.getByLabel(`Save ${what}`, { exact: true }).click();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: file }).click();
    const saved = await download;
    return [saved.suggestedFilename(), await readFile(await saved.path(), "utf8")];
  };
  const [recording, samples] = await save("the recording", "Numbers (CSV)");
  assert.equal(recording, "stackelberg-recording-of-person-1-walking-downstairs-window-0.csv");
  assert.equal(samples.split("\r\n").length, 1 + 128 + 1);
  await tune(page).click();
  const [csv, rows] = await save("the chart Outer loss", "Numbers (CSV)");
  assert.equal(csv, "stackelberg-outer-loss-narrow-T20-seed0.csv");
  assert.match(rows, /^outer iteration,trainings spent,validation loss \(nats\),lowest so far \(nats\),hypergradient\r\n1,3\.6,1\.36,1\.36,taken\r\n2,4\.6,/);
  const [svg, picture] = await save("the confusion matrix, tuned", "Picture (SVG)");
  assert.equal(svg, "stackelberg-confusion-matrix-tuned-narrow-T20-seed0.svg");
  const sound = (text) => page.evaluate((text) => new DOMParser().parseFromString(text, "image/svg+xml").querySelector("parsererror") === null, text);
  assert.ok(await sound(picture));
  assert.ok(await sound((await save("the chart L2 penalty", "Picture (SVG)"))[1]));
  assert.match((await save("all outer iterations", "All iterations (CSV)"))[1], /hypergradient of Learning rate/);

  await page.getByLabel("Save the chart Momentum").press("Enter");
  await page.getByRole("button", { name: "Picture (SVG)" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("button", { name: "Picture (SVG)" }).count(), 0);
});

test("charts go on with every outer iteration, also in a second run", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 0 } });
  const say = (iteration) =>
    page.evaluate((at) => window.double.iterate({ steps: 20, budget: 36, hyperparameters: ["lr", "momentum", "l2"] }, at), iteration);
  const charts = () =>
    page.locator("figure", { has: page.locator("canvas") }).evaluateAll((figures) =>
      figures.map((figure) => [figure.querySelector("h3").textContent, figure.querySelector("canvas").toDataURL()]),
    );
  /** The pictures once they no longer change. */
  const settled = async () => {
    for (let last = "", tries = 0; ; tries++) {
      const now = await charts();
      if (JSON.stringify(now) === last) return new Map(now);
      assert.ok(tries < 50, "pictures come to rest");
      last = JSON.stringify(now);
      await page.waitForTimeout(200);
    }
  };
  for (const run of ["first", "second"]) {
    await tune(page).click();
    await page.getByText("The first point comes with the first outer iteration.").waitFor();
    await say(0);
    await page.locator("figure canvas").nth(4).waitFor();
    for (const iteration of [1, 2, 3]) {
      const before = await settled();
      await say(iteration);
      const after = await settled();
      for (const [title, picture] of before)
        assert.ok(after.get(title) !== picture, `${title} of the ${run} run shows iteration ${iteration + 1}`);
    }
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("heading", { name: /^Result/ }).waitFor();
  }
});

test("a run can be held, resumed and stopped by keyboard alone", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 3 } });
  const press = async (name, said) => {
    for (let tries = 0; tries < 60; tries++) {
      await page.keyboard.press("Tab");
      if (await page.getByRole("button", { name, exact: false }).evaluate((button) => button === document.activeElement)) break;
    }
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: said }).waitFor({ state: "attached" });
  };
  await press(/^Tune/, "Tuning.");
  await press("Pause", "Paused.");
  await press("Resume", "Tuning.");
  await press("Stop", "Stopped early after 5.6 of 36 trainings in 31 s. Outer loss 1.36 to 1.14.");
  const acts = (await asked(page)).filter((kind) => !["prepare", "window"].includes(kind));
  assert.deepEqual(acts.slice(-4), ["start", "pause", "resume", "stop"]);
});

test("a stopped run shows what is known, and says why there are no scores", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 3 } });
  await tune(page).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Outer loss 1.36 → 1.14", { exact: true }).waitFor();
  await page.getByText("was not scored on the test people").waitFor();
  await page.getByText("What was tuned").waitFor();
  assert.equal(await page.getByRole("button", { name: "Download model.safetensors" }).count(), 1);
});

test("the start waits for shaders, and says so", async (t) => {
  const page = await open(t, { script: { ...plain, shaders: 37 } });
  await page.locator("section.bar").getByText("Preparing shaders: 37 of 42", { exact: true }).waitFor();
  assert.ok(await tune(page).isDisabled());
  assert.deepEqual(await violations(page), []);
});

test("every control can be reached by Tab, shows its focus and is at least 44 pixels high", async (t) => {
  const page = await open(t, { size: sizes.phone });
  const small = await page.evaluate(() =>
    // Words within a sentence are as high as its lines.
    [...document.querySelectorAll("button:not(.term), summary, input, select, a[href]")]
      .filter((control) => !control.closest("dialog:not([open])"))
      .map((control) => [control, (control.closest("label") ?? control).getBoundingClientRect()])
      .filter(([, { height }]) => height < 44)
      .map(([control]) => control.outerHTML),
  );
  assert.deepEqual(small, []);
  const reached = new Set();
  for (let presses = 0; presses < 90; presses++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const control = document.activeElement;
      if (control === document.body) return null;
      const ring = [control, control.closest("label")].some((e) => e && getComputedStyle(e).outlineStyle !== "none");
      const name = control.textContent.trim() || control.closest("label")?.textContent.trim();
      return { name: name ?? "", ring };
    });
    if (!focused) continue;
    assert.ok(focused.ring, `${focused.name} shows no focus`);
    reached.add(focused.name.replace(/\s+/g, " "));
  }
  const wanted = ["Auto", "Tune a model on this GPU", "GPU", "Another", "Open your recordings", "Narrow", "Training steps", "Learning rate", "Example weights", "The same run"];
  for (const name of wanted)
    assert.ok([...reached].some((one) => one.startsWith(name)), `${name} is not reached; ${[...reached].join(" | ")}`);
});

test("settings live in the address, both ways", async (t) => {
  const page = await open(t, { path: "?engine=webgpu#steps=7&hyperparameters=lr,l2" });
  assert.equal(await page.getByLabel("Training steps").inputValue(), "7");
  assert.equal(await page.getByRole("checkbox", { name: /^Momentum/ }).isChecked(), false);
  await page.getByLabel("Seed").fill("42");
  await page.getByLabel("Seed").blur();
  assert.equal(new URL(page.url()).hash, "#network=narrow&steps=7&budget=36&batch=64&seed=42&method=reverse&hyperparameters=lr,l2&compare=false");
  await page.getByLabel("Budget").fill("0");
  await page.getByLabel("Budget").blur();
  assert.equal(await page.getByLabel("Budget").inputValue(), "1");
  await page.getByRole("alert").getByText("Budget: “0” is out of range; 1 is the least, and is taken.").waitFor();
  await page.getByRole("button", { name: "Back to defaults" }).click();
  assert.equal(new URL(page.url()).hash, "");
});

test("without WebGPU the page works on the processor, and says how to get it", async (t) => {
  const page = await open(t, { gpu: false, path: "", script: { ...plain, adapter: false } });
  await page.getByText("This browser does not offer WebGPU").waitFor();
  await page.getByText("How to get it").click();
  await page.getByText("chrome://flags/#enable-unsafe-webgpu").waitFor();
  assert.ok(await page.getByLabel("GPU", { exact: false }).first().isDisabled());
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Tune a model on this processor" }).click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
});

test("a GPU that the address asks for is not replaced in silence", async (t) => {
  const page = await open(t, { gpu: false, script: { ...plain, adapter: false } });
  await page.getByText("The address asks for a GPU, but there is none to use here.").waitFor();
  assert.ok(await tune(page).isDisabled());
});

test("the faster engine is taken, another can be chosen, and the address keeps the choice", async (t) => {
  const page = await open(t, { path: "#seed=5" });
  await page.getByText("measured: 0.90 ms a step, about 4.0 s for this run").waitFor();
  await page.getByText("measured: 4.1 ms a step, about 12 s for this run").waitFor();
  assert.ok(await page.getByRole("radio", { name: /^GPU/ }).isChecked());
  await page.getByText("About 4.0 s", { exact: true }).waitFor();
  await page.getByRole("radio", { name: /^Processor/ }).check();
  await page.getByText("About 12 s", { exact: true }).waitFor();
  assert.equal(new URL(page.url()).search, "?engine=cpu");
  assert.match(new URL(page.url()).hash, /&seed=5&/);
  assert.equal(await page.evaluate(() => window.double.prepared.engine), "cpu");
  await page.getByRole("button", { name: "Tune a model on this processor" }).waitFor();
  await page.getByRole("button", { name: "Let the page choose" }).click();
  assert.equal(new URL(page.url()).search, "");
  assert.equal(await page.evaluate(() => window.double.prepared.engine), undefined);
});

test("a software adapter is named as one, and the processor itself is faster", async (t) => {
  const page = await open(t, { path: "", script: { ...plain, software: true } });
  await page.getByText("software adapter", { exact: true }).waitFor();
  assert.ok(await page.getByRole("radio", { name: /^Processor/ }).isChecked());
});

test("the default run is what was found worth its time, until the visitor chooses", async (t) => {
  const page = await open(t, { script: { ...plain, silent: ["prepare"] } });
  const suggest = (steps) => page.evaluate((steps) => window.double.say({ kind: "first-run", network: "narrow", steps, budget: 36 }), steps);
  await suggest(100);
  await page.waitForTimeout(100);
  assert.equal(await page.getByLabel("Training steps").inputValue(), "100");
  assert.equal(new URL(page.url()).hash, "");
  await page.getByLabel("Training steps").fill("30");
  await page.getByLabel("Training steps").blur();
  await suggest(200);
  await page.waitForTimeout(100);
  assert.equal(await page.getByLabel("Training steps").inputValue(), "30");
});

test("a bad file is named with what to do, and the data stays", async (t) => {
  const page = await open(t);
  await page.getByLabel("Open your recordings").setInputFiles({
    name: "broken.zip",
    mimeType: "application/zip",
    buffer: Buffer.from("no zip"),
  });
  await page.getByText("Reading broken.zip…").waitFor();
  await page.evaluate(() =>
    window.double.say({ kind: "failed", stage: "data", message: "y_train.txt, line 3: `7` is not a label; labels are whole numbers from 1 to 6" }),
  );
  const alert = page.getByRole("alert");
  assert.equal((await alert.textContent()).trim(), "y_train.txt, line 3: `7` is not a label; labels are whole numbers from 1 to 6");
  assert.ok(await tune(page).isEnabled());
  await page.getByText("Open your recordings").waitFor();
});

test("the theme switch wins over the system and is remembered", async (t) => {
  const page = await open(t, { scheme: "light" });
  const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await paper();
  await page.getByLabel("Dark").check();
  const dark = await paper();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await paper(), dark);
});
