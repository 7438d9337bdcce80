/// <reference lib="webworker" />
// Owns the wasm module, and with it both engines. It only passes messages; all they mean is in the Rust crate.
import first from "../../../data/har/subset.bin?url";
import rest from "../../../data/har/rest.bin?url";
import init, { Studio } from "../../pkg/stackelberg.js";
import module from "../../pkg/stackelberg_bg.wasm?url";
import { unsupported } from "../model/browser.ts";
import { capital } from "../model/format.ts";
import type { FromEngine, ToEngine } from "../model/machine.ts";
import { arrival, bytesAt, reason } from "./arrival.ts";

const say = (message: FromEngine) => postMessage(message);

/** None where the module cannot be had; the page was told. */
const studio = open();

async function open(): Promise<Studio | null> {
  const missing = unsupported();
  if (missing) {
    say({ kind: "broke", message: missing, again: false });
    return null;
  }
  try {
    const [, name] = await Promise.all([arrival(module).then((response) => init({ module_or_path: response })), adapterName()]);
    say({ kind: "loaded" });
    return new Studio(say, name);
  } catch (error) {
    say({ kind: "broke", message: `The page’s engine could not be loaded (${reason(error)}).`, again: true });
    return null;
  }
}

addEventListener("message", async ({ data }: MessageEvent<ToEngine>) => {
  if (data.kind === "fetch") return loadBuiltin();
  await (await studio)?.receive(data, "files" in data ? data.files : []);
});

void loadBuiltin();

/** What the browser tells of the GPU, which the engine cannot ask for. */
async function adapterName(): Promise<string> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { description = "", vendor = "", architecture = "" } = adapter?.info ?? {};
  return description || [vendor, architecture].filter(Boolean).map(capital).join(" ");
}

/** The first people come beside the engine; the others follow once the page can be used. */
async function loadBuiltin() {
  let people = "The built-in recordings";
  try {
    const bytes = await bytesAt(first);
    const engine = await studio;
    await engine?.receive({ kind: "builtin", first: bytes }, []);
    people = "The recordings of the other people";
    await engine?.receive({ kind: "builtin", first: bytes, rest: await bytesAt(rest) }, []);
  } catch (error) {
    say({ kind: "no-data", message: `${people} did not arrive (${reason(error)}).` });
  }
}

// A trapped engine settles no promise; the page hears of it as an error of the worker.
addEventListener("unhandledrejection", ({ reason }) => reportError(reason));
