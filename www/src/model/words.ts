// What the engine's sentences call options of the command line and settings of configurations, in the words of the page.
import type { Form, Seen } from "../../pkg/stackelberg.js";
import { kinds, labels } from "./schema.ts";

/** Options and settings by the labels of the fields in which the page has them, those that are read and keys of `--columns` with them. */
const fields: Record<string, string> = {
  ...labels,
  validation_subjects: labels.split!,
  rate: "Samples a second",
  window: "Samples of a window",
  overlap: "Overlap of windows",
  columns: "Columns",
  channels: "Channels",
  label: "Labels stand in",
  person: "People stand in",
  time: "Time",
  time_unit: "Times are in",
  filter: "Filter",
  device: "Engine",
};

/** What hyperparameters are called within a sentence. */
const kindNames = new Map(kinds.map(({ value, label }) => [value, /^(?!Adam)[A-Z][a-z]/.test(label) ? label[0]!.toLowerCase() + label.slice(1) : label]));

/** A sentence without options of the command line. */
export function spoken(sentence: string): string {
  const named = (option: string, value: string) => {
    const [key, said] = option === "columns" && value.includes("=") ? value.split("=", 2) : [option, value];
    const field = `“${fields[key!.trim().replaceAll("-", "_")] ?? fields.columns}”`;
    return said && said !== "…" ? `${field}: ${said}` : field;
  };
  return sentence
    .replace(/`?--([a-z_-]+)(?: "([^"]*)"| ([\w.]+))?`?/g, (_, option: string, quoted = "", plain = "") => named(option, quoted || plain))
    .replace(/`([a-z_]+)=([^`]*)`/g, (_, key: string, value: string) => named("columns", `${key}=${value}`));
}

/** A sentence on settings, without names that only configurations have. */
function ofSettings(sentence: string): string {
  return spoken(sentence)
    .replace(/`([a-z0-9_]+)`|\b[a-z0-9]+(?:_[a-z0-9]+)+\b/g, (whole, quoted?: string) => {
      const label = fields[quoted ?? whole];
      return label === undefined ? whole : `“${label}”`;
    })
    .replace(/[a-z0-9]+(?:[-,][a-z0-9]+)*/g, (words) => {
      const all = words.split(",");
      // What is a word of every day stands for itself, but in a list of them.
      const meant = all.every((one) => kindNames.has(one)) && (all.length > 1 || /^lr$|-/.test(words));
      return meant ? all.map((one) => kindNames.get(one)).join(", ") : words;
    })
    .replace(/\boptimizer\b/g, "inner optimiser")
    .replace(/\bsubject(s?)\b/g, (_, more: string) => (more ? "people" : "person"));
}

/** A message of the engine in the words of the page. What is said of recordings names their own columns, which may be called as
 * settings are. */
export function inWords<Message extends { kind: string }>(message: Message): Message {
  const { message: sentence, stage } = message as { message?: string; stage?: string };
  const said = (words: typeof spoken): Message => (sentence === undefined ? message : { ...message, message: words(sentence) });
  switch (message.kind) {
    case "form":
      return { ...message, ...ofForm(message as unknown as Form) };
    case "seen":
      return { ...message, ...ofRecordings(message as unknown as Seen) };
    case "undivided":
    case "untold":
      return said(spoken);
    case "failed":
      return said(stage === "data" ? spoken : ofSettings);
    case "machine":
    case "unchecked":
    case "unroll":
    case "untried":
      return said(ofSettings);
    default:
      return message;
  }
}

/** What was seen of recordings. */
function ofRecordings({ written, notes, problem }: Seen): Partial<Seen> {
  return { written: written.replace(/`(.)`/, "“$1”"), notes: notes.map(spoken), ...(problem !== undefined && { problem: spoken(problem) }) };
}

/** What goes with settings and what does not. */
function ofForm({ offers, problem }: Form): Partial<Form> {
  // A field that is to be left out is one that is left empty.
  const refusal = (sentence: string) => ofSettings(sentence).replace(/\b([Ll]eave it|left) out\b/g, "$1 empty");
  return {
    offers: offers.map((offer) => {
      // What is refused stands beside, so that only how to go on is to be said.
      const own = new RegExp(`^\`${offer.setting}\` is .*?, but must be .*?\\. (?=[A-Z])`);
      return { ...offer, ...(offer.refusal !== undefined && { refusal: refusal(offer.refusal.replace(own, "")) }) };
    }),
    ...(problem !== undefined && { problem: refusal(problem) }),
  };
}
