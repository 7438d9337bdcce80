import type { Evaluation } from "../../pkg/stackelberg.js";
import { capital, percent, several } from "./format.ts";
import { kept, type Run } from "./run.ts";
import { slope } from "./tracks.ts";

/** Gains of less than this share of all windows are none. */
const GAIN = 0.002;

/** Windows of each activity. */
function rows({ f1, confusion }: Evaluation): number[] {
  return f1.map((_, row) => confusion.slice(row * f1.length, (row + 1) * f1.length).reduce((sum, one) => sum + one, 0));
}

/** How many of the activities that occur are never named right. */
export function unnamed(score: Evaluation): number {
  return rows(score).filter((windows, at) => windows > 0 && score.f1[at] === 0).length;
}

/** What a result is worth, beyond its figures; the first sentence says the most. */
export function verdicts(run: Run): string[] {
  const { scores: { before, after }, data, done } = run;
  const sentences: string[] = [];
  const names = data.classes.map(({ name }) => name);
  if (after) {
    const all = rows(after);
    const never = names.filter((_, at) => all[at]! > 0 && after.f1[at] === 0);
    if (never.length > 0)
      sentences.push(
        `${capital(list(never))} ${never.length === 1 ? "is" : "are"} never named right (F1 0), so the accuracy alone says little: the network has not learnt ${several(never.length, "activity", "activities")} of ${names.length}. More training steps or outer iterations help.`,
      );
    const most = Math.max(...all) / all.reduce((sum, one) => sum + one, 0);
    if (after.accuracy <= most)
      sentences.push(`Always naming “${names[all.indexOf(Math.max(...all))]}” would be right in ${percent(most)}, so this network is of no use yet.`);
  }
  if (before && after && after.accuracy - before.accuracy <= GAIN)
    sentences.push(
      done && done.best <= 1
        ? "No outer step lowered the validation loss, so the start values were kept. A longer inner run or more outer iterations give the hypergradient more to work with."
        : "The validation loss fell, but the score on the test people did not rise: with so few people the two need not agree. More people, or more training steps, make the score steadier.",
    );
  if (run.on !== run.engine) sentences.push("The GPU was lost twice within a minute, so the processor did the rest of this run.");
  const last = kept(run) ?? run.outer.at(-1);
  if (last?.hyperparameters.some((one) => slope(one) === "exploded"))
    sentences.push("The hypergradient of the values that were kept is so steep that training there is at the edge of stability: small changes of them, or another seed, may give another result.");
  return sentences;
}

/** What the data leave no way to learn. */
export function untaught(classes: Run["data"]["classes"]): string | null {
  const missing = classes.filter(({ windows, training }) => windows > 0 && training === 0).map(({ name }) => name);
  if (missing.length === 0) return null;
  return `No training person has ${list(missing, "or")}: no network can learn to name ${missing.length === 1 ? "it" : "them"} from these data.`;
}

function list(names: string[], and = "and"): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${and} ${names.at(-1)}`;
}

