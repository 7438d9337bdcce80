import type { EngineState } from "../../pkg/stackelberg.js";
import { engines as names, pace } from "./engine.ts";
import { duration, number } from "./format.ts";
import type { Check } from "./studio.ts";
import { verdict, type SelfCheck } from "./selfcheck.ts";

/** What the browser tells of itself and its graphics adapter. */
export interface Host {
  userAgent: string;
  secure: boolean;
  cores: number;
  /** None where there is no WebGPU. */
  limits: Record<string, number> | null;
  features: string[];
}

/** The limits that decide how large a run may be. */
const telling = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupStorageSize", "maxComputeWorkgroupsPerDimension",
];

export async function host(): Promise<Host> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const limits = adapter?.limits as unknown as Record<string, number> | undefined;
  return {
    userAgent: navigator.userAgent,
    secure: isSecureContext,
    cores: navigator.hardwareConcurrency,
    limits: limits ? Object.fromEntries(telling.map((name) => [name, limits[name]!])) : null,
    features: adapter ? [...adapter.features].sort() : [],
  };
}

/** What the last check of the hypergradient came to, in a sentence. */
function checked(check: Check | null): string {
  if (check?.state === "failed") return `could not be made: ${check.message}`;
  if (check?.state !== "checked") return "not made yet";
  const { outcome, directions, exact, device } = check.report;
  const far = Math.max(0, ...device.values.slice(1).flatMap((values) => values.map((value, at) => Math.abs(value - device.values[0]![at]!))));
  return `${outcome}, along ${directions.length} directions, ${exact.steps} steps in double precision and ${device.steps} on the device${device.values.length > 1 ? `; there forward and reverse mode differ by at most ${number(far)}` : ""}`;
}

/** All that a report of a fault needs, as text to copy. */
export function report({ userAgent, secure, cores, limits, features }: Host, engines: EngineState[], check: Check | null, self: SelfCheck | null): string {
  const of = ({ engine, name, software, problem, step, run, shaders }: EngineState) =>
    [
      `${names[engine].label}: ${name || names[engine].hint}${engine === "webgpu" && software ? " (software adapter)" : ""}`,
      ...(problem === undefined ? [] : [`  problem: ${problem}`]),
      ...(shaders ? [`  shaders: ${shaders.done} of ${shaders.total}`] : []),
      step === undefined ? "  not measured" : `  measured: ${pace(step)}${run === undefined ? "" : `, about ${duration(run)} for the run at hand`}`,
    ].join("\n");
  return [
    "Stackelberg studio, device report",
    `browser: ${userAgent}`,
    `secure context: ${secure ? "yes" : "no"}; processor cores: ${cores}`,
    ...engines.map(of),
    limits ? `adapter limits: ${Object.entries(limits).map(([name, value]) => `${name} ${value}`).join(", ")}` : "WebGPU: no adapter",
    ...(features.length > 0 ? [`adapter features: ${features.join(", ")}`] : []),
    `self-check: ${(self && verdict(self)) || "not made yet"}`,
    `check of the hypergradient: ${checked(check)}`,
    "",
  ].join("\n");
}
