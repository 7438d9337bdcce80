// What the page says and offers at each stage of its work, above all when something fails. The engine is a script.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage, shoot } from "./browser.mjs";
import { install } from "./double.mjs";

const plain = { software: false, stopAfter: 1e9, subset: false };
const long = { ...plain, stopAfter: 2 };

async function open(t, { script = plain, path = "?engine=webgpu", width = 1280, prepare, expected } = {}) {
  return openPage(t, {
    path,
    width,
    expected,
    async prepare(page) {
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.addInitScript(install, script);
      await prepare?.(page);
    },
  });
}

const bar = (page) => page.locator("section.bar");
const tune = (page) => bar(page).getByRole("button", { name: /^Tune/ });
const button = (page, name) => page.getByRole("button", { name, exact: true });
const say = (page, message) => page.evaluate((message) => window.double.say(message), message);
/** Answers the preparation that was asked for last, or the one before it. */
const settle = (page, before = 0) =>
  page.evaluate((before) => {
    window.double.engines(true);
    window.double.say({ kind: "settled", id: window.double.prepared.id - before });
  }, before);
const asked = (page) => page.evaluate(() => window.double.asked);
const hash = (page) => new URL(page.url()).hash;
const field = async (page, label, value) => {
  await number(page, label).fill(value);
  await number(page, label).blur();
};
const number = (page, label) => page.getByRole("spinbutton", { name: new RegExp(`^${label}`) });
/** Starts a run of the script and waits until it is under way. */
async function start(page) {
  await tune(page).click();
  await button(page, "Pause").waitFor();
  await page.getByText(/backwards through the training/).waitFor();
}
/** What has the focus: its text, or its tag where it has none. */
const focused = (page) => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.tagName);

// Settling.

test("an early click starts nothing, and the start is live once engine and defaults are settled", async (t) => {
  const page = await open(t, { path: "", script: { ...plain, silent: ["prepare"] } });
  await bar(page).getByText(/^Measuring/).waitFor();
  assert.ok(await tune(page).isDisabled());
  await tune(page).click({ force: true });
  assert.ok(!(await asked(page)).includes("start"));
  await say(page, { kind: "first-run", network: "narrow", steps: 100, budget: 36 });
  assert.equal((await asked(page)).filter((kind) => kind === "prepare").length, 2);
  await settle(page, 1);
  assert.ok(await tune(page).isDisabled(), "what was settled is not what is at hand");
  await settle(page);
  await page.getByRole("button", { name: "Tune a model on this GPU" }).click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
});

test("what a visitor unfolds early stays unfolded", async (t) => {
  const page = await open(t, { path: "", script: { ...plain, silent: ["prepare"] } });
  await page.getByText("More hyperparameters").click();
  await page.getByRole("checkbox", { name: /^Dropout/ }).waitFor();
  await say(page, { kind: "first-run", network: "narrow", steps: 100, budget: 36 });
  await settle(page);
  await tune(page).and(page.locator(":enabled")).waitFor();
  assert.ok(await page.getByRole("checkbox", { name: /^Dropout/ }).isVisible());
});

test("changing a field early makes no other jump", async (t) => {
  const page = await open(t, { path: "", script: { ...plain, silent: ["prepare"] } });
  await page.getByLabel("Training steps").waitFor();
  const before = await page.getByLabel("Training steps").inputValue();
  await field(page, "Batch", "32");
  await say(page, { kind: "first-run", network: "paper", steps: 200, budget: 72 });
  await page.waitForTimeout(100);
  assert.equal(await page.getByLabel("Training steps").inputValue(), before);
  assert.ok(await page.getByRole("radio", { name: /^Narrow/ }).isChecked());
});

// The address.

test("once a run is started its link repeats it, also where other defaults are found", async (t) => {
  const page = await open(t, { path: "", script: { ...plain, silent: ["prepare"] } });
  await say(page, { kind: "first-run", network: "narrow", steps: 100, budget: 5 });
  await settle(page);
  assert.equal(hash(page), "");
  await tune(page).click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
  const url = new URL(page.url());
  assert.equal(url.search, "?engine=webgpu");
  assert.equal(url.hash, "#network=narrow&steps=100&budget=5&batch=64&seed=0&method=reverse&hyperparameters=lr,momentum,l2&compare=true&data=builtin");

  const again = await open(t, { path: url.search + url.hash });
  await say(again, { kind: "first-run", network: "paper", steps: 200, budget: 72 });
  await tune(again).click();
  await again.getByText("Cost: 4.6 of 5 trainings, for 1 hypergradient and 1 training alone, through 100 training steps each").waitFor();
  assert.equal(new URL(again.url()).hash, url.hash);
});

