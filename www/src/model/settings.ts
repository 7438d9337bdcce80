import type { Engine, FirstRun, Form, Setting, Settings } from "../../pkg/stackelberg.js";
import { field, furtherNames, kinds, networkNames, type Field } from "./schema.ts";

/** A whole number that a visitor sets, how far it goes, and a word on it. */
interface Whole {
  name: "steps" | "budget" | "batch" | "seed" | "mislabelled";
  label: string;
  symbol: string;
  min: number;
  max: number;
  hint: string;
}

function whole(name: Whole["name"], hint: string): Whole {
  const { label, symbol, min, max } = field(name);
  return { name, label, symbol, min, max, hint };
}

/** The whole numbers a visitor can set, with what they mean and how far they go. */
export const numbers: readonly Whole[] = [
  whole("steps", "in one inner run"),
  whole("budget", "in whole trainings; ∇ counts more"),
  whole("batch", "windows a step"),
  whole("seed", "same seed, same run"),
  // A share in configurations.
  { ...whole("mislabelled", "% of training windows, on purpose"), max: 100 * field("mislabelled").max },
];

/** Networks that have a name of their own on the page. */
export const networks: { value: string; label: string; hint: string }[] = [
  { value: "narrow", label: "Narrow", hint: "8 filters, 16 dense units" },
  { value: "paper", label: "Paper", hint: "64 filters, 100 dense units" },
];

/** The others. */
export const otherNetworks = networkNames.filter(({ value }) => !networks.some((one) => one.value === value));

/** A network made of layers that a visitor wrote. */
export const ownLayers = "layers.json";

/** The ways to the hypergradient; what some count in. */
export const methods: { value: string; label: string; counts?: { label: string; symbol: string; hint: string } }[] = [
  { value: "reverse", label: "Reverse: back through all steps" },
  { value: "forward", label: "Forward: along with the steps" },
  { value: "truncated", label: "Truncated: back through the last", counts: { label: "Last steps", symbol: "K", hint: "differentiated; biased" } },
  { value: "implicit", label: "Implicit: as if at rest", counts: { label: "Iterations", symbol: "K", hint: "of conjugate gradients" } },
  { value: "fixed-point", label: "Fixed point of the last step", counts: { label: "Iterations", symbol: "K", hint: "of the fixed point" } },
];

/** A way to the hypergradient as it is written: its name, and the number that it counts to. */
export function way(method: string): { name: string; count: number | null } {
  const [name, count] = method.split(":", 2) as [string, string?];
  return { name, count: count === undefined ? null : Number(count) };
}

/** How far what a way counts may go. */
export const counted = { min: 1, max: field("steps").max };

/** What a first run should be: what was found worth its time on this device, and a short one before that is known. A batch
 * has as many windows as there are to train on, where these are few. */
export function defaults(first: FirstRun | null, windows = Infinity): Settings {
  const { network, steps, budget } = first ?? { network: "narrow", steps: 20, budget: 36 };
  return { network, steps, budget, batch: Math.min(64, windows), method: "reverse", hyperparameters: ["lr", "momentum", "l2"], seed: 0, compare: true, mislabelled: 0 };
}

/** A run in which a third of the training labels is wrong and a weight for each window is learned: what the story of these
 * settings is. Random search says nothing of thousands of weights, and the start values on right labels are shown instead. Weights
 * take twenty hypergradients to come apart: with half of them a third of what was lost came back once, with these from 65 to 81 %.
 * What else was set may not go with them, such as folds, or another task. */
