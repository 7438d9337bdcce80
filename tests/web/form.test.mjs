// What the form sets, drawn and checked with the real engine, on the processor and with tiny budgets.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { openPage, PATIENCE } from "./browser.mjs";

const timeout = 4 * PATIENCE;

/** Opens the page on the first built-in people alone. */
async function open(t, hash, engine = "cpu") {
  const page = await openPage(t, {
    path: `?engine=${engine}${hash}`,
    async prepare(page) {
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.route(/rest.*\.bin/, () => {});
    },
  });
  await start(page).waitFor();
  return page;
}

const start = (page) => page.locator("section.bar").getByRole("button", { name: /^Tune/, disabled: false });
const result = (page) => page.getByRole("heading", { name: /^Result/ }).waitFor();

async function saved(page, name, encoding = "utf8") {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name, exact: true }).click();
  return readFile(await (await download).path(), encoding);
}

test("what the form sets is what is run, and what its files say", { timeout }, async (t) => {
  const more = `optimizer=adam&learning_rate=0.01&l2=0.002&decay=none&validation_windows=64&split=${encodeURIComponent('{"validation":[3,5]}')}&patience=0`;
  const page = await open(t, `#steps=3&budget=3&batch=16&data=subset&hyperparameters=lr,betas&${more}`);
  await start(page).click();
  await result(page);
  const { configuration, data } = JSON.parse(await saved(page, "Download result.json"));
  const { optimizer, learning_rate, l2, decay, validation_windows, split, patience, hyperparameters } = configuration;
  assert.deepEqual([optimizer, learning_rate, l2, decay, validation_windows, patience], ["adam", 0.01, 0.002, "none", 64, 0]);
  assert.deepEqual([split.validation, data.people.validation, hyperparameters], [[3, 5], [3, 5], ["lr", "betas"]]);
  assert.match(await saved(page, "Download run.toml"), /validation = \[3, 5\]/);
  // What is usual stands where nothing is set, and what does not apply has its reason.
  const card = page.locator("#settings");
  await card.locator("summary").filter({ hasText: "Training and start values" }).click();
  assert.equal(await card.getByRole("textbox", { name: /^Adam’s decay|^Adam's decay/ }).getAttribute("placeholder"), "0.9,0.999");
  await card.getByText(/^Momentum: The inner optimiser is adam.*take inner optimiser momentum/).waitFor({ state: "attached" });
  await card.getByText("More networks").click();
  assert.ok(await card.getByRole("radio", { name: /^cnn2d/ }).isDisabled());
});

test("wrong labels are in the run's settings, so that they are repeated", { timeout }, async (t) => {
  const page = await open(t, "#steps=2&budget=2&batch=16&data=subset&hyperparameters=lr,example-weights&mislabelled=33");
  await start(page).click();
  await result(page);
  assert.match(await saved(page, "Download run.toml"), /^mislabelled = 0\.33$/m);
  await page.getByText("The same run on the command line").click();
  await page.getByText(/--mislabelled 0\.33/).waitFor();
});

test("the next sample is predicted, beside predictors that learn nothing", { timeout }, async (t) => {
  const page = await open(t, "#steps=4&budget=2&batch=16&data=subset&network=mlp&task=prediction-linear");
  await start(page).click();
  await result(page);
  const errors = page.getByRole("table", { name: /Mean squared error of the next sample/ });
  for (const name of ["Start values", "Tuned", "The last sample again", "The mean of the training windows"])
    assert.match(await errors.getByRole("row", { name: new RegExp(`^${name}`) }).innerText(), /\d/);
});

test("a run that predicted comes back from the list and from its zip", { timeout }, async (t) => {
  const hash = "#steps=4&budget=2&batch=16&data=subset&network=mlp&task=prediction-linear";
  const page = await open(t, hash);
  await start(page).click();
  await result(page);
  const errors = (page) => page.getByRole("table", { name: /Mean squared error of the next sample/ });
  const figures = await errors(page).innerText();
  const zip = await saved(page, "Download run.zip", null);
  const again = await open(t, hash);
  const opened = async (page) => {
    await page.getByText("opened", { exact: true }).waitFor();
    assert.equal(await errors(page).innerText(), figures);
    await page.getByText("names no activity").waitFor();
    // What cannot be opened is said once it was read.
    await page.waitForTimeout(2000);
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
    assert.ok(await page.getByLabel("Open a run").isEnabled());
  };
  await page.getByRole("button", { name: /^Show Run of/ }).click();
  await opened(page);
  await again.getByLabel("Open a run").setInputFiles({ name: "run.zip", mimeType: "application/zip", buffer: zip });
  await opened(again);
});

test("a network of one's own layers is trained", { timeout }, async (t) => {
  const page = await open(t, "#steps=2&budget=2&batch=16&data=subset");
  const card = page.locator("#settings");
  await card.getByText("More networks").click();
  await card.getByText("Layers of your own").click();
  const layers = card.getByRole("textbox", { name: "Layers, as JSON" });
  const before = JSON.parse(await layers.inputValue());
  await layers.fill(JSON.stringify([{ type: "flatten" }, { type: "dense", name: "only", in: 1152, out: 5 }]));
  await page.getByRole("button", { name: "Take these layers" }).click();
  await page.locator("section.bar").getByText(/a network with 6 outputs/).waitFor();
  await layers.fill(JSON.stringify([{ type: "flatten" }, { type: "dense", name: "only", in: 1152, out: 6 }]));
  await page.getByRole("button", { name: "Take these layers" }).click();
  await start(page).click();
  await result(page);
  const { configuration } = JSON.parse(await saved(page, "Download result.json"));
  assert.deepEqual(configuration.network.layers.map(({ type }) => type), ["flatten", "dense"]);
  assert.ok(before.length > 4, "the form began with the network at hand");
});

test("a memory budget that a run exceeds is refused in the form, and another is taken", { timeout }, async (t) => {
  const page = await openPage(t, { path: "?engine=cpu#steps=2&budget=2&batch=16&data=subset&memory_budget=1" });
  const bar = page.locator("section.bar");
  await bar.getByText(/a memory budget of .* is too small: .* is needed/).waitFor();
  assert.ok(await bar.getByRole("button", { name: /^Tune/ }).isDisabled());
  await page.locator("#settings summary").filter({ hasText: "The outer optimiser" }).click();
  await page.getByRole("textbox", { name: "Memory" }).fill("64MiB");
  await page.getByRole("textbox", { name: "Memory" }).blur();
  await start(page).waitFor();
});

test("the derivatives of all steps add up to that of the learning rate", { timeout }, async (t) => {
  const page = await open(t, "#steps=6&budget=2&batch=16&data=subset&hyperparameters=lr");
  await page.getByRole("button", { name: "Watch one hypergradient" }).click();
  await page.getByText(/outer loss is .* It took/).waitFor();
  await page.getByLabel("Save the unrolled training").click();
  const rows = (await saved(page, "Numbers (CSV)")).trim().split("\r\n").slice(1).map((line) => line.split(",").map(Number));
  assert.equal(rows.length, 6);
  assert.ok(rows.every(([, loss, slope]) => loss > 0 && slope !== 0), "every step has a loss and a derivative");
  await page.getByRole("button", { name: "Hypergradient at the start values" }).click();
  const told = await page.locator("section:has(#hand) .sliders .muted").innerText();
  const whole = Number(told.replace("∂", "").replace("−", "-").trim());
  // By its logarithm, as it is tuned; two digits are told.
  const rate = Number(await page.locator("section:has(#hand) .sliders .now").innerText());
  const sum = rows.reduce((sum, [, , slope]) => sum + slope, 0) * rate;
  assert.ok(Math.abs(sum - whole) < 0.06 * Math.abs(whole), `${sum} is not ${whole}`);
});

test("reference cases pass on the GPU and the processor, and the report says so", { timeout: 2 * timeout }, async (t) => {
  const page = await open(t, "#steps=2&budget=2&batch=16&data=subset");
  await page.getByText("Self-check", { exact: true }).click();
  await page.getByRole("button", { name: "Check this device" }).click();
  const sentence = /All 14 reference cases \(\d+ results\) passed on the GPU; all 14 .* passed on the processor, held against results in double precision\./;
  await page.getByText(sentence).first().waitFor({ timeout });
  await page.getByText("Device report", { exact: true }).click();
  await page.locator("pre").getByText(/self-check: All 14 reference cases/).waitFor();
});