test("what an address has wrong is said, and the address then says what is at hand", async (t) => {
  const page = await open(t, { path: "#steps=NaN&batch=0&foo=1&seed=3&seed=4&network=x&hyperparameters=lr,y" });
  const alert = page.getByRole("alert");
  for (const text of ["Training steps: “NaN”", "Batch: “0” is out of range; 1", "“foo” is no setting", "“seed” is given more than once", "Network: “x”", "Hyperparameters: “y”"])
    await alert.getByText(text).waitFor();
  assert.equal(hash(page), "#network=narrow&steps=20&budget=36&batch=1&seed=3&method=reverse&hyperparameters=lr&compare=false");
  await button(page, "Understood").click();
  assert.equal(await alert.count(), 0);
});

test("a link of before, which counts outer iterations, opens with them as a budget, and says so", async (t) => {
  const page = await open(t, { path: "#steps=7&outer=20" });
  await page.getByRole("alert").getByText("Outer iterations are now a budget in trainings: 20 is taken.").waitFor();
  assert.equal(await page.getByLabel("Budget").inputValue(), "20");
  assert.match(hash(page), /&budget=20&/);
  assert.doesNotMatch(hash(page), /outer/);
});

test("an address changed in mid-run is set back and said; after the run it counts", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  const during = page.url();
  await page.evaluate(() => (location.hash = "#steps=3"));
  await page.getByRole("alert").getByText(/The address was changed while a run is under way/).waitFor();
  await page.waitForFunction((url) => location.href === url, during);
  assert.equal(await page.getByLabel("Training steps").inputValue(), "20");
  await button(page, "Stop").click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
  await page.evaluate(() => (location.hash = "#steps=3"));
  await page.waitForFunction(() => document.querySelector("#settings input[type=number]").value === "3");
  // The way back leads to the run's own settings.
  await page.goBack();
  await page.waitForFunction(() => document.querySelector("#settings input[type=number]").value === "20");
});

test("a reload in mid-run comes back with the run's settings, ready to repeat it", async (t) => {
  const page = await open(t, { script: long, path: "#steps=9" });
  await start(page);
  const during = page.url();
  await page.reload();
  await tune(page).and(page.locator(":enabled")).waitFor();
  assert.equal(page.url(), during);
  assert.equal(await page.getByLabel("Training steps").inputValue(), "9");
});

// What fails, and the way on.

test("a module that does not come: a sentence on every card, and another try", async (t) => {
  const message = "The page’s engine could not be loaded (the server answered 404).";
  const page = await open(t, { script: { ...plain, failure: { message, again: true } } });
  await bar(page).getByText(message).waitFor();
  assert.equal(await page.getByText(/Looking for a GPU|Unpacking|Loading the engine|Measuring/).count(), 0);
  assert.ok(await tune(page).isDisabled());
  assert.ok(await button(page, "Check the hypergradient").isDisabled());
  await shoot(page, "failed-1280-light");
  await button(page, "Start the engine again").click();
  await page.waitForFunction(() => window.doubles === 2);
});

test("a browser without SIMD: a sentence on every card, and no other try", async (t) => {
  const message = "This browser’s WebAssembly has no SIMD, which the page computes with.";
  const page = await open(t, { script: { ...plain, failure: { message, again: false } } });
  await bar(page).getByText(message).waitFor();
  assert.equal(await page.getByText(/Looking for a GPU|Unpacking|Loading the engine|Measuring/).count(), 0);
  assert.equal(await bar(page).getByRole("button").count(), 1, "only the start, and that is not live");
  assert.ok(await tune(page).isDisabled());
});

test("recordings that do not come: a sentence, another try, and one's own file is a way on too", async (t) => {
  const page = await open(t, { script: { ...plain, silent: ["open"] } });
  await say(page, { kind: "loaded" });
  await page.evaluate(() => window.double.engines());
  await bar(page).getByText("Unpacking the recordings…").waitFor();
  await say(page, { kind: "no-data", message: "The built-in recordings did not arrive (the server answered 404)." });
  await bar(page).getByText("did not arrive (the server answered 404)").waitFor();
  assert.equal(await page.getByText(/Unpacking|Looking/).count(), 0);
  assert.ok(await tune(page).isDisabled());
  assert.ok(await page.getByLabel("Open your recordings").isEnabled());
  await bar(page).getByRole("button", { name: "Fetch them again" }).click();
  await tune(page).and(page.locator(":enabled")).waitFor();
  assert.ok((await asked(page)).includes("fetch"));
});