export function withWrongLabels({ network, steps, budget, batch, seed }: Settings): Settings {
  return { network, steps, budget: Math.max(72, budget), batch, seed, method: "reverse", hyperparameters: ["lr", "example-weights"], compare: false, mislabelled: 33 };
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

/** A further setting as it was typed: none where it is to be as usual, and why it cannot be that. */
export function typedSetting(row: Field, text: string): { value: string | null; remark: string | null } {
  const typed = text.trim();
  if (typed === "" || typed === row.usual) return { value: null, remark: null };
  if (row.is === "choice")
    return row.choices.some(({ value }) => value === typed) ? { value: typed, remark: null } : { value: null, remark: `${row.label}: ${quoted(typed)} is none of ${row.choices.map(({ value }) => value).join(", ")}.` };
  if (row.name === "split" && !splitAs(typed))
    return { value: null, remark: `${row.label}: ${quoted(typed)} does not name people as {"validation":[3,5]} does; the usual ones are taken.` };
  if (row.numbers > 0) {
    const numbers = typed.replace(/^\[|\]$/g, "").split(",").map((one) => (one.trim() === "" ? NaN : Number(one)));
    if (numbers.length === row.numbers && numbers.every(Number.isFinite)) return { value: JSON.stringify(numbers), remark: null };
    return { value: null, remark: `${row.label}: ${quoted(typed)} is not ${row.numbers} numbers, with a comma between; the usual ones are taken.` };
  }
  if (row.pattern !== null && !new RegExp(row.pattern, "i").test(typed))
    return { value: null, remark: `${row.label}: ${quoted(typed)} is not written as ${row.usual} is; ${row.usual} is taken.` };
  if (row.is === "text") return { value: typed, remark: null };
  const number = Number(typed.replace(",", "."));
  const beyond = !Number.isFinite(number) || number < row.min || number > row.max || number === row.above || number === row.below;
  if (beyond || (row.whole && !Number.isInteger(number)))
    return { value: null, remark: `${row.label}: ${quoted(typed)} is not ${row.whole ? "a whole number" : "a number"} ${range(row)}; the usual one is taken.` };
  return { value: String(number), remark: null };
}

/** How far a number goes, in words. */
export function range({ min, max, above, below }: Pick<Field, "min" | "max" | "above" | "below">): string {
  const from = above === null ? `from ${min}` : `above ${above}`;
  return `${from} ${below === null ? `to ${max}` : `and below ${below}`}`;
}

/** What losses are measured in. */
export function lossUnit(settings: Settings): string {
  return (further(settings, "task") ?? field("task").usual) === "classification" ? "nats" : "squared error";
}

/** A further setting as it is written; none where it is as usual. */
export function further({ more = [] }: Settings, name: string): string | undefined {
  return more.find((one) => one.name === name)?.value;
}

/** The settings with a further one, or without it. */
export function withFurther(settings: Settings, name: string, value: string | null): Settings {
  const others = (settings.more ?? []).filter((one) => one.name !== name);
  const all: Setting[] = value === null ? others : [...others, { name, value }];
  return { ...settings, more: furtherNames.flatMap((name) => all.filter((one) => one.name === name)) };
}

/** Settings of the scalars that some inner optimisers have. */
const ofOptimizers = ["momentum", "betas", "epsilon", "hypergradient_rate", "momentum_hypergradient_rate"];

/** The settings with another inner optimiser, and what is usually tuned of it. */
export function withOptimizer(settings: Settings, name: string, form: Form): Settings {
  const usual = form.offers.find(({ setting, value }) => setting === "optimizer" && value === name)?.usual ?? settings.hyperparameters;
  const value = name === field("optimizer").usual ? null : name;
  const without = ofOptimizers.reduce((settings, name) => withFurther(settings, name, null), settings);
  return { ...withFurther(without, "optimizer", value), hyperparameters: usual };
}

/** What the command line calls the network. */
export function networkName({ network }: Pick<Settings, "network">): string {
  return typeof network === "string" ? network : network.file;
}

/** People by their numbers, as they are typed. */
export function peopleOf(split: string | undefined): string {
  return (splitAs(split ?? "{}")?.validation ?? []).join(", ");
}

/** Who is validated and tested on, as it is written; none where it is not written so. */
function splitAs(text: string): { validation?: number[] | null; test?: number[] | null } | null {
  const people = (list: unknown) => (list ?? null) === null || (Array.isArray(list) && list.every((one) => Number.isInteger(one) && one >= 0));
  try {
    const split = JSON.parse(text);
    const named = Object.keys(split).every((name) => name === "validation" || name === "test");
    return !Array.isArray(split) && typeof split === "object" && named && people(split.validation) && people(split.test) ? split : null;
  } catch {
    return null;
  }
}

/** The setting that has these people validated on; none where nobody is named. */
export function splitOf(text: string): string | null {
  const people = [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits));
  return people.length === 0 ? null : JSON.stringify({ validation: people });
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
      const layers = value.startsWith("{") ? ownNetwork(value) : null;
      if (layers) settings.network = layers;
      else if (networkNames.some((one) => one.value === value)) settings.network = value;
      else refuse("Network", value, list(networkNames.map((one) => one.value)), networkName(settings));
    } else if (name === "method") {
      const { name: kind, count } = way(value);
      const known = methods.find((one) => one.value === kind && (one.counts === undefined) === (count === null));
      if (known?.counts && Number.isInteger(count)) {
        const number = entered(String(count), { ...counted, label: known.counts.label }, counted.min);
        settings.method = `${kind}:${number.value}`;
        if (number.remark) remarks.push(number.remark);
      } else if (known && !known.counts) settings.method = value;
      else refuse("Way to the hypergradient", value, list(methods.map(({ value, counts }) => (counts ? `${value}:K` : value))), settings.method);
    } else if (name === "compare") {
      if (value === "true" || value === "false") settings.compare = value === "true";
      else refuse("Random search beside", value, "true or false", String(settings.compare));
    } else if (name === "hyperparameters") {
      const asked = value.split(",");
      const chosen = kinds.map((one) => one.value).filter((one) => asked.includes(one));
      const unknown = asked.filter((one) => !kinds.some(({ value }) => value === one));
      if (chosen.length > 0) settings.hyperparameters = chosen;
      if (unknown.length > 0) refuse("Hyperparameters", unknown.join(","), "one of those that can be tuned", settings.hyperparameters.join(","));
    } else if (furtherNames.includes(name)) {
      const row = field(name);
      const { value: taken, remark } = typedSetting(row, value);
      settings.more = withFurther(settings, name, taken).more!;
      if (remark) remarks.push(remark);
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
    ...(settings.more ?? []).map(({ name, value }) => [name, encodeURIComponent(value)]),
    ...(data === null ? [] : [["data", encodeURIComponent(data)]]),
  ];
  return `#${all.map(([name, value]) => `${name}=${value}`).join("&")}`;
}

