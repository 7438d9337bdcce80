// The settings of a run as the schema of configurations has them: names, help, limits and defaults. The engine's tests hold
// the file against the types that it is made of.
import schema from "./schema.json" with { type: "json" };

/** A setting of the configuration. */
export interface Field {
  name: string;
  label: string;
  symbol: string;
  help: string;
  /** How it is written. */
  is: "number" | "choice" | "text";
  whole: boolean;
  /** How far a number goes; what it may come near but not be. */
  min: number;
  max: number;
  above: number | null;
  below: number | null;
  /** Among what it is chosen. */
  choices: { value: string; help: string }[];
  /** How a text is written; none where anything goes. */
  pattern: string | null;
  /** How many numbers a list of them has; 0 where it is none. */
  numbers: number;
  /** What it is where nothing is said; empty where that follows from others. */
  usual: string;
}

/** A kind of hyperparameter. */
export interface Kind {
  value: string;
  label: string;
  symbol: string;
  unit: string;
  log: boolean;
  help: string;
}

interface Part {
  $ref?: string;
  type?: string | string[];
  title?: string;
  symbol?: string;
  description?: string;
  pattern?: string;
  minItems?: number;
  default?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  const?: string;
  enum?: string[];
  unit?: string;
  log?: boolean;
  anyOf?: Part[];
  oneOf?: Part[];
}

const parts = schema.$defs as Record<string, Part>;
const properties = schema.properties as Record<string, Part>;

/** Where a part refers to another, that one. */
function resolved(part: Part): Part {
  return part.$ref ? resolved(parts[part.$ref.replace("#/$defs/", "")]!) : part;
}

/** Values that are named one by one. */
function named(part: Part): { value: string; help: string }[] {
  const { oneOf, anyOf, enum: all, const: one, description = "" } = resolved(part);
  if (one !== undefined) return [{ value: one, help: description }];
  if (all) return all.map((value) => ({ value, help: "" }));
  return (oneOf ?? anyOf ?? []).flatMap(named);
}

const typed = (part: Part, type: string): boolean => {
  const { type: own, anyOf } = resolved(part);
  return own === type || (Array.isArray(own) && own.includes(type)) || (anyOf ?? []).some((one) => typed(one, type));
};

/** The largest whole number that a configuration holds. */
const WHOLE = 4_294_967_295;

/** The part that says how far a number goes. */
const bounded = (part: Part): Part => (part.$ref ? (resolved(part).anyOf ?? []).find(({ type }) => type === "integer") : undefined) ?? part;

/** How a value is written: a word as it is, all else as JSON. */
export const written = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** What is a table in configurations has one field on the page. */
const people = { title: "Validation people", description: "People to take the outer loss on, by number; those of the usual split where nobody is named" };

/** A setting by its name in configurations. */
export function field(name: string): Field {
  const part = name === "split" ? { ...properties[name]!, ...people } : properties[name]!;
  const choices = named(part);
  const whole = typed(part, "integer");
  const limits = bounded(part);
  return {
    name,
    label: part.title ?? name,
    symbol: part.symbol ?? "",
    help: part.description ?? "",
    is: typed(part, "string") ? "text" : choices.length > 0 ? "choice" : whole || typed(part, "number") ? "number" : "text",
    whole,
    min: limits.minimum ?? limits.exclusiveMinimum ?? 0,
    max: limits.maximum ?? limits.exclusiveMaximum ?? WHOLE,
    above: limits.exclusiveMinimum ?? null,
    below: limits.exclusiveMaximum ?? null,
    choices,
    pattern: [part, ...(resolved(part).anyOf ?? [])].map(resolved).find(({ pattern }) => pattern)?.pattern ?? null,
    numbers: part.minItems ?? 0,
    usual: part.default === undefined || part.default === null ? "" : written(part.default),
  };
}

/** What settings are called on the page, by their names in configurations. */
export const labels = Object.fromEntries(Object.keys(properties).map((name) => [name, field(name).label]));

/** Kinds of hyperparameters, in the order in which the engine has them. */
export const kinds: Kind[] = parts.Kind!.oneOf!.map(({ const: value, title, symbol, unit, log, description }) => ({
  value: value!, label: title!, symbol: symbol!, unit: unit!, log: log!, help: description!,
}));

/** A kind by its name. */
export const kind = (name: string): Kind => kinds.find(({ value }) => value === name)!;

/** Networks by name. */
export const networkNames = named(properties.network!);

/** Settings with no control of their own on the page, by what they are about. */
export const further = [
  { title: "The problem", names: ["task", "validation_windows", "split", "selection_people", "folds"] },
  {
    title: "Training and start values",
    names: [
      "optimizer", "learning_rate", "decay", "momentum", "betas", "epsilon", "hypergradient_rate", "momentum_hypergradient_rate", "l2", "dropout",
      "jitter", "scaling",
    ],
  },
  { title: "The outer optimiser", names: ["outer_method", "outer_rate", "example_weight_rate", "patience", "outer", "memory_budget"] },
] as const;

/** Their names, in this order. */
export const furtherNames: string[] = further.flatMap(({ names }) => [...names]);