test("the other people do not come: the first ones are enough, and the others can be fetched", async (t) => {
  const page = await open(t, { script: { ...plain, subset: true } });
  await say(page, { kind: "no-data", message: "The recordings of the other people did not arrive (Failed to fetch)." });
  await page.getByText("did not arrive (Failed to fetch)").waitFor();
  assert.ok(await tune(page).isEnabled());
  await page.getByRole("button", { name: "Fetch them again" }).click();
  await page.getByText("subset", { exact: true }).waitFor({ state: "detached" });
  assert.equal(await page.getByText("did not arrive").count(), 0);
});

test("a GPU that is lost again and again while it is prepared: try again, or take another", async (t) => {
  for (const way of ["Try again", "Take the fastest there is"]) {
    const page = await open(t);
    await tune(page).and(page.locator(":enabled")).waitFor();
    await page.evaluate(() => {
      const { double } = window;
      double.prepare = ({ id, engine }) => {
        const gpu = { engine: "webgpu", name: "A GPU", software: false, ...(double.mended ? { step: 0.001, run: 4 } : { problem: "It was lost twice within a minute: the device was lost." }) };
        double.say({ kind: "engines", engines: [gpu, { engine: "cpu", name: "", software: true, step: 0.004, run: 12 }], faster: engine ?? "cpu" });
        double.say({ kind: "settled", id });
      };
      double.prepare(double.prepared);
      double.mended = true;
    });
    await bar(page).getByText("GPU cannot be used. It was lost twice within a minute").waitFor();
    assert.ok(await tune(page).isDisabled());
    await bar(page).getByRole("button", { name: way, exact: true }).click();
    await tune(page).and(page.locator(":enabled")).click();
    await page.getByRole("heading", { name: "Result" }).waitFor();
  }
});

test("a device lost in a run, and lost again: what was finished stays, and the processor goes on", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  await say(page, { kind: "recovering", engine: "webgpu" });
  await bar(page).getByText("The device was lost; opening a new one").waitFor();
  await say(page, { kind: "recovering", engine: "cpu" });
  await bar(page).getByText("The GPU was lost twice; the processor goes on").waitFor();
  assert.ok(await page.getByRole("radio", { name: /^Processor/ }).isChecked());
  await page.evaluate(() => {
    window.double.iterate({ steps: 20, budget: 36, hyperparameters: ["lr", "momentum", "l2"] }, 2);
    window.double.finish("finished", 3);
  });
  await page.getByText("The GPU was lost twice within a minute, so the processor did the rest of this run.").waitFor();
  await bar(page).getByText("Finished after 5.6 of 36 trainings").waitFor();
});

test("a run that fails says why, keeps what it finished, and another can be started", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  await say(page, { kind: "failed", stage: "run", message: "The device ran out of memory: `states` takes 3 GiB." });
  await bar(page).getByText("ran out of memory").waitFor();
  await bar(page).getByText("2 outer iterations had been finished, 6.6 of 36 trainings spent; they are below.").waitFor();
  await page.getByRole("heading", { name: "How the run went" }).waitFor();
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
  await page.getByRole("button", { name: "Tune again" }).and(page.locator(":enabled")).waitFor();
});

test("a worker that throws in mid-run: what was finished stays, and the engine can be started again", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  await say(page, { kind: "broke", message: "The engine stopped: unreachable.", again: true });
  await bar(page).getByText("The engine stopped: unreachable.").waitFor();
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
  await button(page, "Start the engine again").click();
  await page.getByRole("button", { name: "Tune again" }).and(page.locator(":enabled")).waitFor();
  await page.getByRole("heading", { name: "Outer loss" }).waitFor();
});

test("an engine that says nothing for half a minute is spoken of, and can be started again", async (t) => {
  const page = await open(t, { script: { ...long, silent: ["stop"] }, prepare: (page) => page.clock.install() });
  await page.clock.runFor(2000);
  await tune(page).and(page.locator(":enabled")).waitFor();
  await tune(page).click();
  await page.clock.runFor(1000);
  await button(page, "Stop").click();
  await page.clock.runFor(31_000);
  await bar(page).getByText("Nothing was heard from the engine for half a minute").waitFor();
  await button(page, "Start the engine again").click();
  await page.clock.runFor(2000);
  await page.getByRole("button", { name: "Tune again" }).and(page.locator(":enabled")).waitFor();
});

