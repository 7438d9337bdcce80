// Recordings of a visitor's own, from the file that nobody prepared to the network that is taken home and comes back.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, open as openFile, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inWorker, openPage, PATIENCE, shared, shoot } from "./browser.mjs";
import { zip } from "./zip.mjs";

const timeout = 5 * PATIENCE;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Keeps the modules' memories, to ask how large they have become. */
const memory = `{
  const memories = [];
  const { instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (...given) => {
    const made = await instantiateStreaming(...given);
    memories.push(made.instance.exports.memory);
    self.held = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
    return made;
  };
}`;

/** Opens the page on the processor, with the first built-in people only. */
async function open(t, { hash = "", width = 1280 } = {}) {
  const page = await openPage(t, {
    path: `?engine=cpu${hash}`,
    width,
    async prepare(page) {
      await inWorker(memory)(page);
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.route(/rest.*\.bin/, () => {});
    },
  });
  page.setDefaultTimeout(timeout);
  await live(page).waitFor();
  return page;
}

const live = (page) => page.getByRole("button", { name: /^Tune/, disabled: false });
const wizard = (page) => page.locator(".wizard");
const file = (name, text) => ({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
const give = (page, ...files) => page.getByLabel("Open your recordings").setInputFiles(files);
/** What the wizard says of the data that came of it. */
const outcome = async (page, text) => wizard(page).getByRole("status").filter({ hasText: text }).waitFor();

async function hash(page) {
  await wizard(page).locator("details").evaluate((details) => (details.open = true));
  return wizard(page).locator("code").filter({ hasText: /^[0-9a-f]{16}$/ }).innerText();
}

async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}

async function saved(page, name) {
  const download = page.waitForEvent("download");
  // A run that was opened offers its files beside its network, too.
  await page.getByRole("button", { name: `Download ${name}` }).first().click();
  return readFile(await (await download).path());
}

async function emptyFolder(t) {
  const folder = await mkdtemp(`${tmpdir()}/recordings-`);
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

/** Samples of somebody who walks, then sits: 400 at 25 a second, with a header that says little. */
function table(person, { names = "Time (s),acc x (g),acc y (g),what", labelled = true, scale = 1 } = {}) {
  const rows = Array.from({ length: 400 }, (_, at) => {
    const [pitch, label] = at < 200 ? [0.9, "walk"] : [0.1, "sit"];
    const wave = (c) => (scale * Math.sin(at * pitch + c + person)).toFixed(3);
    return [(at * 0.04).toFixed(2), wave(0), wave(1), ...(labelled ? [label] : [])].join(",");
  });
  return `${[names, ...rows].join("\n")}\n`;
}
const people = ["anna", "ben", "cleo", "dora", "emil"];
const tables = people.map((name, at) => [`${name}.csv`, table(at)]);

test("a table, several, a folder, a zip and a zip in a zip are the same data", { timeout }, async (t) => {
  const page = await open(t);
  const all = async (give) => {
    await give();
    await outcome(page, "5 people");
    await outcome(page, "2 classes");
    return hash(page);
  };
  const files = tables.map(([name, text]) => file(name, text));
  const several = await all(() => give(page, ...files));
  assert.match(several, /^[0-9a-f]{16}$/);
  const forms = {
    "semicolons and decimal commas": (text) => text.replaceAll(",", ";").replaceAll(".", ","),
    "tabs and Windows line ends": (text) => text.replaceAll(",", "\t").replaceAll("\n", "\r\n"),
    "bars, quotes and a byte order mark": (text) => `\ufeff${text.replace(/[^,\n]+/g, '"$&"').replaceAll(",", "|")}`,
    "no names of columns": (text) => text.slice(text.indexOf("\n") + 1),
    "remarks before the table": (text) => `# from a watch\n# 2024\n${text}`,
  };
  for (const [form, write] of Object.entries(forms)) {
    await give(page, ...tables.map(([name, text]) => file(name.replace(".csv", `-${Object.keys(forms).indexOf(form)}.csv`), write(text))));
    await wizard(page).getByRole("heading", { name: `anna-${Object.keys(forms).indexOf(form)}.csv` }).waitFor();
    await outcome(page, "5 people");
    assert.equal(await hash(page), several, form);
  }
  await page.getByRole("button", { name: "Back to the built-in data" }).click();
  await wizard(page).waitFor({ state: "detached" });
  const inner = zip(tables);
  assert.equal(await all(() => give(page, { name: "watch.zip", mimeType: "application/zip", buffer: inner })), several);
  assert.equal(await all(() => give(page, { name: "outer.zip", mimeType: "application/zip", buffer: zip([["watch.zip", inner]]) })), several);
  // A person's own column says the same as a file's name.
  const [header] = tables[0][1].split("\n");
  const one = [`who,${header}`, ...tables.flatMap(([name, text]) => text.trim().split("\n").slice(1).map((row) => `${name.slice(0, -4)},${row}`))];
  await give(page, file("all.csv", one.join("\n")));
  await wizard(page).getByRole("heading", { name: "How all.csv is read" }).waitFor();
  // Of two columns of words the first was taken for the label.
  await page.getByLabel("What column what is").selectOption("label");
  await outcome(page, "2 classes");
  await page.getByLabel("What column who is").selectOption("person");
  await outcome(page, "5 people");
  assert.equal(await hash(page), several);
});

test("a folder is read with what its folders say", { timeout }, async (t) => {
  const page = await open(t);
  const folder = await emptyFolder(t);
  for (const [name, text] of tables)
    for (const [activity, from] of [["walk", 1], ["sit", 201]]) {
      await mkdir(`${folder}/${activity}`, { recursive: true });
      const lines = text.split("\n");
      const rows = [lines[0], ...lines.slice(from, from + 200)].map((line) => line.split(",").slice(0, 3).join(","));
      await writeFile(`${folder}/${activity}/${name}`, rows.join("\n"));
    }
  await page.getByLabel("Open a folder").setInputFiles(folder);
  await outcome(page, "2 classes, 5 people");
  assert.equal(await wizard(page).getByLabel("Labels stand in").inputValue(), "folder");
  assert.equal(await wizard(page).getByLabel("People stand in").inputValue(), "file");
});

test("real recordings are the same data as natively, and as the wizard is told otherwise", { timeout }, async (t) => {
  const page = await open(t);
  await give(page, fileURLToPath(new URL("../recordings/volunteers.csv", import.meta.url)));
  await outcome(page, "16 windows");
  // tests/cli_own_data.rs has the same.
  assert.equal(await hash(page), "3a1d5ec144794a17");
  await wizard(page).getByRole("img", { name: "A window of walking" }).waitFor();
  await wizard(page).getByLabel("Samples of a window").fill("64");
  await wizard(page).getByLabel("Samples of a window").blur();
  await outcome(page, "of 1.28 s");
  await page.getByLabel("What column acc z (g) is").selectOption("unused");
  await wizard(page).getByRole("row", { name: /acc z/ }).and(page.locator(".unused")).waitFor();
  await page.getByLabel("What column activity is").selectOption("unused");
  await wizard(page).getByRole("alert").getByText("nothing says what is done in the recordings").waitFor();
  await page.getByLabel("What column activity is").selectOption("label");
  await outcome(page, "2 classes");
  // As `data inspect --window 64 --columns "channels=acc x, acc y"` prints it.
  assert.equal(await hash(page), "8e017f8317d11bda");
  await page.getByText("Windows of each activity").waitFor();
});

for (const width of [1280, 390])
  test(`the wizard has no fault of access, and fits ${width} px`, { timeout }, async (t) => {
    const page = await open(t, { width });
    await give(page, ...tables.map(([name, text]) => file(name, text)));
    await outcome(page, "5 people");
    assert.deepEqual(await violations(page), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0, "nothing scrolls sideways");
    await shoot(page, `wizard-${width}-light`);
  });

test("from recordings to a network that is taken home, tells of new ones, and comes back", { timeout }, async (t) => {
  const page = await open(t, { hash: "#steps=20&budget=4&batch=8" });
  await give(page, ...tables.map(([name, text]) => file(name, text)));
  await outcome(page, "5 people");
  await live(page).click();
  await page.getByRole("heading", { name: /^Result/ }).waitFor();
  const result = JSON.parse(await saved(page, "result.json"));
  assert.equal(result.data.fingerprint, await hash(page));
  assert.deepEqual(result.data.people, { training: [1, 2], validation: [3], test: [4, 5] });
  assert.deepEqual([result.configuration.rate, result.configuration.window, result.configuration.columns.person], [25, 64, "file"]);
  const onnx = await saved(page, "model.onnx");
  assert.ok(onnx.includes("windows") && onnx.includes("probabilities") && onnx.includes("rate_hz"));
  const card = JSON.parse(await saved(page, "card.json"));
  assert.deepEqual([card.labels, card.channels, card.split.test], [["sit", "walk"], ["acc x", "acc y"], [4, 5]]);
  const settings = (await saved(page, "run.toml")).toString();
  assert.match(settings, /^\[columns\]$/m);
  assert.match((await saved(page, "report.html")).toString(), /<svg[^]*Outer loss[^]*<h2>Outer iterations<\/h2>/);
  assert.equal((await saved(page, "metrics.jsonl")).toString().trim().split("\n").length, result.iterations);

  // The test people alone are told of as they were scored.
  const predict = (...files) => page.getByLabel("Tell of new recordings").setInputFiles(files);
  const test = tables.slice(3).map(([name, text]) => file(name, text));
  const told = async () => (await saved(page, "told.csv")).toString().trim().split("\n").map((line) => line.split(","));
  await predict(...test);
  await page.getByRole("heading", { name: /^\d+ windows of dora.csv and 1 more$/ }).waitFor();
  const [head, ...rows] = await told();
  assert.deepEqual(head, ["file", "person", "seconds", "label", "class", "sit", "walk"]);
  const right = rows.filter(([, , , label, name]) => label === name).length;
  assert.equal(right / rows.length, result.end.test.accuracy);
  assert.deepEqual(await violations(page), []);
  await shoot(page, "told-1280-light");

  // So tells the ONNX file, of the same windows cut here.
  const python = process.env.STACKELBERG_PYTHON ?? "python3";
  if (spawnSync(python, ["-c", "import onnxruntime, numpy"]).status === 0) {
    const raw = tables.slice(3).map(([, text]) => text.trim().split("\n").slice(1).map((row) => row.split(",").slice(1, 3).map(Number)));
    const cut = rows.flatMap(([file, , seconds]) => raw[file === "dora.csv" ? 0 : 1].slice(Math.round(25 * seconds)).slice(0, 64).flat());
    const folder = await emptyFolder(t);
    await writeFile(`${folder}/model.onnx`, onnx);
    await writeFile(`${folder}/windows.bin`, new Uint8Array(Float32Array.from(cut).buffer));
    const script =
      "import json, numpy, onnxruntime\n" +
      "session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])\n" +
      "print(json.dumps(session.run(None, {'windows': numpy.fromfile('windows.bin', '<f4').reshape(-1, 64, 2)})[0].tolist()))";
    const theirs = JSON.parse(execFileSync(python, ["-c", script], { cwd: folder }));
    assert.equal(theirs.length, rows.length);
    rows.forEach((row, at) => row.slice(5).forEach((told, c) => assert.ok(Math.abs(told - theirs[at][c]) < 1e-5, `${told} and ${theirs[at][c]}`)));
  } else t.diagnostic(`${python} lacks onnxruntime; STACKELBERG_PYTHON names another`);

  // Another unit, no labels; and recordings that lack a channel.
  await predict(file("metres.csv", table(9, { labelled: false, names: "t,acc x,acc y", scale: 9.81 })));
  await page.getByText("m/s² for g?").first().waitFor();
  await predict(file("other.csv", table(9, { labelled: false, names: "t,gyro x,gyro y" })));
  await page.getByRole("alert").getByText("there is no column `acc x (g)`").waitFor();

  // What was taken home comes back, and tells the same.
  const run = await saved(page, "run.zip");
  const again = await open(t);
  await again.getByLabel("Open a run").setInputFiles({ name: "run.zip", mimeType: "application/zip", buffer: run });
  await again.getByText("The network of run.zip was trained on").waitFor();
  assert.deepEqual(JSON.parse(await saved(again, "result.json")), result);
  await again.getByLabel("Tell of new recordings").setInputFiles(test);
  await again.getByRole("heading", { name: /windows of dora.csv/ }).waitFor();
  assert.deepEqual((await saved(again, "told.csv")).toString().trim().split("\n").length, rows.length + 1);
  assert.deepEqual(await violations(again), []);
  await again.getByLabel("Open a run").setInputFiles(file("notes.zip", "PK no zip"));
  await again.getByRole("alert").getByText(/notes\.zip .*download it again/).waitFor();
});

const mini = shared("data/har/UCI_HAR_Dataset_mini.zip");

test("a copy of UCI HAR is known as one, zipped or not", { timeout, skip: mini ? false : "the shared data are not here" }, async (t) => {
  const page = await open(t);
  const folder = await emptyFolder(t);
  execFileSync("python3", ["-m", "zipfile", "-e", mini, folder]);
  const split = page.getByRole("table", { name: "Windows and people on each side of the split" });
  const seen = [];
  for (const give of [
    () => page.getByLabel("Open your recordings").setInputFiles(mini),
    () => page.getByLabel("Open a folder").setInputFiles(folder),
  ]) {
    await give();
    await page.getByText(["UCI_HAR_Dataset_mini.zip", folder.split("/").at(-1)][seen.length], { exact: true }).waitFor();
    seen.push(await split.innerText());
    assert.equal((await page.getByRole("alert").count()) + (await wizard(page).count()), 0, "nothing is guessed");
    await live(page).waitFor();
  }
  assert.match(seen[0], /Training\s+300 windows\s+5 people/);
  assert.equal(seen[0], seen[1]);
});

test("a file is read where it lies: changed behind the page's back it is left out and named, and the others stay", { timeout }, async (t) => {
  const page = await open(t);
  const folder = await emptyFolder(t);
  const paths = tables.map(([name]) => `${folder}/${name}`);
  for (const [at, [, text]] of tables.entries()) await writeFile(paths[at], text);
  await page.getByLabel("Open your recordings").setInputFiles(paths);
  await outcome(page, "5 people");
  await writeFile(paths[2], "gone");
  await wizard(page).getByLabel("Samples of a window").fill("32");
  await wizard(page).getByLabel("Samples of a window").blur();
  await outcome(page, "4 people");
  await wizard(page).getByText("cleo.csv: it was changed or moved since it was chosen: choose it again").first().waitFor();
  await live(page).waitFor();
});

test("a file of 300 MB fills no more memory than three times its windows and 64 MB", { timeout: 5 * timeout, skip: process.env.LONG ? false : "LONG=1 runs it" }, async (t) => {
  const page = await open(t);
  const path = `${await emptyFolder(t)}/long.csv`;
  const file = await openFile(path, "w");
  await file.write("t,ax (g),ay (g),az (g),gx (rad/s),gy (rad/s),gz (rad/s),activity,person\n");
  // Ten people, three activities, a minute each.
  const rows = 4_100_000;
  for (let row = 0; row < rows; ) {
    let text = "";
    for (const end = Math.min(rows, row + 20_000); row < end; row++) {
      const within = row % 410_000;
      const value = (c) => Math.sin(row * (0.3 + 0.2 * c) + c).toFixed(6);
      text += `${(within * 0.02).toFixed(2)},${[0, 1, 2, 3, 4, 5].map(value).join()},${["walk", "sit", "stand"][Math.floor(row / 3000) % 3]},p${Math.floor(row / 410_000)}\n`;
    }
    await file.write(text);
  }
  t.diagnostic(`${((await file.stat()).size / 1e6).toFixed(0)} MB`);
  await file.close();
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (window.longest = Math.max(window.longest, duration)))).observe({ type: "longtask" });
  });
  const before = await page.workers()[0].evaluate(() => self.held());
  const begun = Date.now();
  await page.getByLabel("Open your recordings").setInputFiles(path);
  await outcome(page, "10 people");
  t.diagnostic(`read in ${((Date.now() - begun) / 1000).toFixed(1)} s; longest task of the page's own thread ${await page.evaluate(() => window.longest)} ms`);
  const windows = Number((await wizard(page).getByRole("status").innerText()).match(/^(\d+) windows/)[1]);
  const kept = windows * 128 * 6 * 4;
  const held = (await page.workers()[0].evaluate(() => self.held())) - before;
  t.diagnostic(`${windows} windows, ${(kept / 1e6).toFixed(0)} MB; the modules’ memories grew by ${(held / 1e6).toFixed(0)} MB`);
  assert.ok(held <= 3 * kept + 64e6);
});

