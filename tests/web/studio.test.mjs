// The studio around a run: the story of wrong labels, runs that are kept, what is done by hand, keys and words. The engine is a script.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { openPage, shoot } from "./browser.mjs";
import { install } from "./double.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const plain = { software: false, stopAfter: 1e9, subset: false };

async function open(t, { script = plain, path = "?engine=webgpu", width = 1280, scheme, prepare } = {}) {
  const page = await openPage(t, {
    path,
    width,
    scheme,
    async prepare(page) {
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.addInitScript(install, script);
      await prepare?.(page);
    },
  });
  await tune(page).and(page.locator(":enabled")).waitFor();
  return page;
}

const tune = (page) => page.locator("section.bar").getByRole("button", { name: /^Tune/ });
const button = (page, name) => page.getByRole("button", { name, exact: true });
const asked = (page) => page.evaluate(() => window.double.asked);
const result = (page) => page.getByRole("heading", { name: /^Result/ }).waitFor();

async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}

for (const [width, scheme] of [[1280, "light"], [390, "dark"], [360, "light"]])
  test(`from the first click to the story of wrong labels (${width} px, ${scheme})`, async (t) => {
    const page = await open(t, { width, scheme });
    await tune(page).click();
    await result(page);
    const bars = page.getByRole("table", { name: "Test accuracy, side by side" });
    for (const [name, share] of [["Start values", "37.1 %"], ["Best of random search", "77.9 %"], ["Tuned by hypergradients", "84.3 %"]])
      await bars.getByRole("row", { name: new RegExp(`${name}.*${share}`) }).waitFor();
    assert.equal(await bars.getByText("◂ best").count(), 1);
    await page.evaluate(() => window.double.say({ kind: "baseline", fingerprint: "0", accuracy: 0.9 }));
    await bars.getByRole("row", { name: /Logistic regression.*90\.0 %/ }).waitFor();
    await page.getByRole("region", { name: "Scores of each activity" }).getByRole("row", { name: /Walking 1\d\d .* %/ }).first().waitFor();
    await page.getByRole("list", { name: "Accuracy of each test person" }).getByText("Person 9").waitFor();
    assert.equal(await page.getByRole("list", { name: /surest and wrong/ }).getByRole("listitem").count(), 3);
    assert.deepEqual(await violations(page), []);
    await shoot(page, `result-${width}-${scheme}`);

    await button(page, "Spoil the labels and learn the weights").click();
    await page.getByRole("heading", { name: "Right labels and wrong ones come apart" }).waitFor();
    await page.getByText(/cost 51\.4 points of test accuracy.*won back 47\.1 points.*probability 0\.7/).waitFor();
    await bars.getByRole("row", { name: /Start values, right labels.*88\.6 %/ }).waitFor();
    await page.getByRole("list", { name: "Training windows with the least weights" }).getByText("the label is wrong").first().waitFor();
    assert.match(page.url(), /hyperparameters=lr,example-weights&compare=false&mislabelled=33/);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0, "nothing scrolls sideways");
    assert.deepEqual(await violations(page), []);
    await shoot(page, `wrong-labels-${width}-${scheme}`);
  });

