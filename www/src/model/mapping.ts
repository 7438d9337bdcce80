// What of a table is what: how the page shows it and lets it be changed.
import type { Reading, Seen } from "../../pkg/stackelberg.js";

/** What a column is. */
export type Role = "time" | "signal" | "label" | "person" | "unused";

export const roles: { value: Role; label: string }[] = [
  { value: "signal", label: "Signal" },
  { value: "time", label: "Time" },
  { value: "label", label: "Label" },
  { value: "person", label: "Person" },
  { value: "unused", label: "Not used" },
];

export const units: { value: string; label: string }[] = [
  { value: "s", label: "Seconds" },
  { value: "ms", label: "Milliseconds" },
  { value: "us", label: "Microseconds" },
  { value: "ns", label: "Nanoseconds" },
  { value: "iso", label: "Dates or times of day" },
  { value: "count", label: "A count of samples" },
];

/** Whether labels or people stand in this column. */
const isColumn = (origin: string | undefined, name: string) => origin === name || origin === `column ${name}`;

export function roleOf({ time, channels, label, person }: Reading, name: string): Role {
  if (time === name) return "time";
  if (isColumn(label, name)) return "label";
  if (isColumn(person, name)) return "person";
  return channels?.includes(name) ? "signal" : "unused";
}

/** The reading with another role for a column; whatever had it before, where only one can, is not used. */
export function withRole(reading: Reading, columns: readonly string[], name: string, role: Role): Reading {
  const next: Reading = { ...reading, channels: (reading.channels ?? []).filter((one) => one !== name) };
  if (next.time === name) next.time = "none";
  if (isColumn(next.label, name)) next.label = "none";
  if (isColumn(next.person, name)) next.person = "none";
  if (role === "time") next.time = name;
  if (role === "label") next.label = `column ${name}`;
  if (role === "person") next.person = `column ${name}`;
  // In the order of the table, in which a network takes them; of many columns not all are shown.
  if (role === "signal") {
    const others = next.channels!.filter((one) => !columns.includes(one));
    next.channels = [...columns, ...others].filter((one) => one === name || next.channels!.includes(one));
  }
  return next;
}

/** Where labels or people may stand, as one chooses it: nowhere, a column, the names of folders and files. */
export function origins({ columns, places }: Seen, of: string | undefined): { value: string; label: string; chosen: boolean }[] {
  const column = (name: string) => ({ value: `column ${name}`, label: `Column ${name}`, chosen: isColumn(of, name) });
  const place = ({ origin, values }: Seen["places"][number]) => {
    const shown = values.slice(0, 3).join(", ") + (values.length > 3 ? ", …" : "");
    return { value: origin, label: `${named(origin)}: ${shown}`, chosen: of === origin };
  };
  const all = [...places.map(place), ...columns.map(({ name }) => column(name))];
  const other = of !== undefined && of !== "none" && !all.some(({ chosen }) => chosen);
  return [
    { value: "none", label: "Nowhere", chosen: of === undefined || of === "none" },
    ...(other ? [{ value: of, label: named(of), chosen: true }] : []),
    ...all,
  ];
}

function named(origin: string): string {
  const [, above] = origin.match(/^folder (\d+)$/) ?? [];
  const [, word] = origin.match(/^file word (\d+)$/) ?? [];
  if (origin === "folder") return "Folder";
  if (above) return `Folder, ${above} above the file`;
  if (origin === "file") return "File name";
  return word ? `Word ${word} of the file name` : origin;
}

/** A number as it was typed; none where it is not one above 0. */
export function positive(text: string): number | undefined {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() !== "" && Number.isFinite(value) && value > 0 ? value : undefined;
}

/** Labels between commas. */
export function listed(text: string): string[] {
  return text.split(",").map((one) => one.trim()).filter((one) => one !== "");
}