export function same(one: Settings, other: Settings): boolean {
  return toHash(one, null) === toHash(other, null);
}

/** The same run on the command line, with words a shell takes as they are meant. */
export function command(settings: Settings, engine?: Engine, data = "builtin"): string {
  const all = flags({ ...settings, network: networkName(settings) }).map(([name, value]) => `--${name} ${value}`);
  if (settings.mislabelled > 0) all.push(`--mislabelled ${settings.mislabelled / 100}`);
  for (const { name, value } of settings.more ?? []) {
    if (name !== "split") all.push(`--${name.replaceAll("_", "-")} ${shell(value.replace(/[[\]]/g, ""))}`);
    else for (const [part, people] of Object.entries(splitAs(value) ?? {})) if (people) all.push(`--${part}-subjects ${people.join(",")}`);
  }
  if (settings.compare) all.push("--compare");
  if (engine === "cpu") all.push("--device cpu");
  // With an equals sign, as a name may begin with a hyphen.
  if (data !== "builtin") all.push(`--data${data.startsWith("-") ? "=" : " "}${shell(data)}`);
  return ["stackelberg tune", ...all].join(" ");
}

/** A network of layers, as an address has it. */
function ownNetwork(text: string): Settings["network"] | null {
  try {
    const { file, layers } = JSON.parse(text) as { file: unknown; layers: unknown };
    return typeof file === "string" && Array.isArray(layers) ? { file, layers } : null;
  } catch {
    return null;
  }
}

const list = (words: string[]) => `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;

function shell(word: string): string {
  return /^[\w.,/:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function flags(settings: Settings): [string, string][] {
  return [
    ["network", typeof settings.network === "string" ? settings.network : encodeURIComponent(JSON.stringify(settings.network))],
    ...numbers.filter(({ name }) => name !== "mislabelled").map(({ name }): [string, string] => [name, String(settings[name])]),
    ["method", settings.method],
    ["hyperparameters", settings.hyperparameters.join(",")],
  ];
}