test("runs are kept with names and notes, come back after a reload, stand side by side, and go", async (t) => {
  const page = await open(t);
  await tune(page).click();
  await result(page);
  await page.getByLabel("Name of the run").fill("the first");
  await page.getByLabel("Name of the run").blur();
  await page.getByLabel("Note on the first").fill("as it came");
  await page.getByLabel("Note on the first").blur();
  await page.getByLabel("Seed").fill("7");
  await page.getByLabel("Seed").blur();
  await tune(page).and(page.locator(":enabled")).click();
  await page.getByLabel("Compare Run of").waitFor();
  await page.reload();
  await page.getByLabel("Compare the first").waitFor();
  assert.equal(await page.getByLabel("Note on the first").inputValue(), "as it came");
  await page.getByLabel("Compare the first").check();
  await page.getByLabel(/^Compare Run of/).check();
  const both = page.getByRole("region", { name: "Two runs side by side, as a table" });
  await both.getByRole("row", { name: "Seed 0 7" }).waitFor();
  await page.getByRole("heading", { name: "Two runs side by side" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shoot(page, "runs");
  await button(page, "Show the first").click();
  await page.getByText("opened", { exact: true }).waitFor();
  assert.ok((await asked(page)).includes("open-run"), "its network is opened, too");
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
  await button(page, "Delete the first").click();
  await page.getByLabel("Compare the first").waitFor({ state: "detached" });
});

test("a run that was cut off goes on after a reload, from what was held last", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 2 } });
  await tune(page).click();
  await page.getByText(/backwards through the training/).waitFor();
  await page.evaluate(() => window.double.say({ kind: "saved", state: new Uint8Array([7, 8, 9]) }));
  await page.waitForFunction(async () => {
    const open = indexedDB.open("stackelberg");
    const database = await new Promise((give) => (open.onsuccess = () => give(open.result)));
    const count = database.transaction("unfinished").objectStore("unfinished").count();
    const found = await new Promise((give) => (count.onsuccess = () => give(count.result)));
    database.close();
    return found === 1;
  });
  // A page that is at work asks before it is left.
  const questions = [];
  page.on("dialog", async (dialog) => {
    questions.push(dialog.type());
    await dialog.accept();
  });
  await page.reload();
  assert.deepEqual(questions, ["beforeunload"]);
  await page.getByText(/was cut off after outer iteration 2/).waitFor();
  await page.evaluate(() => {
    const post = window.double.postMessage.bind(window.double);
    window.double.postMessage = (message) => (message.kind === "start" && (window.resumed = [...message.resume]), post(message));
  });
  await page.getByRole("button", { name: "Go on with it" }).and(page.locator(":enabled")).click();
  await page.getByText(/backwards through the training/).waitFor();
  assert.deepEqual(await page.evaluate(() => window.resumed), [7, 8, 9]);
});

test("a hyperparameter is dragged by hand: foretold, then trained", async (t) => {
  const page = await open(t);
  await button(page, "Hypergradient at the start values").click();
  const slider = page.getByRole("slider", { name: /^Learning rate/ });
  await slider.waitFor();
  await page.getByText("Foretold here: 0.7200").waitFor();
  await slider.focus();
  for (let press = 0; press < 10; press++) await page.keyboard.press("ArrowRight");
  await page.getByText("Foretold here: 0.6900").waitFor();
  await button(page, "Train there").click();
  await page.getByText(/The loss there is 0\.6950; 0\.6900 was foretold: a change of\s+−0\.025, and −0\.030\s+by the derivative/).waitFor();
  await button(page, "A step downhill").click();
  await page.getByRole("row", { name: "2 0.6300 0.6450" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shoot(page, "by-hand");
});

test("keys start, hold, step and reset; help, words and the device's report are a key or a click away", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 2 } });
  const count = async (kind) => (await asked(page)).filter((one) => one === kind).length;
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Keys and words" }).waitFor();
  await page.getByText("edge of stability", { exact: true }).first().waitFor();
  assert.deepEqual(await violations(page), []);
  await button(page, "Close").click();
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("Space");
  await page.getByText(/backwards through the training/).waitFor();
  await page.waitForFunction(() => /^\d+ % – Stackelberg studio$/.test(document.title));
  await page.keyboard.press(".");
  assert.equal(await count("step"), 1);
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("Space");
  await button(page, "Resume").waitFor();
  assert.match(await page.title(), /^Paused at/);
  // Looking back over the iterations.
  const scrubber = page.getByRole("slider", { name: /Look at outer iteration/ });
  await scrubber.focus();
  await page.keyboard.press("Home");
  await page.getByText("1 of 2", { exact: true }).waitFor();
  await page.getByRole("meter", { name: /Roughness/ }).waitFor();
  await page.keyboard.press("End");
  await page.getByText(/the last hypergradient before had/).waitFor();
  await button(page, "Stop").click();
  await page.getByText("Device report").click();
  await page.getByText(/Stackelberg studio, device report/).waitFor();
  assert.match(await page.locator("pre").innerText(), /GPU: NVIDIA Ampere[\s\S]*measured: 0\.90 ms a step[\s\S]*check of the hypergradient: not made yet/);
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("r");
  await page.waitForFunction(() => location.hash === "");
  await button(page, "macro F1: what it means").or(button(page, "hypergradient: what it means")).first().click();
  await page.locator("[popover]:popover-open").waitFor();
  assert.deepEqual(await violations(page), []);
});