test("preparation that a run interrupted goes on after it", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  const before = (await asked(page)).filter((kind) => kind === "prepare").length;
  await button(page, "Stop").click();
  await page.getByRole("button", { name: "Tune again" }).and(page.locator(":enabled")).waitFor();
  assert.equal((await asked(page)).filter((kind) => kind === "prepare").length, before + 1);
});

// Focus, and what stays of a run.

test("the focus goes with the work: start, pause, resume, stop, result", async (t) => {
  const page = await open(t, { script: long });
  await tune(page).and(page.locator(":enabled")).focus();
  await page.keyboard.press("Enter");
  await button(page, "Pause").waitFor();
  assert.equal(await focused(page), "Pause");
  await page.keyboard.press("Enter");
  await button(page, "Resume").waitFor();
  assert.equal(await focused(page), "Resume");
  await page.keyboard.press("Enter");
  await button(page, "Pause").waitFor();
  assert.equal(await focused(page), "Pause");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Step");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Result" }).waitFor();
  assert.equal(await focused(page), "Result");
});

test("a result comes into view and has the focus, wherever the page was scrolled", async (t) => {
  for (const width of [1280, 390]) {
    const page = await open(t, { script: long, width });
    await start(page);
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    await page.evaluate(() => window.double.finish("finished", 2));
    const heading = page.getByRole("heading", { name: "Result" });
    await heading.waitFor();
    await page.waitForTimeout(100);
    const { y } = await heading.boundingBox();
    assert.ok(y >= 0 && y < 300, `${width}: the heading is at ${y}`);
    assert.equal(await focused(page), "Result");
    const covered = await heading.evaluate((element) => {
      const { left, top, height } = element.getBoundingClientRect();
      return !element.contains(document.elementFromPoint(left + 5, top + height / 2));
    });
    assert.equal(covered, false, `${width}: the bar does not cover it`);
  }
});

test("a reader who is busy elsewhere is not taken away, and is told", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  await page.getByText("All outer iterations as a table").focus();
  await page.evaluate(() => window.double.finish("finished", 2));
  await page.getByRole("status").filter({ hasText: "Test accuracy 37.1 % to 84.3 %." }).waitFor({ state: "attached" });
  assert.equal(await focused(page), "All outer iterations as a table");
  await button(page, "See the result").click();
  await bar(page).getByRole("button", { name: "Settings" }).click();
});

test("the focus survives a run without a result, and one that fails", async (t) => {
  const page = await open(t, { script: long });
  await start(page);
  await button(page, "Stop").focus();
  await page.evaluate(() => window.double.say({ kind: "failed", stage: "run", message: "It broke." }));
  await bar(page).getByText("It broke.").waitFor();
  await page.waitForFunction(() => document.activeElement.textContent.trim() === "Tune again");
  await page.keyboard.press("Enter");
  await button(page, "Pause").waitFor();
  await page.evaluate(() => window.double.say({ kind: "broke", message: "It is gone.", again: true }));
  await bar(page).getByText("It is gone.").waitFor();
  assert.match(await focused(page), /It is gone/);
});

test("a control that goes away elsewhere leaves the focus in its card", async (t) => {
  const page = await open(t, { path: "?engine=webgpu#foo=1&seed=3" });
  await tune(page).and(page.locator(":enabled")).waitFor();
  for (const [name, heading] of [["Understood", "Settings"], ["Back to defaults", "Settings"], ["Let the page choose", "Engine"]]) {
    await button(page, name).focus();
    await page.keyboard.press("Enter");
    await button(page, name).waitFor({ state: "detached" });
    await page.waitForFunction((heading) => document.activeElement.textContent.trim() === heading, heading);
  }
  await button(page, "Check the hypergradient").focus();
  await page.keyboard.press("Enter");
  await page.getByText(/^Yes: the hypergradient is right/).waitFor();
  assert.match(await focused(page), /Is the gradient right|Check the hypergradient/);
});

test("the page does not grow with every run", async (t) => {
  const page = await open(t);
  const client = await page.context().newCDPSession(page);
  const counts = [];
  for (let run = 0; run < 10; run++) {
    await tune(page).and(page.locator(":enabled")).click();
    await page.getByRole("heading", { name: "Result" }).waitFor();
    await page.waitForTimeout(300);
    for (let sweep = 0; sweep < 3; sweep++) await client.send("HeapProfiler.collectGarbage");
    const { nodes, jsEventListeners } = await client.send("Memory.getDOMCounters");
    t.diagnostic(`${nodes} nodes`);
    counts.push([await page.evaluate(() => document.querySelectorAll("*").length), nodes, jsEventListeners]);
  }
  const [, , third] = counts;
  for (const [at, name] of ["elements", "nodes", "listeners"].entries())
    assert.ok(counts.slice(3).every((one) => one[at] <= third[at] * 1.01 + 5), `${name}: ${counts.map((one) => one[at])}`);
});

