/// <reference lib="webworker" />
// Owns the wasm module, and with it both engines. It only passes messages; all they mean is in the Rust crate.
import first from "../../../data/har/subset.bin?url";
import rest from "../../../data/har/rest.bin?url";
import init, { Studio } from "../../pkg/stackelberg.js";
import type { FromWorker, ToWorker } from "../../pkg/stackelberg.js";
import { unsupported } from "../model/browser.ts";
import { capital } from "../model/format.ts";

const studio = open();

async function open(): Promise<Studio> {
  const message = unsupported();
  if (message) {
    postMessage({ kind: "failed", stage: "device", message } satisfies FromWorker);
    return new Promise(() => {});
  }
  const [, name] = await Promise.all([init(), adapterName()]);
  return new Studio((message) => postMessage(message), name);
}

addEventListener("message", async ({ data }: MessageEvent<ToWorker>) => {
  const engine = await studio;
  await engine.receive(data);
});

void loadBuiltin();

/** What the browser tells of the GPU, which the engine cannot ask for. */
async function adapterName(): Promise<string> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { description = "", vendor = "", architecture = "" } = adapter?.info ?? {};
  return description || [vendor, architecture].filter(Boolean).map(capital).join(" ");
}

/** The first people come beside the engine; the others follow once the page can be used. */
async function loadBuiltin() {
  try {
    const bytes = await fetchBytes(first);
    const engine = await studio;
    await engine.receive({ kind: "builtin", first: bytes });
    await engine.receive({ kind: "builtin", first: bytes, rest: await fetchBytes(rest) });
  } catch (error) {
    const message = `Not all of the built-in recordings arrived (${error}). Reload the page to try again.`;
    postMessage({ kind: "failed", stage: "data", message } satisfies FromWorker);
  }
}

async function fetchBytes(address: string): Promise<Uint8Array> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// A trapped engine settles no promise; the page hears of it as an error of the worker.
addEventListener("unhandledrejection", ({ reason }) => reportError(reason));
