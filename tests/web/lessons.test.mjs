// The lessons on the real engine: their numbers, read from the page, against known ones; that doubled hypergradients are
// noticed; keyboard, accessibility, phone width, links, pictures, and how fast they move.
import assert from "node:assert/strict";
import { readFile, readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, PATIENCE, shoot } from "./browser.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const dist = fileURLToPath(new URL("../../www/dist/", import.meta.url));

/** Each lesson with an address, and the numbers that are known for it; `doubled` are those of them that are hypergradients or
 * follow from one. */
const lessons = {
  // algorithms.md V3.
  "leader-and-follower": [
    { at: "lambda=0&price=0&rate=0.2&steps=5", known: { total: -0.5330847744 }, doubled: ["total"] },
    { at: "lambda=0&price=0&rate=0.2&steps=10", known: { total: -0.6334836393 }, doubled: ["total"] },
    { at: "lambda=0&price=0.1&rate=0.2&steps=20", known: { direct: 0.1, through: -0.6372858196, total: -0.5372858196 }, doubled: ["through", "total"] },
  ],
  hypergradient: [
    { at: "lambda=0&power=-2&rate=0.2&steps=5", known: { exact: -0.5330847744 }, doubled: ["exact"] },
    { at: "lambda=0&power=-2&rate=0.2&steps=10", known: { exact: -0.6334836393 }, doubled: ["exact"] },
    { at: "lambda=0&power=-2&rate=0.2&steps=20", known: { exact: -0.6372858196 }, doubled: ["exact"] },
  ],
  "how-long": [
    { at: "rate=0.2&steps=5", known: { slope: -0.5330847744 }, doubled: ["slope"] },
    { at: "rate=0.2&steps=10", known: { slope: -0.6334836393 }, doubled: ["slope"] },
  ],
  // algorithms.md A.4: 3 · 20 − C(6, 4) steps, and the last one for the outer loss.
  "forward-or-reverse": [
    { at: "hyperparameters=4&weights=6&steps=20&slots=3", known: { reverse_steps: 46, reverse_derivatives: 20, forward_derivatives: 320 }, doubled: [] },
  ],
  // V1.
  "truncated-and-implicit": [0.050424, 0.0907632, 0.12303456, 0.148851648, 0.1695053184].map((truncated, k) => ({
    at: `effort=${k + 1}&condition=20&steps=5&rate=0.1`, known: { truncated, exact: 0.1695053184 }, doubled: ["truncated", "exact"],
  })),
  // V5.
  "example-weights": [
    { at: "iteration=0&share=0.35&examples=1", known: { slope_right_0: -0.1953125, slope_wrong_0: 0.4296875 }, doubled: ["slope_right_0", "slope_wrong_0"] },
  ],
  // C.6; dE/dλ is (w − 0.3) dw/dλ.
  response: [
    { at: "size=0.1&lambda=0&form=0", known: { weight: 0.5, answer: -0.2493750065, exact_answer: -0.25, hypergradient: -0.05 }, doubled: ["hypergradient"] },
    { at: "size=0.5&lambda=0&form=0", known: { answer: -0.2344669291 }, doubled: [] },
    { at: "size=1&lambda=0&form=0", known: { answer: -0.1918258656 }, doubled: [] },
    { at: "size=1&lambda=0&form=1", known: { weight: 0.4959858622, answer: -0.1902858347 }, doubled: [] },
  ],
  // By the recurrence of one weight, which the native test has: 50 steps of 0.03.
  "search-or-hypergradients": [{ at: "hyperparameters=0&searcher=0&seed=1", known: { slope: 0.004589717603 }, doubled: ["slope"] }],

  // These against what is computed beside it: see below.
  "cutting-planes": [],
  "five-examples": [],
  overfitting: [],
  // B.3.
  "self-tuning-rate": [
    { at: "variant=0&power=-4&start=-2&steps=20", known: { rate_1: 0.01, weight_1: 0.9, rate_2: 0.019, weight_2: 0.729, rate_3: 0.025561, weight_3: 0.54266031, rate_4: 0.02951699366, weight_4: 0.3824833007 }, doubled: ["rate_2", "rate_3", "rate_4", "weight_2", "weight_3", "weight_4"] },
    { at: "variant=1&power=-1&start=-2&steps=20", known: { rate_4: 0.01331, weight_4: 0.6103660851 }, doubled: ["rate_4", "weight_4"] },
    { at: "variant=2&power=-5&start=-2&steps=20", known: { rate_4: 0.01336020119, weight_4: -0.05290895179 }, doubled: ["rate_4", "weight_4"] },
    { at: "variant=3&power=-3&start=-2&steps=20", known: { rate_4: 0.03899310073, weight_4: 0.90166235369 }, doubled: ["rate_4", "weight_4"] },
  ],
};