// What a visitor may do that is not foreseen.

/** Drops files on an element as the system does. */
const drop = (page, target, files) =>
  page.locator(target).evaluate((element, files) => {
    const dataTransfer = new DataTransfer();
    for (const [name, content] of files) dataTransfer.items.add(new File([content], name));
    const fire = (type) => element.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
    return [fire("dragover"), fire("drop")];
  }, files);

test("a file dropped anywhere is read, and the browser never leaves for it", async (t) => {
  const page = await open(t);
  await tune(page).and(page.locator(":enabled")).waitFor();
  for (const target of ["h1", "footer", "#settings", "section.bar", "body", "#settings input[type=number] >> nth=0"]) {
    const before = (await asked(page)).filter((kind) => kind === "recordings").length;
    assert.deepEqual(await drop(page, target, [["a.zip", "x"]]), [false, false], `${target}: the browser would open it`);
    await page.waitForFunction((before) => window.double.asked.filter((kind) => kind === "recordings").length === before + 1, before);
  }
});

test("several files are one set of recordings; an empty one, and one in mid-run, are refused with what to do", async (t) => {
  const page = await open(t, { script: long });
  await tune(page).and(page.locator(":enabled")).waitFor();
  await drop(page, "h1", [["a.zip", "x"], ["b.zip", "y"]]);
  await page.waitForFunction(() => window.double.asked.includes("recordings"));
  await page.evaluate(() => window.double.say({ kind: "failed", stage: "data", message: "No." }));
  const before = (await asked(page)).filter((kind) => kind === "recordings").length;
  await drop(page, "h1", [["a.zip", ""]]);
  await page.getByRole("alert").getByText("a.zip is empty.").waitFor();
  await page.getByLabel("Open your recordings").setInputFiles({ name: "empty.zip", mimeType: "application/zip", buffer: Buffer.alloc(0) });
  await page.getByRole("alert").getByText("empty.zip is empty.").waitFor();
  await start(page);
  await drop(page, "h1", [["a.zip", "x"]]);
  await page.getByRole("alert").getByText("A run is under way on other data.").waitFor();
  assert.equal((await asked(page)).filter((kind) => kind === "recordings").length, before);
});

test("a file that cannot be read ends the reading", async (t) => {
  const gone = () => {
    const entry = { isFile: true, fullPath: "/a.zip", file: (_, fail) => fail(new Error("it went away")) };
    DataTransferItem.prototype.webkitGetAsEntry = () => entry;
  };
  const page = await open(t, { prepare: (page) => page.addInitScript(gone) });
  await tune(page).and(page.locator(":enabled")).waitFor();
  await drop(page, "h1", [["a.zip", "x"]]);
  await page.getByRole("alert").getByText("What was dropped cannot be read (it went away)").waitFor();
  await page.getByText("Open your recordings").waitFor();
});

