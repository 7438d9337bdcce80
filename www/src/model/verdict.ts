import type { Done, Evaluation, Forecast } from "../../pkg/stackelberg.js";
import { capital, duration, number, ofBudget, percent, points, several } from "./format.ts";
import { best, kept, type Run } from "./run.ts";
import { samePoint, useless } from "./tracks.ts";

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

/** Whether the tuned network is better than that of the start values, on people that neither has seen. */
export function better({ scores: { before, after } }: Run): boolean {
  return before !== undefined && after !== undefined && after.accuracy - before.accuracy > GAIN;
}

/** What tuning gained on people that neither network has seen; nothing where they were not scored. */
export function gained(run: Run): string | null {
  if (run.forecast) return foretells(run.forecast);
  const { scores: { before, after }, data } = run;
  if (!before || !after) return null;
  const people = several(data.test.people.length, "person", "people");
  const { random } = run.scores;
  if (random && random.accuracy - after.accuracy > GAIN)
    return `Random search at equal cost did better: ${percent(random.accuracy)} of test accuracy, and ${percent(after.accuracy)} tuned, on ${people} the model never saw.`;
  return better(run)
    ? `Tuning gained ${points(after.accuracy - before.accuracy).slice(1)} of test accuracy, on ${people} the model never saw.`
    : `The tuned network is not better than the start on the ${people} the model never saw.`;
}

/** What tuning did for a network that tells the next sample. */
function foretells({ before, after, lastSample }: Forecast): string {
  if (after === undefined) return "The tuned network was not scored, or training diverged.";
  const gain = before === undefined || after >= before ? "Tuning did not lower the error on people the model never saw" : `Tuning lowered the error on people the model never saw from ${number(before)} to ${number(after)}`;
  return `${gain}; telling the last sample again has ${number(lastSample)}, ${after < lastSample ? "which is worse" : "which is better: the network is of no use yet"}.`;
}

/** What is held against each other on people that no network has seen, as it came. */
export function bars({ scores: { before, after, random, "right-labels": right }, settings, baseline, done }: Run): { name: string; accuracy: number; own: boolean }[] {
  const all = [
    { name: settings.mislabelled > 0 ? "Start values, wrong labels" : "Start values", score: before, own: false },
    { name: `Best of random search, ${done ? several(Math.round(done.spent), "training") : "equal cost"}`, score: random, own: false },
    { name: settings.hyperparameters.includes("example-weights") ? "Learned weights" : "Tuned by hypergradients", score: after, own: true },
    { name: "Start values, right labels", score: right, own: false },
  ].flatMap(({ name, score, own }) => (score ? [{ name, accuracy: score.accuracy, own }] : []));
  return baseline === null ? all : [...all, { name: "Logistic regression on window statistics", accuracy: baseline, own: false }];
}

/** What wrong labels cost, and what learned weights won back of it; nothing of a run without them. */
export function wonBack({ scores: { before, after, "right-labels": right }, weights, settings }: Run): string | null {
  if (settings.mislabelled === 0 || !before || !after || !right) return null;
  const lost = right.accuracy - before.accuracy;
  const told = weights.at(-1);
  const auc = told ? ` A right label has a larger weight than a wrong one with probability ${told.auc.toFixed(2)}.` : "";
  if (lost <= GAIN) return `Wrong labels in ${settings.mislabelled} % of the training windows cost no test accuracy here, so there was nothing to win back.${auc}`;
  const back = after.accuracy - before.accuracy;
  const won = back > GAIN ? `won back ${points(back).slice(1)} of these` : "won back none of these";
  return `Wrong labels in ${settings.mislabelled} % of the training windows cost ${points(lost).slice(1)} of test accuracy; what was learned from the validation people alone ${won}.${auc}`;
}