const done = (page) => page.getByText("All is computed.").waitFor();

async function open(t, lesson, at = "", options = {}) {
  const page = await openPage(t, { path: `lessons.html#lesson=${lesson}&${at}`, ...options });
  await done(page);
  return page;
}

/** A number of the page, as it is written there. */
async function reading(page, name) {
  const text = await page.locator(`dd[data-number="${name}"]`).textContent();
  const [, mantissa, exponent] = /^\s*(−?[\d.]+)(?:·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/.exec(text) ?? [];
  assert.ok(mantissa, `${name} is ${text}`);
  const power = [...(exponent ?? "⁰")].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(c)).map((digit) => (digit < 0 ? "-" : digit)).join("");
  return Number(mantissa.replace("−", "-")) * 10 ** Number(power);
}

/** Whether a number with four digits is this one. */
const near = (got, wanted) => Math.abs(got - wanted) <= 6e-4 * Math.abs(wanted);

for (const [lesson, points] of Object.entries(lessons)) {
  if (points.length > 0) test(`${lesson}: numbers are those that are known, and doubled hypergradients are noticed`, async (t) => {
    for (const { at, known, doubled } of points) {
      const page = await open(t, lesson, at);
      for (const [name, wanted] of Object.entries(known)) {
        const got = await reading(page, name);
        assert.ok(near(got, wanted), `${name} at ${at}: ${got} is not ${wanted}`);
      }
      if (doubled.length === 0) continue;
      const wrong = await open(t, lesson, `${at}&factor=2`);
      for (const name of doubled) {
        const got = await reading(wrong, name);
        assert.ok(!near(got, known[name]), `${name} at ${at} is still ${got}`);
      }
    }
  });

  for (const [size, width, height] of [["desktop", 1280, 900], ["phone", 390, 844]])
    test(`${lesson}: axe finds no fault, and nothing scrolls sideways (${size}, light and dark)`, async (t) => {
      const page = await open(t, lesson, "", { width, height });
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme });
        await shoot(page, `lesson-${lesson}-${width}-${scheme}`);
      }
      for (const summary of await page.locator("summary").all()) if (!(await summary.getAttribute("aria-label"))) await summary.click();
      await page.evaluate(axe);
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme });
        const { violations } = await page.evaluate(() => window.axe.run());
        assert.deepEqual(violations.map(({ id, nodes }) => `${scheme}: ${id}: ${nodes.map(({ target }) => target).join(", ")}`), []);
      }
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0);
    });

  test(`${lesson}: its picture moves while it plays, and the page goes on being drawn`, { timeout: PATIENCE }, async (t) => {
    const page = await open(t, lesson);
    // However long these take: how many there are a second is said, and no reason to fail.
    const [pictures, frames, seconds] = await page.evaluate(async () => {
      const box = document.querySelector(".picture");
      const seen = new Set([box.innerHTML]);
      const observer = new MutationObserver(() => seen.add(box.innerHTML));
      observer.observe(box, { childList: true, subtree: true });
      let frames = 0;
      const begin = performance.now();
      [...document.querySelectorAll("button")].find((button) => button.textContent === "Play").click();
      await new Promise((resolve) => {
        const frame = () => (frames++, seen.size < 8 || frames < 20 ? requestAnimationFrame(frame) : resolve());
        requestAnimationFrame(frame);
      });
      observer.disconnect();
      return [seen.size, frames, (performance.now() - begin) / 1000];
    });
    t.diagnostic(`${(pictures / seconds).toFixed()} pictures and ${(frames / seconds).toFixed()} frames a second`);
  });
}