test("one's own data are on the command line, quoted, and in the address; the built-in ones come back", async (t) => {
  const page = await open(t);
  await tune(page).and(page.locator(":enabled")).waitFor();
  await page.evaluate(() => window.double.load("it's mine.zip"));
  await page.getByText("The same run on the command line").click();
  const line = page.locator("#settings code");
  assert.match(await line.innerText(), / --data 'it'\\''s mine\.zip'$/);
  await tune(page).and(page.locator(":enabled")).click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
  assert.match(hash(page), /&data=it's%20mine\.zip$|&data=it%27s%20mine\.zip$/);
  await button(page, "Back to the built-in data").click();
  await page.waitForFunction(() => /&data=builtin$/.test(location.hash));
  assert.doesNotMatch(await line.innerText(), /--data/);
  assert.equal(await button(page, "Back to the built-in data").count(), 0);
});

test("a link of a run on one's own data asks for them, and does not run on others unasked", async (t) => {
  const page = await open(t, { path: "?engine=cpu#steps=5&data=mine.zip" });
  await bar(page).getByText("The address is of a run on mine.zip").waitFor();
  assert.ok(await tune(page).isDisabled());
  await button(page, "Take the built-in data").click();
  await tune(page).and(page.locator(":enabled")).waitFor();
});

test("a refused clipboard is said, and the line is selected", async (t) => {
  const page = await open(t, { prepare: (page) => page.addInitScript(() => (Clipboard.prototype.writeText = () => Promise.reject(new DOMException("no", "NotAllowedError")))) });
  await page.getByText("The same run on the command line").click();
  await button(page, "Copy").click();
  await page.getByRole("alert").getByText("The browser does not let the page copy.").waitFor();
  assert.match(await page.evaluate(() => getSelection().toString()), /^stackelberg tune --network/);
});

test("numbers out of range are said, not bent in silence", async (t) => {
  const page = await open(t);
  for (const [label, typed, shown, said] of [
    ["Training steps", "5000000", "1000000", "Training steps: “5000000” is out of range; 1000000 is the most, and is taken."],
    ["Batch", "0", "1", "Batch: “0” is out of range; 1 is the least, and is taken."],
    ["Seed", "-7", "0", "Seed: “-7” is out of range; 0 is the least, and is taken."],
    ["Budget", "2.5", "36", "Budget: “2.5” is not a whole number from 1 to 4294967295; 36 is taken."],
    ["Budget", "", "36", "Budget: nothing is not a whole number from 1 to 4294967295; 36 is taken."],
  ]) {
    await field(page, label, typed);
    assert.equal(await number(page, label).inputValue(), shown);
    await page.getByRole("alert").getByText(said).waitFor();
  }
  await field(page, "Budget", "7");
  assert.equal(await page.getByRole("alert").count(), 0, "a good number ends it");
});

test("a run that is foretold to take hours is asked about first", async (t) => {
  const page = await open(t, { script: { ...long, hours: 913 } });
  await tune(page).and(page.locator(":enabled")).click();
  await bar(page).getByText("This run would take about 38 days on this GPU. Start it all the same?").waitFor();
  assert.equal(await focused(page), "Not now");
  await shoot(page, "asking-1280-light");
  assert.ok(!(await asked(page)).includes("start"));
  await page.keyboard.press("Enter");
  await tune(page).waitFor();
  assert.match(await focused(page), /^Tune a model/);
  await page.keyboard.press("Enter");
  await button(page, "Start it").click();
  await button(page, "Pause").waitFor();
  assert.ok((await asked(page)).includes("start"));
});

test("a browser that gives no storage is no reason to fail", async (t) => {
  const none = () =>
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("no", "SecurityError");
      },
    });
  const page = await open(t, { prepare: (page) => page.addInitScript(none) });
  await page.getByLabel("Dark").check();
  await tune(page).and(page.locator(":enabled")).click();
  await page.getByRole("heading", { name: "Result" }).waitFor();
});

test("two tabs go their own ways", async (t) => {
  const one = await open(t, { script: long });
  const other = await open(t, { path: "?engine=cpu#seed=4" });
  await start(one);
  await tune(other).and(other.locator(":enabled")).click();
  await other.getByRole("heading", { name: "Result" }).waitFor();
  assert.ok(await button(one, "Pause").isVisible());
});

test("a record that cannot be drawn costs its pictures, not the page", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 0 }, expected: [/svelte\.dev\/e\/derived_inert/] });
  await tune(page).and(page.locator(":enabled")).click();
  await button(page, "Pause").waitFor();
  await say(page, record([parameter("learning_rate", "lr", -0.2), parameter("momentum", "momentum", 0.1, 0.5)]));
  await say(page, record([parameter("learning_rate", "lr", -0.2)], 2));
  await page.getByRole("heading", { name: "This run cannot be shown" }).waitFor();
  await button(page, "Stop").click();
  await page.getByRole("button", { name: "Tune again" }).and(page.locator(":enabled")).waitFor();
});

test("every jump ends beside the bar, not under it", async (t) => {
  const page = await open(t, { script: long, width: 1280 });
  await start(page);
  const under = await page.evaluate(() => {
    const bar = document.querySelector("section.bar").getBoundingClientRect();
    const all = [...document.querySelectorAll("summary, .card button:enabled, .card select:enabled")];
    return all.reverse().flatMap((control) => {
      control.focus();
      const { top, bottom, height } = control.getBoundingClientRect();
      return height > 0 && bottom > bar.top && top < bar.height ? [control.outerHTML.slice(0, 100)] : [];
    });
  });
  assert.deepEqual(under, []);
});

// What is said of a run.

const record = (hyperparameters, iteration = 1, loss = 1, pastEdge = false) => ({
  kind: "outer", iteration, spent: 3.6 * iteration, loss, differentiated: true, pastEdge, accepted: true, seconds: 1, hyperparameters,
});
const parameter = (name, group, hypergradient, value = 0.01) => ({ name, group, value, hypergradient });

