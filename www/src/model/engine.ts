import type { Engine, EngineState } from "../../pkg/stackelberg.js";
import { moment } from "./format.ts";

export const engines: Record<Engine, { label: string; hint: string }> = {
  webgpu: { label: "GPU", hint: "through WebGPU" },
  cpu: { label: "Processor", hint: "WebAssembly, one core" },
};

/** The engine that an address asks for by `?engine=`. */
export function fromSearch(search: string): Engine | null {
  const name = new URLSearchParams(search).get("engine");
  return name === "webgpu" || name === "cpu" ? name : null;
}

/** What is wrong with the engine that an address asks for, if anything is. */
export function unknown(search: string): string[] {
  const name = new URLSearchParams(search).get("engine");
  return name === null || fromSearch(search) ? [] : [`Engine: “${name.slice(0, 24)}” is not webgpu or cpu; the faster one is taken.`];
}

/** The address's query with this engine asked for, or none. */
export function toSearch(search: string, engine: Engine | null): string {
  const query = new URLSearchParams(search);
  if (engine) query.set("engine", engine);
  else query.delete("engine");
  return query.size > 0 ? `?${query}` : "";
}

/** What a run would use: the engine that is wanted, the faster one, or whichever there is. */
export function chosen({ engines, faster }: { engines: EngineState[]; faster: Engine | undefined }, wanted: Engine | null): EngineState | undefined {
  const usable = engines.filter(({ problem }) => problem === undefined);
  if (wanted) return usable.find(({ engine }) => engine === wanted);
  return usable.find(({ engine }) => engine === faster) ?? usable.find(({ engine, software }) => engine === "cpu" || !software) ?? usable[0];
}

/** "Preparing shaders: 37 of 42", or nothing where none is missing. */
export function preparing(state: EngineState | undefined): string {
  const { done, total } = state?.shaders ?? { done: 0, total: 0 };
  return done < total ? `Preparing shaders: ${done} of ${total}` : "";
}

/** "4.1 ms a step", "0.73 s a step". */
export function pace(step: number): string {
  return `${moment(step)} a step`;
}
