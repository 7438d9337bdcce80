// What the engine's sentences call options of the command line, in the words of the page.

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