for (const lesson of Object.keys(lessons))
  test(`${lesson}: its picture and what moves it fit on one screen of a phone`, async (t) => {
    const page = await open(t, lesson, "", { width: 390, height: 844 });
    const [top, bottom] = await page.evaluate(() => [
      document.querySelector(".picture").getBoundingClientRect().top,
      Math.max(...[...document.querySelectorAll("[aria-label='Controls'] :is(input, select, button)")].map((one) => one.getBoundingClientRect().bottom)),
    ]);
    assert.ok(bottom - top <= 844, `${bottom - top} px`);
    t.diagnostic(`${bottom - top} px of 844`);
  });

test("both modes of a doubled engine are far from the exact derivative", async (t) => {
  const at = "hyperparameters=4&weights=6&steps=20&slots=3";
  const right = await open(t, "forward-or-reverse", at);
  const wrong = await open(t, "forward-or-reverse", `${at}&factor=2`);
  for (const mode of ["reverse_error", "forward_error"]) {
    assert.ok((await reading(right, mode)) < 1e-4);
    assert.ok((await reading(wrong, mode)) > 0.5);
  }
});

for (const [lesson, at, number, beside, within = 0.02] of [
  ["overfitting", "iteration=0&windows=60", "slope", "difference"],
  ["five-examples", "round=0&shots=5", "slope", "difference"],
  // algorithms.md C.5: μ S times the gate.
  ["cutting-planes", "cuts=4&epoch=30&multiplier=0.2&follows=0", "push", "exact_push"],
  // A slope that was learned under noise and dropout, against ridge regression.
  ["response", "size=0.5&lambda=1", "first_slope", "exact_first_slope", 0.2],
])
  test(`${lesson}: a derivative is what is found beside it, and a doubled one is not`, async (t) => {
    for (const factor of [1, 2]) {
      const page = await open(t, lesson, `${at}&factor=${factor}`);
      const ratio = (await reading(page, number)) / (await reading(page, beside));
      assert.ok(Math.abs(ratio - factor) < within * factor, `${ratio}`);
    }
  });

test("response: a rate of dropout that tunes itself comes to the best one, from both sides", async (t) => {
  for (const lambda of [-2, 1]) {
    const page = await open(t, "response", `size=0.5&lambda=${lambda}`);
    const best = await reading(page, "best_rate");
    // As `cargo test --test selftune the_best_rate` finds it, to its half step.
    assert.ok(Math.abs(best - 0.36) < 0.0025, `${best}`);
    const begun = await reading(page, "rate");
    // It is told to three digits.
    assert.ok(Math.abs(begun - 1 / (1 + Math.exp(-lambda))) < 0.0006, `${begun}`);
    for (const form of ["centred_rate", "joint_rate"]) {
      const found = await reading(page, form);
      assert.ok(Math.abs(found - best) < 0.04, `${form} from ${begun}: ${found} is not ${best}`);
    }
  }
});

test("a lesson is opened from the list, and both pages know of each other", async (t) => {
  // Whoever leaves a page does not wait for what is still on its way.
  const page = await openPage(t, { path: "lessons.html", expected: [/ERR_ABORTED/] });
  assert.equal(await page.getByRole("listitem").count(), Object.keys(lessons).length);
  const picture = async () => {
    await page.getByRole("link", { name: "2. What a hypergradient is" }).click();
    await done(page);
    const lines = await page.locator(".picture path").count();
    await page.getByRole("link", { name: "All lessons" }).click();
    return lines;
  };
  const lines = await picture();
  assert.equal(await picture(), lines, "what was told once is still there");
  await page.getByRole("heading", { name: "Lessons" }).waitFor();
  await page.getByRole("link", { name: "Studio" }).click();
  await page.getByRole("heading", { name: "Stackelberg studio" }).waitFor();
  await page.getByRole("link", { name: "Lessons" }).click();
  await page.getByRole("heading", { name: "Lessons" }).waitFor();
});