test("an exploded hypergradient is no ordinary arrow, and one of exactly 0 is explained", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 0 }, path: "#steps=1" });
  await tune(page).and(page.locator(":enabled")).click();
  await button(page, "Pause").waitFor();
  await say(page, record([parameter("learning_rate", "lr", -1.9e5), parameter("momentum", "momentum", 0, 0.5), parameter("l2.conv1", "l2", 0.2)]));
  const row = (name) => page.locator("table", { hasText: "Hypergradient" }).getByRole("row", { name });
  await row(/^Learning rate/).getByText("exploded").waitFor();
  assert.equal(await row(/^Learning rate/).locator("path.tip").count(), 0);
  assert.equal(await row(/^L2 conv1/).locator("path.tip").count(), 1);
  await page.getByText(/^Exploded: Learning rate\./).waitFor();
  await page.getByText("Momentum is exactly 0: it acts through the steps before, and a training of one step has none.").waitFor();
});

test("a hypergradient past the edge is noise and no arrow, and the arrow is labelled with where it was taken", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 0 } });
  await tune(page).and(page.locator(":enabled")).click();
  await button(page, "Pause").waitFor();
  const alone = (iteration) => ({ ...record([{ name: "learning_rate", group: "lr", value: 0.02 }], iteration), differentiated: false });
  await say(page, record([parameter("learning_rate", "lr", -0.2)]));
  await say(page, alone(2));
  const table = page.locator("table", { hasText: "Hypergradient" });
  await table.getByRole("columnheader", { name: "Hypergradient at iteration 1" }).waitFor();
  await page.getByText("The arrow begins where the hypergradient was taken, at outer iteration 1").waitFor();
  assert.equal(await table.locator("path.tip").count(), 1);
  await say(page, record([parameter("learning_rate", "lr", -9)], 3, 1, true));
  await table.getByRole("columnheader", { name: "Hypergradient at iteration 3" }).waitFor();
  await table.getByText("noise").waitFor();
  assert.equal(await table.locator("path.tip").count(), 0);
  await page.getByText(/^Noise: at outer iteration 3 training is past the edge of stability/).waitFor();
  await page.getByText("All outer iterations as a table").click();
  const rows = page.getByRole("region", { name: "All outer iterations" }).locator("tbody tr");
  assert.deepEqual(await rows.locator("td:nth-child(3)").allInnerTexts(), ["∇", "", "∇ noise"]);
  assert.deepEqual(await rows.locator("td:nth-child(2)").allInnerTexts(), ["3.6", "7.2", "10.8"]);
});

test("a run that patience ends says so, and one that gains nothing on the test people says that first", async (t) => {
  const page = await open(t, { script: long, path: "?engine=webgpu#compare=false" });
  await start(page);
  await bar(page).getByText("6.6 of 36 trainings spent").waitFor();
  await page.evaluate(() => window.double.finish("finished", 2, 52, true));
  const card = page.locator("section", { has: page.getByRole("heading", { name: "Result" }) });
  await card.getByText("Patience ended the run: its last trainings lowered the outer loss by less than 1 %.").waitFor();
  assert.equal(await card.locator("p").first().innerText(), "The tuned network is not better than the start on the 2 people the model never saw.");
  await bar(page).getByText("Test accuracy 37.1 % → 37.1 %: not better than the start").waitFor();
  await bar(page).getByText("Ended early, as nothing was gained any more, after 4.6 of 36 trainings").waitFor();
  assert.equal(await page.locator(".up").count(), 0);
});

test("“now” becomes “tuned” with the values that were kept", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 0 } });
  await tune(page).and(page.locator(":enabled")).click();
  await button(page, "Pause").waitFor();
  for (const [iteration, loss, value] of [[1, 1, 0.01], [2, 0.5, 0.02], [3, 0.9, 0.04]])
    await say(page, record([parameter("learning_rate", "lr", -0.2, value)], iteration, loss));
  const table = page.locator("table", { hasText: "Hypergradient" });
  await table.getByRole("columnheader", { name: "Now" }).waitFor();
  assert.equal(await table.locator("td.now").innerText(), "0.0400");
  await page.evaluate(() => window.double.finish("finished", 2));
  await table.getByRole("columnheader", { name: "Tuned" }).waitFor();
  assert.equal(await table.locator("td.now").innerText(), "0.0200");
  await page.getByText(/filled is what was kept, the values of iteration 2/).waitFor();
});

