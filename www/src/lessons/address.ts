// The address of a lesson: which it is, where its controls stand, and what a teacher made of it.
import type { Control, Lesson, Values } from "./lesson.ts";

export interface Address {
  lesson: Lesson | null;
  values: Values;
  /** Controls that are not shown. */
  hidden: string[];
  /** Large type. */
  projector: boolean;
  /** Every hypergradient is so many times what it is: for a class that is to find out. */
  factor: number;
}

/** Where a control stands that is set to a number: within its bounds, and where its steps or choices are. */
export function snapped({ min, max, step }: Control, value: number): number {
  const most = Math.floor((max - min) / step + 1e-9);
  const steps = Math.min(Math.max(Math.round((value - min) / step), 0), most);
  // Without the rounding of sums.
  return Number((min + steps * step).toFixed(8));
}

/** The lesson as it begins; controls that are not shown stay as they are. */
export function begun(address: Address): Address {
  const { lesson, values, hidden } = address;
  const first = (lesson?.controls ?? []).map(({ name, value }) => [name, hidden.includes(name) ? values[name] : value]);
  return { ...address, values: Object.fromEntries(first) };
}

/** Reads the part of an address after `#`; what is missing or no number is as the lesson has it. */
export function fromHash(hash: string, lessons: Lesson[]): Address {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const lesson = lessons.find(({ name }) => name === query.get("lesson")) ?? null;
  const values: Values = {};
  for (const control of lesson?.controls ?? []) {
    const given = Number.parseFloat(query.get(control.name) ?? "");
    values[control.name] = Number.isFinite(given) ? snapped(control, given) : control.value;
  }
  const known = new Set(lesson?.controls.map(({ name }) => name));
  const hidden = (query.get("hide") ?? "").split(",").filter((name) => known.has(name));
  const factor = Number.parseFloat(query.get("factor") ?? "");
  return { lesson, values, hidden, projector: query.get("projector") === "true", factor: Number.isFinite(factor) ? factor : 1 };
}

/** Another lesson, or the list of all, as the same teacher wants it. */
export function elsewhere({ projector, factor }: Address, lesson: Lesson | null): Address {
  const values = Object.fromEntries((lesson?.controls ?? []).map(({ name, value }) => [name, value]));
  return { lesson, values, hidden: [], projector, factor };
}

export function toHash({ lesson, values, hidden, projector, factor }: Address): string {
  const all = [
    ["lesson", lesson?.name ?? "all"],
    ...(lesson?.controls ?? []).map(({ name }) => [name, String(values[name])]),
    ...(hidden.length > 0 ? [["hide", hidden.join(",")]] : []),
    ...(projector ? [["projector", "true"]] : []),
    ...(factor === 1 ? [] : [["factor", String(factor)]]),
  ];
  return `#${all.map(([name, value]) => `${name}=${value}`).join("&")}`;
}