test("a lesson works by keyboard alone", async (t) => {
  const page = await open(t, "leader-and-follower", "lambda=0&price=0&rate=0.2&steps=20");
  const before = await reading(page, "total");
  for (let tries = 0; tries < 40 && !(await page.evaluate(() => document.activeElement?.name === "lambda")); tries++) await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction((before) => document.querySelector("dd[data-number='total']").textContent.trim() !== before, "−0.6373");
  assert.notEqual(await reading(page, "total"), before);
  assert.match(page.url(), /lambda=0\.05&/);
  // The focus stays on the slider.
  await page.keyboard.press(".");
  await page.waitForURL(/lambda=0\.1&/);
  await page.keyboard.press(" ");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.keyboard.press(" ");
  await page.keyboard.press("r");
  await page.waitForURL(/lambda=0&price=0\.1&/);
});

test("a teacher's link hides controls, sets large type, and makes hypergradients wrong", async (t) => {
  const page = await open(t, "hypergradient");
  const size = () => page.evaluate(() => Number.parseFloat(getComputedStyle(document.documentElement).fontSize));
  const small = await size();
  await page.getByText("For teachers").click();
  await page.getByRole("checkbox", { name: "Learning rate" }).check();
  await page.getByRole("checkbox", { name: "Large type for a projector" }).check();
  await page.getByRole("checkbox", { name: /^Make every hypergradient twice/ }).check();
  const link = await page.getByLabel("A link to the page as it stands").inputValue();
  const other = await openPage(t, { path: `lessons.html${new URL(link).hash}` });
  await done(other);
  assert.equal(await other.getByRole("slider", { name: "Learning rate" }).count(), 0);
  assert.ok((await other.evaluate(() => Number.parseFloat(getComputedStyle(document.documentElement).fontSize))) > small);
  assert.ok((await reading(other, "error")) > 0.4, "the difference tells that the hypergradient is doubled");
  await shoot(other, "lesson-projector-1280-light");
});

test("hidden controls are not moved: not by Reset, and what is played is not there to be played", async (t) => {
  const page = await open(t, "leader-and-follower", "lambda=0.5&price=0.3&hide=lambda,price");
  assert.equal(await page.getByRole("button", { name: "Play" }).count(), 0);
  assert.equal(await page.getByRole("button", { name: "Step" }).count(), 0);
  await page.keyboard.press(".");
  await page.getByRole("slider", { name: "Training steps T" }).fill("7");
  await page.waitForURL(/steps=7&/);
  await page.getByRole("button", { name: "Reset" }).click();
  await page.waitForURL(/lambda=0\.5&price=0\.3&steps=20&/);
});

test("a machine of other settings is said to be that, and opened for those at hand", async (t) => {
  const page = await open(t, "leader-and-follower", "steps=20");
  await page.getByText("Open the machine").click();
  await page.getByText("Checkpoint plan", { exact: true }).click();
  const plan = page.getByRole("group", { name: "Checkpoint plan" });
  assert.match(await plan.textContent(), /20 training steps/);
  assert.equal(await page.getByText("This is of other settings.").count(), 0);
  await page.getByRole("slider", { name: "Training steps T" }).fill("30");
  await page.getByText("This is of other settings.").waitFor();
  await page.getByRole("button", { name: "Open it for those at hand" }).click();
  await page.getByText("Checkpoint plan", { exact: true }).click();
  await page.getByText(/30 training steps/).waitFor();
  assert.equal(await page.getByText("This is of other settings.").count(), 0);
});

test("the numbers of a lesson without curves are saved, too", async (t) => {
  const page = await open(t, "overfitting", "iteration=2&windows=12");
  await page.getByLabel("Save the picture").click();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Numbers (CSV)" }).click();
  assert.match(await readFile(await (await download).path(), "utf8"), /\r\ntest_40,,0\.\d+\r\n/);
});

