import type { Panel, Points } from "../drawing/picture.ts";

/** Something that a visitor sets: a number on a slider or, with `choices`, one of these by its place. */
export interface Control {
  name: string;
  label: string;
  min: number;
  max: number;
  step: number;
  /** What it begins with. */
  value: number;
  choices?: string[];
  /** How it is written. */
  shown?: (value: number) => string;
  /** «Play» moves it from one end to the other. */
  plays?: boolean;
}

/** What the engine has told so far, by names. */
export interface Told {
  numbers: Record<string, number>;
  curves: Record<string, Points>;
}

export type Values = Record<string, number>;

/** A number that the page shows, by its name in what the engine tells. */
export interface Reading {
  number: string;
  label: string;
  /** 4 where nothing is said. */
  digits?: number;
  /** It is a count. */
  whole?: boolean;
  unit?: string;
  /** Why there may be no such number: what is said where the engine tells one that is not finite. */
  none?: string;
}

/** A page of a lesson: everything on it but the numbers, which are the engine's. */
export interface Lesson {
  name: string;
  title: string;
  /** One sentence for the list. */
  about: string;
  minutes: number;
  /** At most 150 words in all. */
  words: string[];
  controls: Control[];
  /** It needs people’s recordings. */
  recordings?: boolean;
  panels: (told: Told, values: Values) => Panel[];
  /** What the picture shows, in words. */
  summary: (told: Told, values: Values) => string;
  readings: (values: Values) => Reading[];
  questions: [Question, Question, Question];
  /** With what each says; MathML. */
  formulas: { says: string; formula: string }[];
}

export interface Question {
  question: string;
  answer: string;
}

/** The hypergradient and its like in MathML, for the drawers. */
export const math = {
  row: (...parts: string[]) => `<mrow>${parts.join("")}</mrow>`,
  i: (name: string) => `<mi>${name}</mi>`,
  n: (number: string | number) => `<mn>${number}</mn>`,
  o: (operator: string) => `<mo>${operator}</mo>`,
  sub: (base: string, below: string) => `<msub>${base}${below}</msub>`,
  sup: (base: string, above: string) => `<msup>${base}${above}</msup>`,
  fraction: (above: string, below: string) => `<mfrac>${above}${below}</mfrac>`,
  sum: (below: string, above: string) => `<munderover><mo>∑</mo>${below}${above}</munderover>`,
  display: (...parts: string[]) => `<math display="block"><mrow>${parts.join("")}</mrow></math>`,
};
