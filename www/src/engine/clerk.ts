/// <reference lib="webworker" />
// Who reads and writes files, by the module that the studio begins without.
import init, { Clerk, type FromWorker } from "../../extra/stackelberg.js";
import module from "../../extra/stackelberg_bg.wasm?url";
import { arrival } from "./arrival.ts";

export async function open(say: (message: FromWorker) => void): Promise<Clerk> {
  await init({ module_or_path: await arrival(module) });
  return new Clerk(say);
}