test("large type and wrong hypergradients stay from lesson to lesson", async (t) => {
  const page = await open(t, "hypergradient", "projector=true&factor=2");
  await page.getByRole("link", { name: "All lessons" }).click();
  await page.waitForURL(/#lesson=all&projector=true&factor=2$/);
  assert.ok(await page.evaluate(() => document.documentElement.hasAttribute("data-projector")));
  await page.getByRole("link", { name: "1. Leader and follower" }).click();
  await page.waitForURL(/lesson=leader-and-follower&.*&projector=true&factor=2$/);
  await done(page);
});

test("on paper a page is light, its picture too", async (t) => {
  const page = await open(t, "leader-and-follower", "", { scheme: "dark" });
  const ink = () => page.evaluate(() => [getComputedStyle(document.body).color, document.querySelector(".picture text").getAttribute("fill")]);
  const screen = await ink();
  await page.emulateMedia({ media: "print" });
  await page.waitForFunction((fill) => document.querySelector(".picture text").getAttribute("fill") !== fill, screen[1]);
  const [text] = await ink();
  assert.equal(text, "rgb(19, 31, 42)");
  assert.equal(await page.getByText("Open the machine").isVisible(), false, "nor is there what only a screen can open");
});

/** What each lesson's machine is made of: functions, with formulas, that belong to what is on screen; and what is said of
 * checkpoints. */
const machines = {
  "five-examples": [["meta_task", "meta_step"], /no checkpoint plan: the few steps of a task are one program/],
  "cutting-planes": [["selftune_train", "selftune_cut"], /no checkpoint plan: no step is taken back/],
};
for (const lesson of Object.keys(lessons))
  test(`the machine under ${lesson} is opened: graphs, dispatches with times, shaders, memory and checkpoints`, async (t) => {
    const page = await open(t, lesson);
    await page.getByText("Open the machine").click();
    const [functions, checkpoints] = machines[lesson] ?? [["step", "outer_gradient"], /training step/];
    await page.getByText("Here the dispatches run on the processor.").waitFor();
    for (const name of functions) {
      const part = page.locator("details", { has: page.getByText(name, { exact: true }) }).last();
      const head = part.locator("summary").first();
      assert.ok((await head.innerText()).length > name.length + 10, "it says what it computes");
      await head.click();
      assert.match(await part.getByText(/^Dispatch 1:/).innerText(), /ms|s,/);
      await part.getByText(/^Dispatch 1:/).click();
      assert.match(await part.getByRole("group", { name: `Shader of dispatch 1 of ${name}` }).textContent(), /@compute/);
    }
    for (const [plan, says] of [["Memory plan", /bytes on the device/], ["Checkpoint plan", checkpoints]]) {
      await page.getByText(plan, { exact: true }).click();
      assert.match(await page.getByRole("group", { name: plan }).textContent(), says);
    }
    await page.evaluate(axe);
    assert.deepEqual((await page.evaluate(() => window.axe.run())).violations.map(({ id }) => id), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0);
    await page.getByRole("button", { name: "The formulas of this lesson" }).click();
    assert.ok(await page.locator("math").first().isVisible());
  });

test("a picture is saved as it stands, and its numbers with it", async (t) => {
  const page = await open(t, "truncated-and-implicit");
  for (const [file, pattern] of [["Picture (SVG)", /^<svg [^]*conjugate gradients[^]*<\/svg>/], ["Numbers (CSV)", /^name,x,y\r\n[^]*\r\nexact,,0\./]]) {
    await page.getByLabel("Save the picture").click();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: file }).click();
    const saved = await download;
    assert.match(saved.suggestedFilename(), /^stackelberg-truncated-and-implicit\.(svg|csv)$/);
    assert.match(await readFile(await saved.path(), "utf8"), pattern);
  }
});

test("where less motion is wanted nothing plays, and each step is asked for", async (t) => {
  const page = await open(t, "leader-and-follower", "lambda=0", { prepare: (page) => page.emulateMedia({ reducedMotion: "reduce" }) });
  assert.equal(await page.getByRole("button", { name: "Play" }).count(), 0);
  await page.getByRole("button", { name: "Step" }).click();
  await page.waitForURL(/lambda=0\.05&/);
});

test("what lessons add to the page weighs less than 200 kB", async () => {
  const html = await readFile(`${dist}lessons.html`, "utf8");
  const files = [...html.matchAll(/(?:src|href)="\.\/(assets\/[^"]+\.(?:js|css))"/g)].map(([, file]) => file);
  assert.ok(files.length > 0);
  const sizes = await Promise.all(files.map(async (file) => (await stat(dist + file)).size));
  const bytes = sizes.reduce((sum, size) => sum + size, (await stat(`${dist}lessons.html`)).size);
  assert.ok(bytes < 200_000, `${bytes} bytes in ${files.join(", ")}`);
  assert.ok((await readdir(dist)).includes("index.html"));
});