test("a network that never names an activity right is not praised", async (t) => {
  const page = await open(t, { script: { ...plain, stopAfter: 1 } });
  await tune(page).and(page.locator(":enabled")).click();
  await button(page, "Pause").waitFor();
  await page.evaluate(() => {
    const right = 20;
    const confusion = Array.from({ length: 36 }, (_, at) => ((at % 7 === 0 && at < 28) || (at >= 24 && at % 6 === 0) ? right : 0));
    window.double.say({ kind: "evaluation", which: "after", loss: 1, accuracy: 0.51, macroF1: 0.4, f1: [0.6, 0.6, 0.6, 0.6, 0, 0], precision: [0.6, 0.6, 0.6, 0.6, 0, 0], recall: [1, 1, 1, 1, 0, 0], confusion });
    window.double.say({ kind: "done", ending: "finished", best: 1, spent: 3.6, hypergradients: 1, pastEdge: 0, settled: false, method: "probe-descent", reason: "", seconds: 1, files: [] });
  });
  await page.getByText("Standing and laying are never named right (F1 0), so the accuracy alone says little").waitFor();
  await bar(page).getByText("2 activities never named right").waitFor();
  assert.equal(await page.locator(".up").count(), 0);
});

test("the forecast is corrected while a run is under way", async (t) => {
  const page = await open(t, { script: long });
  await page.getByText("about 4.0 s for this run").waitFor();
  await start(page);
  await say(page, { kind: "progress", iteration: 3, phase: "training", step: 1, steps: 20, spent: 4.7, seconds: 100, secondsLeft: 17 });
  await page.getByText("about 1 min 57 s for this run").waitFor();
  assert.equal(await page.getByText("about 4.0 s for this run").count(), 0);
});

test("an activity without training people is named", async (t) => {
  const page = await open(t);
  await tune(page).and(page.locator(":enabled")).waitFor();
  await page.evaluate(() => window.double.load("builtin", { classes: ["walking", "sitting"].map((name, at) => ({ name, windows: 10, training: 10 * at })) }));
  await page.getByText("No training person has walking").waitFor();
});

// At every width.

for (const width of [320, 390, 1280])
  test(`nothing needs more than ${width} px, at any stage`, async (t) => {
    const fits = async (page, name) => {
      const out = await page.evaluate(() => {
        const right = (element) => element.getBoundingClientRect().right;
        // What scrolls in a box of its own, or is drawn, may be wider than its card.
        const free = ".scroll *, .wide[tabindex] *, svg *, .visually-hidden, .visually-hidden *";
        return [...document.querySelectorAll("body *")]
          .filter((element) => !element.matches(free))
          .filter((element) => right(element) > Math.min(innerWidth, right(element.closest(".card, .bar") ?? document.body)) + 0.5)
          .map((element) => element.outerHTML.slice(0, 120));
      });
      assert.deepEqual(out.slice(0, 3), [], `${name}: ${out.length} reach beyond their card`);
      const needed = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(needed <= width, `${name}: ${needed} px are needed`);
      await shoot(page, `${name}-${width}-light`);
    };
    const page = await open(t, { script: { ...long, software: true }, width, path: "?engine=webgpu#steps=99999&foo=1" });
    await tune(page).and(page.locator(":enabled")).waitFor();
    await page.getByText("The same run on the command line").click();
    await page.getByText("All ways, their time and memory").click();
    await fits(page, "first-load");
    await page.evaluate(() => window.double.load("a_very_long_name_of_a_file_without_any_space_in_it_at_all_of_my_own.zip"));
    await tune(page).and(page.locator(":enabled")).waitFor();
    await start(page);
    const names = ["learning_rate", "momentum", "l2.conv1", "l2.conv2", "l2.dense1", "l2.dense2"];
    const groups = ["lr", "momentum", "l2", "l2", "l2", "l2"];
    await say(page, record(names.map((name, at) => parameter(name, groups[at], [-1.9e5, 0, 0.2][at] ?? 0.1)), 3));
    await fits(page, "running");
    await page.evaluate(() => window.double.finish("finished", 2));
    await page.getByRole("heading", { name: "Result" }).waitFor();
    await page.getByText("All outer iterations as a table").click();
    await button(page, "Check the hypergradient").and(page.locator(":enabled")).click();
    await page.getByText(/^Yes: the hypergradient is right/).waitFor();
    await fits(page, "result");
    await say(page, { kind: "broke", message: "The engine stopped: RuntimeError: unreachable executed at stackelberg_bg.wasm:wasm-function[1234]:0x5678.", again: true });
    await button(page, "Start the engine again").waitFor();
    await fits(page, "failure");
  });
