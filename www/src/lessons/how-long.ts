import { count, number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, o, sub, sup, row, display } = math;
const argmin = (below: string) => `<munder><mi>argmin</mi>${below}</munder>`;

export const howLong: Lesson = {
  name: "how-long",
  title: "How long should the follower train?",
  about: "The λ that suits a short training is not the one that suits a long one: short-horizon bias, and what it costs to be rid of it.",
  minutes: 12,
  words: [
    "The leader does not see the follower’s end, but where it stands after T steps. For each T it finds the λ that is best for that: it starts at 0 and takes 80 steps along exact hypergradients (dots).",
    "A short training from w = 0 ends with small weights anyway: stopping early is a penalty, too. So the leader that sees few steps wants less of a penalty, or none. Only as T grows does its λ come to the one that is right for a training without end (dashed), and every doubling of T doubles the cost. The other pictures repeat this for T from 1 to 80.",
  ],
  controls: [
    { name: "steps", label: "Training steps T", min: 1, max: 80, step: 1, value: 10, plays: true },
    { name: "rate", label: "Learning rate", min: 0.01, max: 0.2, step: 0.01, value: 0.03 },
  ],
  panels: ({ curves }) => [
    {
      title: "The leader’s loss, and its way",
      xLabel: "λ",
      yLabel: "outer loss",
      y: [0, 0.9],
      strokes: [
        { points: curves.exact, name: "training without end", colour: "muted", dash: [6, 4] },
        { points: curves.outer, name: "after T steps", colour: "leader" },
        { points: curves.tried, name: "points tried", colour: "good", as: "hollow", width: 1.5 },
        { points: curves.exact_here, name: "exact λ", colour: "muted", as: "dots", width: 3 },
        { points: curves.found_here, name: "λ found", colour: "good", as: "dots", width: 3 },
      ],
    },
    {
      title: "The λ found, by the length of training",
      xLabel: "training steps T",
      yLabel: "λ found",
      xLog: true,
      strokes: [
        { points: curves.exact_for_all, name: "exact", colour: "muted", dash: [6, 4] },
        { points: curves.found, name: "after T steps", colour: "leader" },
        { points: curves.found, colour: "leader", as: "hollow" },
        { points: curves.found_at_this_length, name: "this T", colour: "good", as: "dots", width: 3 },
      ],
    },
    {
      title: "What finding it took",
      xLabel: "training steps T",
      yLabel: "steps forwards and backwards",
      xLog: true,
      yLog: true,
      strokes: [
        { points: curves.spent, colour: "follower" },
        { points: curves.spent, colour: "follower", as: "hollow" },
      ],
    },
  ],
  summary: ({ numbers }, { steps }) =>
    `With T = ${steps} the leader ends at λ = ${number(numbers.found)}, with an outer loss of ${number(numbers.loss)}, after ${count(numbers.spent ?? 0)} steps. Exact would be λ = ${number(numbers.exact_found)}.`,
  readings: () => [
    { number: "found", label: "λ found with T steps", digits: 3 },
    { number: "exact_found", label: "Exact λ", digits: 3 },
    { number: "loss", label: "Outer loss found" },
    { number: "slope", label: "Hypergradient at λ = 0" },
    { number: "spent", label: "Steps it took", whole: true },
  ],
  questions: [
    {
      question: "Why does the leader stay where it began when T = 1?",
      answer: "The first step from w = 0 is the same for all λ, so the outer loss does not depend on λ: the hypergradient is 0. It has not found that λ is right, but sees nothing.",
    },
    {
      question: "At T = 5 and a learning rate of 0.03 the λ found runs down towards −4. Is that a fault of the method?",
      answer: "No, it is the right answer to the question that was asked: after five steps the weights are already small, and any penalty makes them too small. The question was not the one that was meant.",
    },
    {
      question: "With a learning rate of 0.05, how many steps bring the λ found to within 0.02 of the exact one, and why fewer than with 0.02?",
      answer: "About 12 against about 35. What counts is how far the follower gets: roughly the steps times the rate.",
    },
  ],
  formulas: [
    {
      says: "What is found with T steps, and what was meant:",
      formula: display(
        sub(i("λ"), i("T")), o("="), argmin(i("λ")), i("E"), o("("), sub(i("w"), i("T")), o("("), i("λ"), o(")"), o(")"), o(","),
        sup(i("λ"), o("*")), o("="), argmin(i("λ")), i("E"), o("("), sup(i("w"), o("*")), o("("), i("λ"), o(")"), o(")"),
      ),
    },
    {
      says: "On a bowl with curvature h and learning rate η the way to go shrinks by a factor in each step:",
      formula: display(
        sub(i("w"), i("T")), o("−"), sup(i("w"), o("*")), o("="), sup(row(o("("), math.n(1), o("−"), i("η"), i("h"), o(")")), i("T")), o("("), sub(i("w"), math.n(0)), o("−"), sup(i("w"), o("*")), o(")"),
      ),
    },
  ],
};
