import { number, several } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, row, display } = math;
const ITERATIONS = 40;

export const overfitting: Lesson = {
  name: "overfitting",
  title: "Overfitting the validation people",
  about: "The leader can learn by heart, too: 240 weights tuned on a few windows serve these, and nobody else.",
  minutes: 10,
  recordings: true,
  words: [
    "The follower learns six activities from 240 windows, each with a weight. The leader tunes these weights on some windows of other people, the validation people; no label is wrong here. People whom neither has met tell what that is worth.",
    "With 12 validation windows the leader’s loss falls and falls (blue), while the loss on the people who were not asked rises (red): 240 numbers were fitted to 12 windows. That the derivative is exact is no help; it leads exactly to the wrong place. More windows of more people are, and so is stopping early.",
  ],
  controls: [
    { name: "iteration", label: "Outer iteration", min: 0, max: ITERATIONS, step: 1, value: ITERATIONS, plays: true },
    { name: "windows", label: "Validation windows", min: 6, max: 480, step: 6, value: 12 },
  ],
  panels: ({ numbers }, { iteration }) => {
    const over = (what: string) => {
      const known = Array.from({ length: ITERATIONS + 1 }, (_, k) => k).filter((k) => Number.isFinite(numbers[`${what}_${k}`]));
      return { x: known, y: known.map((k) => numbers[`${what}_${k}`]!) };
    };
    const at = (what: string) => ({ x: [iteration!], y: [numbers[`${what}_${iteration}`] ?? NaN] });
    const panel = (title: string, yLabel: string, validation: string, test: string) => ({
      title, yLabel, xLabel: "outer iteration", x: [0, ITERATIONS] as [number, number],
      strokes: [
        { points: over(validation), name: "validation windows", colour: "leader" as const },
        { points: over(test), name: "people not asked", colour: "bad" as const },
        { points: at(validation), colour: "leader" as const, as: "dots" as const, width: 3 },
        { points: at(test), colour: "bad" as const, as: "dots" as const, width: 3 },
      ],
    });
    return [panel("Loss", "loss", "validation", "test"), panel("Right answers", "percent", "validation_accuracy", "test_accuracy")];
  },
  summary: ({ numbers }, { iteration: k, windows }) =>
    `After ${several(k!, "outer iteration")} on ${windows} validation windows the loss on these is ${number(numbers[`validation_${k}`])} and ${number(numbers[`test_${k}`])} on people who were not asked; it began with ${number(numbers.validation_0)} and ${number(numbers.test_0)}.`,
  readings: ({ iteration: k }) => [
    { number: `validation_${k}`, label: "Loss, validation windows" },
    { number: `test_${k}`, label: "Loss, people not asked" },
    { number: `validation_accuracy_${k}`, label: "Right, validation windows", digits: 3, unit: "%" },
    { number: `test_accuracy_${k}`, label: "Right, people not asked", digits: 3, unit: "%" },
    { number: "slope", label: "First slope, all weights together" },
    { number: "difference", label: "The same by differences" },
  ],
  questions: [
    {
      question: "With 12 validation windows, when would you have stopped, and could the leader have known?",
      answer: "Where the red loss is lowest, after the first few iterations or none. The leader cannot know: all that it sees, the blue loss, says to go on. It takes other people, put aside for that.",
    },
    {
      question: "What do 480 validation windows change?",
      answer: "240 weights can no longer be fitted to each of 480 windows. The loss of people not asked rises at first, from 0.315 to 0.347, is below its start from iteration 6 on and ends at 0.276. Yet fewer of their windows are named right: 89.8 % after 91.8 %. What was tuned is a loss, and not the share of right answers.",
    },
    {
      question: "The slope and its difference agree. What does that say about the result, and what not?",
      answer: "That the hypergradient is the derivative of the validation loss. Not that the validation loss is what one wants to be small.",
    },
  ],
  formulas: [
    {
      says: "What is tuned, on the validation people V:",
      formula: display(`<munder><mi>min</mi>${i("λ")}</munder>`, sub(i("E"), i("V")), o("("), sub(i("w"), i("T")), o("("), i("λ"), o(")"), o(")"), o(","), i("λ"), o("∈"), `<msup>${i("ℝ")}${n(240)}</msup>`),
    },
    {
      says: "What is wanted, on people drawn from all:",
      formula: display(sub(i("𝔼"), i("P")), row(o("["), sub(i("E"), i("P")), o("("), sub(i("w"), i("T")), o("("), i("λ"), o(")"), o(")"), o("]"))),
    },
  ],
};