const settingsCard = (page) => page.locator("#settings");
const group = (page, name) => settingsCard(page).locator("summary").filter({ hasText: name });

for (const [width, scheme] of [[1280, "dark"], [360, "light"]])
  test(`the form is made of the schema: limits, defaults, what applies and what does not (${width} px, ${scheme})`, async (t) => {
    const page = await open(t, { width, scheme });
    const card = settingsCard(page);
    await group(page, "Training and start values").click();
    const rate = card.getByRole("textbox", { name: /^Learning rate/ });
    assert.equal(await rate.getAttribute("placeholder"), "0.04");
    await rate.fill("-1");
    await rate.blur();
    await page.getByText("Learning rate: “-1” is not a number from 1e-30 to 1e+30; the usual one is taken.").waitFor();
    await rate.fill("0,5");
    await rate.blur();
    await page.waitForFunction(() => location.hash.includes("learning_rate=0.5"));
    // Another optimiser has other scalars, and other hyperparameters to tune.
    await card.getByLabel("Inner optimiser").selectOption("adam");
    await page.waitForFunction(() => /hyperparameters=lr,betas,l2.*optimizer=adam/.test(location.hash));
    await card.getByText("Momentum: The inner optimiser is adam: take another.").waitFor({ state: "attached" });
    assert.equal(await card.getByRole("textbox", { name: /^Momentum/ }).count(), 0, "what the run would not look at is not shown");
    await group(page, "The problem").click();
    await card.getByRole("textbox", { name: "Validation people" }).fill("3, 5");
    await card.getByRole("textbox", { name: "Validation people" }).blur();
    await card.getByText("The same run on the command line").click();
    await card.getByText(/--validation-subjects 3,5.*--optimizer adam --learning-rate 0\.5/).waitFor();
    // A network that does not apply says why.
    await card.getByText("More networks").click();
    assert.ok(await card.getByRole("radio", { name: /^cnn2d/ }).isDisabled());
    await card.getByText("Not here: it takes images.").first().waitFor();
    assert.deepEqual(await violations(page), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0, "nothing scrolls sideways");
    await shoot(page, `form-${width}-${scheme}`);
    // Everything comes back by the address.
    await page.reload();
    await group(page, "Training and start values").getByText("changed").waitFor();
  });

test("layers of one's own are taken, go into the address, and are named where they are none", async (t) => {
  const page = await open(t);
  const card = settingsCard(page);
  await card.getByText("More networks").click();
  await card.getByText("Layers of your own").click();
  const layers = card.getByRole("textbox", { name: "Layers, as JSON" });
  assert.match(await layers.inputValue(), /"dense1"/);
  await layers.fill("{");
  await button(page, "Take these layers").click();
  await page.getByText(/These are no layers:/).waitFor();
  await layers.fill('[{"type":"flatten"}]');
  await button(page, "Take these layers").click();
  await page.waitForFunction(() => decodeURIComponent(location.hash).includes('network={"file":"layers.json","layers":[{"type":"flatten"}]}'));
  await tune(page).and(page.locator(":enabled")).waitFor();
  await card.getByText("taken", { exact: true }).waitFor();
});

test("settings that cannot be run are said where the start is, with a way back", async (t) => {
  const page = await open(t);
  await group(page, "The problem").click();
  await settingsCard(page).getByRole("textbox", { name: "Folds" }).fill("40");
  await settingsCard(page).getByRole("textbox", { name: "Folds" }).blur();
  await page.locator("section.bar").getByText(/must be at most 24\. Take fewer/).waitFor();
  assert.ok(await tune(page).isDisabled());
  await page.locator("section.bar").getByRole("button", { name: "Back to defaults" }).click();
  await tune(page).and(page.locator(":enabled")).waitFor();
});

