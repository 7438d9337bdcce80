import type { Engine, FirstRun, Settings } from "../../pkg/stackelberg.js";
import rows from "./hyperparameters.json" with { type: "json" };

/** A kind of hyperparameter, by its name on the command line. */
export type Kind = keyof typeof rows;

/** The whole numbers a visitor can set, with what they mean and how far they go. */
export const numbers = [
  { name: "steps", label: "Training steps", symbol: "T", min: 1, max: 2000, hint: "in one inner run" },
  { name: "budget", label: "Budget", symbol: "", min: 2, max: 500, hint: "in whole trainings; ∇ counts more" },
  { name: "batch", label: "Batch", symbol: "B", min: 1, max: 512, hint: "windows a step" },
  { name: "seed", label: "Seed", symbol: "", min: 0, max: 4_294_967_295, hint: "same seed, same run" },
  { name: "mislabelled", label: "Wrong labels", symbol: "", min: 0, max: 90, hint: "% of training windows, on purpose" },
] as const;

/** The steps K that truncated reverse mode goes back through. */
export const lastSteps = { label: "Last steps", min: 1, max: numbers[0].max };

export const networks: { value: string; label: string; hint: string }[] = [
  { value: "narrow", label: "Narrow", hint: "8 filters, 16 dense units" },
  { value: "paper", label: "Paper", hint: "64 filters, 100 dense units" },
];

/** The hyperparameters that this training can tune, in the order in which the page offers them. */
const offered = [
  "lr", "momentum", "l2", "example-weights", "lr-layers", "lr-schedule", "dropout", "jitter", "scaling", "initial-scale",
] as const satisfies readonly Kind[];

export const groups = offered.map((value) => ({ value, label: rows[value].title, symbol: rows[value].symbol }));

/** The ways to the hypergradient that this training allows. */
export const methods = [
  { value: "reverse", label: "Reverse: back through all steps" },
  { value: "forward", label: "Forward: along with the steps" },
  { value: "truncated", label: "Truncated: back through the last" },
] as const;

