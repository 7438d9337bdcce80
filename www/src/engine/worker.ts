/// <reference lib="webworker" />
// Owns the wasm engine and the GPU device. It only passes messages; all they mean is in the Rust crate.
import rest from "../../../data/har/rest.bin?url";
import init, { Studio } from "../../pkg/stackelberg.js";
import type { FromWorker, ToWorker } from "../../pkg/stackelberg.js";
import { capital } from "../model/format.ts";
import module_or_path from "../../pkg/stackelberg_bg.wasm?url";

const studio = Promise.all([init({ module_or_path }), adapterName()]).then(
  ([, name]) => new Studio((message) => postMessage(message), name),
);

addEventListener("message", async ({ data }: MessageEvent<ToWorker>) => {
  const engine = await studio;
  await engine.receive(data);
  if (data.kind === "open") void fetchRest(engine);
});

/** What the browser tells of the GPU, which the engine cannot ask for. */
async function adapterName(): Promise<string> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { description = "", vendor = "", architecture = "" } = adapter?.info ?? {};
  return description || [vendor, architecture].filter(Boolean).map(capital).join(" ");
}

/** The engine carries the first people itself; the others follow once the page can be used. */
async function fetchRest(engine: Studio) {
  try {
    const response = await fetch(rest);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    await engine.receive({ kind: "add-builtin", bytes: new Uint8Array(await response.arrayBuffer()) });
  } catch (error) {
    postMessage({
      kind: "failed",
      stage: "data",
      message: `The other people of the data set could not be loaded (${error}). The first ones are enough to go on with; reload the page to try again.`,
    } satisfies FromWorker);
  }
}

// A trapped engine settles no promise; the page hears of it as an error of the worker.
addEventListener("unhandledrejection", ({ reason }) => reportError(reason));