for (const [width, scheme, motion] of [[1280, "light", "no-preference"], [390, "dark", "reduce"]])
  test(`a hypergradient is watched step by step, and drawn once a frame (${width} px, ${motion})`, async (t) => {
    const page = await open(t, {
      width,
      scheme,
      async prepare(page) {
        await page.emulateMedia({ reducedMotion: motion });
        await page.addInitScript(() => {
          window.drawn = 0;
          const { scale } = CanvasRenderingContext2D.prototype;
          CanvasRenderingContext2D.prototype.scale = function (...by) {
            if (this.canvas.closest("section")?.querySelector("#unroll")) window.drawn++;
            return scale.apply(this, by);
          };
        });
      },
    });
    await button(page, "Watch one hypergradient").click();
    await page.getByText(/Every state is kept \(33 MiB in all\).*outer loss is 0\.720.*it acts most in step 1, with dE\/dη −1\.00.*It took 0\.4 s/).waitFor();
    await page.waitForFunction(() => window.drawn > 0);
    // More than fifty parts came in one turn.
    assert.ok((await page.evaluate(() => window.drawn)) <= 3, `${await page.evaluate(() => window.drawn)} times`);
    const painted = await page.locator("section:has(#unroll) canvas").evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    });
    assert.ok(painted > 20, "something is drawn");
    await page.getByLabel("Save the unrolled training").click();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Numbers (CSV)" }).click();
    assert.match(await readFile(await (await download).path(), "utf8"), /^training step,training loss \(nats\),dE\/dη_t\r\n1,2,-1\r\n/);
    assert.deepEqual(await violations(page), []);
    await shoot(page, `unroll-${width}-${scheme}`);
  });

test("a tab that is killed leaves what its run can go on from", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 2 } });
  await tune(page).click();
  await page.getByText(/backwards through the training/).waitFor();
  await page.evaluate(() => window.double.say({ kind: "saved", state: new Uint8Array([1, 2]) }));
  await page.waitForTimeout(300);
  const context = page.context();
  const address = page.url();
  // Without a question, a reload, or a word to the page.
  await page.close({ runBeforeUnload: false });
  const next = await context.newPage();
  await next.addInitScript(install, plain);
  await next.goto(address);
  await next.getByText(/was cut off after outer iteration 2/).waitFor();
});

test("what another tab has under way is not cut off, before that is closed", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 2 } });
  await tune(page).click();
  await page.getByText(/backwards through the training/).waitFor();
  await page.evaluate(() => window.double.say({ kind: "saved", state: new Uint8Array([1, 2]) }));
  await page.waitForTimeout(300);
  const other = await page.context().newPage();
  await other.addInitScript(install, plain);
  await other.goto(page.url());
  await tune(other).and(other.locator(":enabled")).waitFor();
  await other.waitForTimeout(500);
  assert.equal(await other.getByText(/was cut off/).count(), 0);
  await page.close({ runBeforeUnload: false });
  await other.getByText(/was cut off after outer iteration 2/).waitFor();
  await other.getByRole("button", { name: "Forget it" }).click();
  await other.reload();
  await tune(other).and(other.locator(":enabled")).waitFor();
  await other.waitForTimeout(500);
  assert.equal(await other.getByText(/was cut off/).count(), 0);
});

test("a browser whose storage is full says so, and the run goes on", async (t) => {
  const full = () => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
    };
  };
  const page = await open(t, { prepare: (page) => page.addInitScript(full) });
  await tune(page).click();
  await result(page);
  await page.getByText(/Runs cannot be kept in this browser.*quota has been exceeded.*save run\.zip/).waitFor();
});

test("from the first key to the result and its files without a pointer", async (t) => {
  const page = await open(t);
  const to = async (name) => {
    for (let presses = 0; presses < 200; presses++) {
      await page.keyboard.press("Tab");
      const here = await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim() ?? "");
      if (name.test(here)) return;
    }
    assert.fail(`${name} is not reached`);
  };
  await to(/^Tune/);
  await page.keyboard.press("Enter");
  await result(page);
  await to(/^Download result\.json/);
  const download = page.waitForEvent("download");
  await page.keyboard.press("Enter");
  assert.equal((await download).suggestedFilename(), "result.json");
});