test("recordings that no run can be on say why where they are read, and the data stay", { timeout }, async (t) => {
  const page = await open(t);
  // A sensor that was not plugged in while those were recorded who are trained on.
  const value = (person, row) => (row === 0 ? "gyro" : person < 2 ? 0.25 : row % 7);
  const still = tables.map(([name, text], person) => file(name, text.replace(/\n$/, "").split("\n").map((line, row) => `${line},${value(person, row)}`).join("\n")));
  await give(page, ...still);
  await outcome(page, "5 people");
  await page.getByLabel("What column gyro is").selectOption("signal");
  await wizard(page).getByRole("alert").getByText("gyro has the same value throughout the training windows").waitFor();
  await page.getByRole("table", { name: "Windows and people on each side of the split" }).getByText("1 person").waitFor();
  await page.getByLabel("What column gyro is").selectOption("unused");
  await outcome(page, "5 people");
  await live(page).waitFor();
});

test("files that cannot be read are said in sentences, and the data stay", { timeout }, async (t) => {
  const page = await open(t);
  const alert = (text) => page.getByRole("alert").filter({ hasText: text }).waitFor();
  const sheet = Buffer.from(table(1), "utf16le");
  for (const [given, said] of [
    [file("empty.csv", ""), "empty.csv is empty"],
    [file("book.xlsx", "PK\u0003\u0004 a workbook"), "export each sheet as CSV"],
    [file("packed.csv.gz", "\u001f"), "unpack it"],
    [file("words.csv", "hello\nworld\n"), "no table of recordings"],
    [{ name: "wide.csv", mimeType: "text/csv", buffer: sheet }, "save it as UTF-8"],
    [file("broken.zip", "PK no zip"), "broken.zip"],
    [file("short.csv", table(1).split("\n").slice(0, 20).join("\n")), "a window has 64"],
    [file("dates.csv", table(1).replace(/^([\d.]+),/gm, (_, seconds) => `03/04/2024 10:00:${seconds.padStart(5, "0")},`)), "which number is the day"],
  ]) {
    await give(page, given);
    await alert(said);
  }
  await page.getByText("12 of 30 people").waitFor();
});
