// What the engine's sentences call options of the command line and settings of configurations, in the words of the page.
import type { Form } from "../../pkg/stackelberg.js";
import { kinds, labels } from "./schema.ts";

/** Options, and keys of `--columns`, by the labels of the fields in which the page has them. */
const fields: Record<string, string> = {
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
};

/** A sentence without options of the command line. */
export function spoken(sentence: string): string {
  const named = (option: string, value: string) => {
    const [key, said] = option === "columns" && value.includes("=") ? value.split("=", 2) : [option, value];
    const field = `“${fields[key!.trim()] ?? fields.columns}”`;
    return said && said !== "…" ? `${field}: ${said}` : field;
  };
  return sentence
    .replace(/`?--([a-z_-]+)(?: "([^"]*)"| ([\w.]+))?`?/g, (_, option: string, quoted = "", plain = "") => named(option, quoted || plain))
    .replace(/`([a-z_]+)=([^`]*)`/g, (_, key: string, value: string) => named("columns", `${key}=${value}`));
}

/** A sentence on settings, without names that only configurations have. */
function ofSettings(sentence: string): string {
  return spoken(sentence)
    .replace(/`([a-z0-9_]+)`/g, (whole, name: string) => (name in labels ? `“${labels[name]}”` : whole))
    .replace(/[a-z0-9]+(?:-[a-z0-9]+)*/g, (word) => kinds.find(({ value }) => value === word && /^lr$|-/.test(value))?.label.toLowerCase() ?? word);
}

/** What goes with settings and what does not, in the words of the page. */
export function said(form: Form): Form {
  const offers = form.offers.map((offer) => (offer.refusal === undefined ? offer : { ...offer, refusal: ofSettings(offer.refusal) }));
  return { ...form, offers, ...(form.problem === undefined ? {} : { problem: ofSettings(form.problem) }) };
}