/** The steps K that `truncated:K` goes back through; none for another method. */
export function truncation(method: string): number | null {
  const digits = method.match(/^truncated:(\d+)$/)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** What a first run should be: what was found worth its time on this device, and a short one before that is known. A batch
 * has as many windows as there are to train on, where these are few. */
export function defaults(first: FirstRun | null, windows = Infinity): Settings {
  const { network, steps, budget } = first ?? { network: "narrow", steps: 20, budget: 36 };
  return { network, steps, budget, batch: Math.min(64, windows), method: "reverse", hyperparameters: ["lr", "momentum", "l2"], seed: 0, compare: true, mislabelled: 0 };
}

/** A run in which a third of the training labels is wrong and a weight for each window is learned: what the story of these
 * settings is. Random search says nothing of thousands of weights, and the start values on right labels are shown instead. */
export function withWrongLabels(settings: Settings): Settings {
  return { ...settings, method: "reverse", hyperparameters: ["lr", "example-weights"], compare: false, mislabelled: 33 };
}

/** A number as it was typed, pulled into its range; `remark` says so where it had to be, or that it is none. */
export function entered(
  text: string,
  { label, min, max }: { label: string; min: number; max: number },
  before: number,
): { value: number; remark: string | null } {
  const typed = text.trim();
  if (!/^[+-]?\d+(e\+?\d+)?$/i.test(typed))
    return { value: before, remark: `${label}: ${quoted(typed)} is not a whole number from ${min} to ${max}; ${before} is taken.` };
  const value = Math.min(max, Math.max(min, Number(typed)));
  const remark = value < Number(typed) ? `${max} is the most` : value > Number(typed) ? `${min} is the least` : null;
  return { value, remark: remark && `${label}: ${quoted(typed)} is out of range; ${remark}, and is taken.` };
}

/** What the command line calls the network; a run that was kept may have one from a file of layers. */
export function networkName({ network }: Pick<Settings, "network">): string {
  const written = network as string | { file: string };
  return typeof written === "string" ? written : written.file;
}

/** What was typed or named in an address, short enough to be shown. */
function quoted(text: string): string {
  if (text === "") return "nothing";
  return `“${text.length > 24 ? `${text.slice(0, 24)}…` : text}”`;
}

/** What an address says of a run. */
export interface Address {
  /** None if it names no setting. */
  settings: Settings | null;
  /** What the command line's `--data` calls the data; none if it does not say. */
  data: string | null;
  /** Sentences about what was not taken as it stands. */
  remarks: string[];
}

/** What the part of an address after `#` says. What it leaves out is the same on every device. */
export function fromHash(hash: string): Address {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  // Addresses of before knew of no random search beside.
  const settings = { ...defaults(null), compare: false };
  const remarks: string[] = [];
  let named = false;
  const refuse = (name: string, value: string, what: string, taken: string) =>
    remarks.push(`${name}: ${quoted(value)} is not ${what}; ${taken} is taken.`);
  for (const name of new Set(query.keys())) {
    const [value = "", ...more] = query.getAll(name);
    if (more.length > 0) remarks.push(`${quoted(name)} is given more than once; the first is taken.`);
    const row = numbers.find((row) => row.name === name);
    if (row) {
      const number = entered(value, row, settings[row.name]);
      settings[row.name] = number.value;
      if (number.remark) remarks.push(number.remark);
    } else if (name === "outer" && !query.has("budget")) {
      // What addresses of before count.
      const budget = numbers.find((row) => row.name === "budget")!;
      const label = "Outer iterations are now a budget in trainings";
      const number = entered(value, { ...budget, label }, settings.budget);
      settings.budget = number.value;
      remarks.push(number.remark ?? `${label}: ${number.value} is taken.`);
    } else if (name === "network") {
      const network = networks.find((one) => one.value === value);
      if (network) settings.network = network.value;
      else refuse("Network", value, networks.map((one) => one.value).join(" or "), settings.network);
    } else if (name === "method") {
      const last = value.match(/^truncated:(.*)$/)?.[1];
      if (value === "reverse" || value === "forward") settings.method = value;
      else if (last !== undefined && /^\d+$/.test(last)) {
        const number = entered(last, lastSteps, lastSteps.min);
        settings.method = `truncated:${number.value}`;
        if (number.remark) remarks.push(number.remark);
      } else refuse("Way to the hypergradient", value, "reverse, forward or truncated:K", settings.method);
    } else if (name === "compare") {
      if (value === "true" || value === "false") settings.compare = value === "true";
      else refuse("Random search beside", value, "true or false", String(settings.compare));
    } else if (name === "hyperparameters") {
      const asked = value.split(",");
      const chosen = groups.map((one): string => one.value).filter((one) => asked.includes(one));
      const unknown = asked.filter((one) => !groups.some(({ value }) => value === one));
      if (chosen.length > 0) settings.hyperparameters = chosen;
      if (unknown.length > 0) refuse("Hyperparameters", unknown.join(","), "one of those that can be tuned", settings.hyperparameters.join(","));
    } else if (name !== "data") {
      remarks.push(`${quoted(name)} is no setting.`);
      continue;
    }
    named = true;
  }
  return { settings: named ? settings : null, data: query.get("data"), remarks };
}

/** The part of an address after `#` for settings and, once a run made them matter, data: all of it, so that it means the
 * same run on every device. */
export function toHash(settings: Settings, data: string | null): string {
  const all = [
    ...flags(settings),
    ["compare", String(settings.compare)],
    ...(settings.mislabelled > 0 ? [["mislabelled", String(settings.mislabelled)]] : []),
    ...(data === null ? [] : [["data", encodeURIComponent(data)]]),
  ];
  return `#${all.map(([name, value]) => `${name}=${value}`).join("&")}`;
}

export function same(one: Settings, other: Settings): boolean {
  return toHash(one, null) === toHash(other, null);
}

/** The same run on the command line, with words a shell takes as they are meant; labels that are wrong on purpose it has
 * in a study alone. */
export function command(settings: Settings, engine?: Engine, data = "builtin"): string {
  const all = flags(settings).map(([name, value]) => `--${name} ${value}`);
  if (settings.compare) all.push("--compare");
  if (engine === "cpu") all.push("--device cpu");
  // With an equals sign, as a name may begin with a hyphen.
  if (data !== "builtin") all.push(`--data${data.startsWith("-") ? "=" : " "}${shell(data)}`);
  return ["stackelberg tune", ...all].join(" ");
}

function shell(word: string): string {
  return /^[\w./:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function flags(settings: Settings): [string, string][] {
  return [
    ["network", networkName(settings)],
    ...numbers.filter(({ name }) => name !== "mislabelled").map(({ name }): [string, string] => [name, String(settings[name])]),
    ["method", settings.method],
    ["hyperparameters", settings.hyperparameters.join(",")],
  ];
}