/** The outcome of a run that is over, in a line. */
export function outcome(run: Run): string {
  const { scores: { before, after }, outer } = run;
  const least = best(outer);
  if (before && after)
    return `Test accuracy ${percent(before.accuracy)} → ${percent(after.accuracy)}${better(run) ? "" : ": not better than the start"}`;
  return least ? `Outer loss ${number(outer[0]?.loss)} → ${number(least.loss)}` : "Training diverged from the start values on";
}

/** Whether patience ended the run, while something of the budget was left. */
function endedEarly({ settings }: Run, { ending, settled, spent }: Done): boolean {
  return ending === "finished" && settled && Number(spent.toFixed(1)) < settings.budget;
}

/** How a run ended and after what, without its full stop. */
export function ending(run: Run, done: Done): string {
  const how = {
    finished: endedEarly(run, done) ? "Ended early, as nothing was gained any more," : "Finished",
    stopped: "Stopped early",
    diverged: "Given up, as training kept diverging,",
  };
  return `${how[done.ending]} after ${ofBudget(done.spent, run.settings.budget)} in ${duration(done.seconds)}`;
}

/** What a run has cost, what moved the hyperparameters, and whether patience ended it. */
export function cost(run: Run, done: Done): string[] {
  const { settings, outer } = run;
  const { spent, hypergradients, pastEdge, best, method, reason, seconds } = done;
  const noise = pastEdge > 0 ? ` (${pastEdge} past the edge of stability)` : "";
  const alone = outer.length - hypergradients;
  const sentences = [
    `Cost: ${ofBudget(spent, settings.budget)}, for ${several(hypergradients, "hypergradient")}${noise} and ${several(alone, "training")} alone, through ${several(settings.steps, "training step")} each, ${duration(seconds)}.`,
  ];
  if (endedEarly(run, done)) sentences.push("Patience ended the run: its last trainings lowered the outer loss by less than 1 %.");
  if (best > 0) sentences.push(`The values of outer iteration ${best} were kept.`);
  sentences.push(`Outer optimiser: ${method} (${reason}).`);
  return sentences;
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
        `${capital(list(never))} ${never.length === 1 ? "is" : "are"} never named right (F1 0), so the accuracy alone says little: the network has not learnt ${several(never.length, "activity", "activities")} of ${names.length}. More training steps or a larger budget help.`,
      );
    const most = Math.max(...all) / all.reduce((sum, one) => sum + one, 0);
    if (after.accuracy <= most)
      sentences.push(`Always naming “${names[all.indexOf(Math.max(...all))]}” would be right in ${percent(most)}, so this network is of no use yet.`);
  }
  if (before && after && !better(run))
    sentences.push(
      done && done.best <= 1
        ? "No point that was tried has a lower validation loss than the start, so the start values were kept. More training steps or a larger budget give the tuner more to work with."
        : "The validation loss fell, but the score on the test people did not rise: with so few people the two need not agree. More people, or more training steps, make the score steadier.",
    );
  if (before && after && better(run) && after.loss > before.loss)
    sentences.push(
      `The loss on the test people rose all the same, from ${number(before.loss)} to ${number(after.loss)}: the network is more often right, and surer of itself where it is wrong.`,
    );
  if (run.settings.compare && done?.ending === "finished" && !run.scores.random && run.opened === null)
    sentences.push("Random search at equal cost was not finished, so there is nothing to hold this against.");
  if (run.on !== run.engine) sentences.push("The GPU was lost twice within a minute, so the processor did the rest of this run.");
  const last = kept(run) ?? run.outer.at(-1);
  if (last && run.outer.some((one) => samePoint(one, last) && useless(one)))
    sentences.push("The hypergradient at the values that were kept is so steep that training there is past the edge of stability: small changes of them, or another seed, may give another result.");
  if (last?.loss !== undefined && last.selection !== undefined)
    sentences.push(
      `So many numbers were tuned that some validation people were kept from the outer loss, to choose the iteration: their loss is ${number(last.selection)}, the outer loss ${number(last.loss)}.` +
        (last.selection > 2 * last.loss ? " The hyperparameters fit the people they were tuned on more than others." : ""),
    );
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

