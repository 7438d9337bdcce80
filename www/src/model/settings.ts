import type { Engine, FirstRun, Group, Network, Settings } from "../../pkg/stackelberg.js";

/** The whole numbers a visitor can set, with what they mean and how far they go. */
export const numbers = [
  { name: "steps", label: "Training steps", symbol: "T", min: 1, max: 2000, hint: "in one inner run" },
  { name: "outer", label: "Outer iterations", symbol: "", min: 1, max: 200, hint: "hypergradient steps" },
  { name: "batch", label: "Batch", symbol: "B", min: 1, max: 512, hint: "windows a step" },
  { name: "seed", label: "Seed", symbol: "", min: 0, max: 4_294_967_295, hint: "same seed, same run" },
] as const;

export const networks: { value: Network; label: string; hint: string }[] = [
  { value: "narrow", label: "Narrow", hint: "8 filters, 16 dense units" },
  { value: "paper", label: "Paper", hint: "64 filters, 100 dense units" },
];

export const groups: { value: Group; label: string; symbol: string }[] = [
  { value: "lr", label: "Learning rate", symbol: "η" },
  { value: "momentum", label: "Momentum", symbol: "μ" },
  { value: "l2", label: "L2 per layer", symbol: "λ" },
  { value: "example-weights", label: "Example weights", symbol: "ω" },
  { value: "lr-layers", label: "Rate per layer", symbol: "ηₗ" },
  { value: "lr-schedule", label: "Rate per step", symbol: "ηₜ" },
  { value: "dropout", label: "Dropout rate", symbol: "p" },
  { value: "jitter", label: "Jitter of windows", symbol: "σ" },
  { value: "scaling", label: "Scaling of channels", symbol: "κ" },
  { value: "initial-scale", label: "Scale of first weights", symbol: "s" },
];

/** The ways to the hypergradient that this training allows. */
export const methods = [
  { value: "reverse", label: "Reverse: back through all steps" },
  { value: "forward", label: "Forward: along with the steps" },
  { value: "truncated", label: "Truncated: back through the last" },
] as const;

/** The steps K that `truncated:K` goes back through; none for another method. */
export function truncation(method: string): number | null {
  const digits = method.match(/^truncated:(\d+)$/)?.[1];
  return digits === undefined ? null : clamp(Number(digits), 1, numbers[0].max);
}

/** What a first run should be: what was found worth its time on this device, and a short one before that is known. */
export function defaults(first: FirstRun | null): Settings {
  const { network, steps, outer } = first ?? { network: "narrow", steps: 20, outer: 10 };
  return { network, steps, outer, batch: 64, method: "reverse", hyperparameters: ["lr", "momentum", "l2"], seed: 0 };
}

/** Settings from an address: what it names and what is in range, the defaults for all else. */
export function fromHash(hash: string, start: Settings): Settings {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const settings: Settings = { ...start };
  const network = networks.find(({ value }) => value === query.get("network"));
  if (network) settings.network = network.value;
  for (const { name, min, max } of numbers) {
    const text = query.get(name);
    if (text !== null && /^\d+$/.test(text)) settings[name] = clamp(Number(text), min, max);
  }
  const method = query.get("method") ?? "";
  const last = truncation(method);
  if (last !== null) settings.method = `truncated:${last}`;
  else if (method === "reverse" || method === "forward") settings.method = method;
  const named = query.get("hyperparameters")?.split(",");
  if (named) {
    const chosen = groups.map(({ value }) => value).filter((value) => named.includes(value));
    if (chosen.length > 0) settings.hyperparameters = chosen;
  }
  return settings;
}

/** The address of settings; only what differs from the defaults, so a plain visit keeps a plain address. */
export function toHash(settings: Settings, start: Settings): string {
  const parts = flags(settings, start).map(([name, value]) => `${name}=${value}`);
  return parts.length === 0 ? "" : `#${parts.join("&")}`;
}

/** The same run on the command line. */
export function command(settings: Settings, engine?: Engine): string {
  const all = [...flags(settings), ...(engine === "cpu" ? [["device", "cpu"]] : [])];
  return ["stackelberg tune", ...all.map(([name, value]) => `--${name} ${value}`)].join(" ");
}

function flags(settings: Settings, start?: Settings): [string, string][] {
  const all: [keyof Settings, string][] = [
    ["network", settings.network],
    ...numbers.map(({ name }): [keyof Settings, string] => [name, String(settings[name])]),
    ["method", settings.method],
    ["hyperparameters", settings.hyperparameters.join(",")],
  ];
  return start ? all.filter(([name, value]) => value !== String(start[name])) : all;
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, Math.round(value)));
}
