// Reference cases through WebGPU and on the processor: those in tests/cases. GOLDEN=all adds the full set of ../shared/golden, where it
// is there; a part of a name instead takes the cases that have it.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, PATIENCE, shared } from "./browser.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const full = shared("golden");
const bundled = `${root}tests/cases`;
/** The module of the page's self-check. */
const extra = `${root}www/extra`;
const wanted = process.env.GOLDEN;

/** The folder of each case by name; a case that lies in both places is run once. */
function cases() {
  const folders = wanted && full ? [full, bundled] : [bundled];
  const paths = folders.flatMap((folder) => readdirSync(folder).map((name) => [name, `${folder}/${name}`]));
  const chosen = (name) => !wanted || wanted === "all" || name.includes(wanted);
  return new Map(paths.filter(([name, path]) => chosen(name) && existsSync(`${path}/case.json`)));
}

/** Serves the module and the cases to a bare page, past the server. */
const prepare = (folders) => async (page) => {
  await page.route("**/verify/**", (route) => {
    const path = decodeURIComponent(new URL(route.request().url()).pathname.split("/verify/")[1]);
    if (path === "") return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>verify</title>" });
    const [folder, name] = path.split("/");
    const file = folder === "pkg" ? `${extra}/${name}` : `${folders.get(folder)}/${name}`;
    const type = { js: "text/javascript", wasm: "application/wasm" }[path.split(".").pop()];
    return route.fulfill({ contentType: type ?? "application/octet-stream", body: readFileSync(file) });
  });
};

const timeout = (wanted ? 60 : 5) * PATIENCE;

for (const [name, recorded] of Object.entries({ webgpu: "gpu", cpu: "cpu" })) {
  test(`reference cases are within tolerance (${name})`, { timeout }, async (t) => {
    if (wanted && !full) t.diagnostic("only the cases of tests/cases: there are none at ../shared/golden (set STACKELBERG_SHARED)");
    assert.ok(existsSync(extra), "www/extra is missing: cargo xtask build-web makes it");
    const folders = cases();
    const page = await openPage(t, { path: `verify/?engine=${name}`, prepare: prepare(folders) });
    const engine = await page.evaluate(async () => {
      const { default: init, Verifier } = await import("/verify/pkg/stackelberg.js");
      await init();
      globalThis.verifier = await Verifier.open(new URLSearchParams(location.search).get("engine"));
      return globalThis.verifier.engine();
    });
    assert.equal(engine, recorded, "nothing stands in for the engine that was asked for");

    const ratios = [];
    const failures = [];
    let unsupported = 0;
    for (const name of folders.keys()) {
      const answer = await page.evaluate(async (name) => {
        const read = async (file) => new Uint8Array(await (await fetch(`/verify/${name}/${file}`)).arrayBuffer());
        return globalThis.verifier.run(await read("case.json"), await read("tensors.safetensors"));
      }, name);
      if (answer === undefined) {
        unsupported += 1;
        continue;
      }
      for (const output of JSON.parse(answer)) {
        if (output.ratio > 0) ratios.push([output.ratio, `${name} ${output.name}`]);
        if (!output.passed) failures.push(`${name} ${output.name}: ${output.rel_err} > ${output.tol_rel}`);
      }
    }
    ratios.sort(([a], [b]) => b - a);
    t.diagnostic(`${folders.size} cases, ${ratios.length} outputs, median ratio ${ratios[ratios.length >> 1][0].toFixed(2)}, ${unsupported} unsupported`);
    for (const [ratio, name] of ratios.slice(0, 5)) t.diagnostic(`${ratio.toFixed(2)} ${name}`);
    assert.deepEqual(failures, []);
    assert.ok(ratios.length > (folders.size > 50 ? 50 : 0), "the cases have outputs");
  });
}
