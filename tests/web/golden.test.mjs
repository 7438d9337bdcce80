// Reference cases through WebGPU and on the processor. By default a choice of every kind; GOLDEN=all takes every case, or a part of
// a name takes the cases that have it.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, PATIENCE } from "./browser.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const shared = [process.env.STACKELBERG_SHARED, `${root}../shared`, `${root}../../shared`];
const folder = shared.filter(Boolean).map((path) => `${path}/golden`).find(existsSync);

const choice = new Set([
  "op_conv1d_same_s2", "op_conv2d_valid", "op_maxpool1d_overlap_ties", "op_matmul_tile_edges", "op_layernorm",
  "op_log_softmax_large", "op_softplus_overflow", "op_gather_rows", "op_sum_long", "model_harcnn_narrow_xent",
  "train_harcnn_momentum", "hg_ridge_sgd_T20", "hg_mlp_tanh_momentum_T5", "hg_harcnn_dropout_sgd_T5",
]);
const wanted = process.env.GOLDEN;

function cases() {
  const chosen = (name) => (wanted ? wanted === "all" || name.includes(wanted) : choice.has(name));
  const whole = (name) => existsSync(`${folder}/${name}/case.json`);
  return readdirSync(folder).filter((name) => chosen(name) && whole(name));
}

/** Serves the wasm package and the cases to a bare page, past the server. */
async function prepare(page) {
  await page.route("**/verify/**", (route) => {
    const path = decodeURIComponent(new URL(route.request().url()).pathname.split("/verify/")[1]);
    if (path === "") return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>verify</title>" });
    const file = path.startsWith("pkg/") ? `${root}www/${path}` : `${folder}/${path}`;
    const type = { js: "text/javascript", wasm: "application/wasm" }[path.split(".").pop()];
    return route.fulfill({ contentType: type ?? "application/octet-stream", body: readFileSync(file) });
  });
}

const skip = folder ? false : "no reference cases at ../shared/golden (set STACKELBERG_SHARED)";
const timeout = (wanted ? 60 : 5) * PATIENCE;

for (const [name, recorded] of Object.entries({ webgpu: "gpu", cpu: "cpu" })) {
  test(`reference cases are within tolerance (${name})`, { skip, timeout }, async (t) => {
    const page = await openPage(t, { path: `verify/?engine=${name}`, prepare });
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
    for (const name of cases()) {
      const answer = await page.evaluate(async (name) => {
        const read = async (file) => new Uint8Array(await (await fetch(`/verify/${name}/${file}`)).arrayBuffer());
        return globalThis.verifier.run(await read("case.json"), await read("tensors.safetensors"));
      }, name);
      if (answer === undefined) {
        unsupported += 1;
        continue;
      }
      const { outputs: specs } = JSON.parse(readFileSync(`${folder}/${name}/case.json`));
      // A documented branch flip is no test.
      if (specs.val_loss?.ill_conditioned_f32) continue;
      for (const output of JSON.parse(answer)) {
        if (output.ratio > 0) ratios.push([output.ratio, `${name} ${output.name}`]);
        if (!output.passed) failures.push(`${name} ${output.name}: ${output.rel_err} > ${output.tol_rel}`);
      }
    }
    ratios.sort(([a], [b]) => b - a);
    t.diagnostic(`${ratios.length} outputs, median ratio ${ratios[ratios.length >> 1][0].toFixed(2)}, ${unsupported} unsupported`);
    for (const [ratio, name] of ratios.slice(0, 5)) t.diagnostic(`${ratio.toFixed(2)} ${name}`);
    assert.deepEqual(failures, []);
    assert.ok(ratios.length > 50, "the cases have outputs");
  });
}
