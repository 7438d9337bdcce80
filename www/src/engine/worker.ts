/// <reference lib="webworker" />
// Owns the wasm module, and with it both engines, and the clerk’s, once there are files. It only passes messages; all they mean is
// in the Rust crate.
import first from "../../../data/har/subset.bin?url";
import rest from "../../../data/har/rest.bin?url";
import type { Clerk } from "../../extra/stackelberg.js";
import init, { Studio, type Done, type ToClerk } from "../../pkg/stackelberg.js";
import module from "../../pkg/stackelberg_bg.wasm?url";
import { unsupported } from "../model/browser.ts";
import { capital } from "../model/format.ts";
import type { FromEngine, ToEngine, WithFiles } from "../model/events.ts";
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
    return new Studio(tell, name);
  } catch (error) {
    say({ kind: "broke", message: `The page’s engine could not be loaded (${reason(error)}).`, again: true });
    return null;
  }
}

addEventListener("message", async ({ data }: MessageEvent<ToEngine>) => {
  switch (data.kind) {
    case "fetch":
      return loadBuiltin();
    case "recordings":
    case "reread":
    case "open-run":
    case "predict":
      return handOver(data);
    default:
      await (await studio)?.receive(data);
  }
});

let loading: Promise<Clerk> | null = null;

/** Loads the clerk, or waits until that is done; after a failure it can be tried again. */
function clerk(): Promise<Clerk> {
  const again = () => {
    loading = null;
  };
  if (!loading) {
    loading = import("./clerk.ts").then(({ open }) => open(say));
    loading.catch(again);
  }
  return loading;
}

/** Lets the clerk do what is asked about files, and the studio what follows from it. */
async function handOver(message: Extract<ToEngine, WithFiles<ToClerk>>) {
  try {
    const files = "files" in message ? message.files : [];
    const reader = await clerk();
    const next = await reader.receive(message, files);
    const engine = await studio;
    if (next?.kind === "own") engine?.own(next, reader.values()!);
    else if (next) await engine?.receive(next);
  } catch (error) {
    const why = `The part of the page that reads files could not be loaded (${reason(error)}).`;
    say(message.kind === "recordings" || message.kind === "reread" ? { kind: "failed", stage: "data", message: why } : { kind: "untold", message: why });
  }
}

/** What the studio tells while the clerk completes the files of a run. */
let held: FromEngine[] | null = null;

/** Passes on what the studio tells. A run needs the clerk at its end, who comes meanwhile. */
function tell(message: FromEngine) {
  if (held) held.push(message);
  else if (message.kind === "done") void complete(message);
  else say(message);
  if (message.kind === "started") clerk().catch(() => {});
}

/** Tells of the end of a run once its files are complete; without the clerk there are those that the studio wrote. */
async function complete(done: { kind: "done" } & Done) {
  held = [];
  try {
    const { files, network } = (await clerk()).complete({ files: done.files });
    say({ ...done, files });
    if (network) say({ kind: "network", ...network });
  } catch {
    say(done);
  }
  const later = held;
  held = null;
  later.forEach(tell);
}

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
    await engine?.receive({ kind: "builtin", first: bytes });
    people = "The recordings of the other people";
    await engine?.receive({ kind: "builtin", first: bytes, rest: await bytesAt(rest) });
  } catch (error) {
    say({ kind: "no-data", message: `${people} did not arrive (${reason(error)}).` });
  }
}

// A trapped engine settles no promise; the page hears of it as an error of the worker.
addEventListener("unhandledrejection", ({ reason }) => reportError(reason));
