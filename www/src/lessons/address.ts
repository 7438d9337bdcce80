// The address of a lesson: which it is, where its controls stand, and what a teacher made of it.
import type { Lesson, Values } from "./lesson.ts";

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

/** Reads the part of an address after `#`; what is missing or no number is as the lesson has it. */
export function fromHash(hash: string, lessons: Lesson[]): Address {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const lesson = lessons.find(({ name }) => name === query.get("lesson")) ?? null;
  const values: Values = {};
  for (const { name, value, min, max } of lesson?.controls ?? []) {
    const given = Number.parseFloat(query.get(name) ?? "");
    values[name] = Number.isFinite(given) ? Math.min(Math.max(given, min), max) : value;
  }
  const known = new Set(lesson?.controls.map(({ name }) => name));
  const hidden = (query.get("hide") ?? "").split(",").filter((name) => known.has(name));
  const factor = Number.parseFloat(query.get("factor") ?? "");
  return { lesson, values, hidden, projector: query.get("projector") === "true", factor: Number.isFinite(factor) ? factor : 1 };
}

export function toHash({ lesson, values, hidden, projector, factor }: Address): string {
  const all = [
    ...(lesson ? [["lesson", lesson.name], ...lesson.controls.map(({ name }) => [name, String(values[name])])] : []),
    ...(hidden.length > 0 ? [["hide", hidden.join(",")]] : []),
    ...(projector ? [["projector", "true"]] : []),
    ...(factor === 1 ? [] : [["factor", String(factor)]]),
  ];
  return `#${all.map(([name, value]) => `${name}=${value}`).join("&")}`;
}
