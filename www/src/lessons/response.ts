import type { Points, Stroke } from "../drawing/picture.ts";
import { count, number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, fraction, display } = math;

export const response: Lesson = {
  name: "response",
  title: "A network that tunes its own dropout",
  about: "Under noise on λ a network learns how it would answer to another rate of dropout, and the leader goes by that answer: self-tuning networks.",
  minutes: 12,
  words: [
    "To one weight, dropout at rate p is a penalty: the best weight for each λ = log p/(1−p) is the grey curve. Its slope could be had by following a training back. A self-tuning network learns it instead: λ is shaken by noise, and a line is learned, a weight and its answer to λ, that does well on average (amber). The leader goes by that line to the weight that it wants (blue). The centred form, Δ-STN, learns the weight without noise and only the answer with it.",
    "In the second picture twelve weights train under dropout, from the same λ, and its rate moves meanwhile by such an answer. The grey bowl is what trainings at fixed rates come to. Do both forms reach its lowest point? Too little noise teaches no answer; much noise a flat one.",
  ],
  controls: [
    { name: "turns", label: "Tuning steps in the second picture", min: 0, max: 40, step: 1, value: 40, shown: (value) => count(10 * value), plays: true },
    { name: "size", label: "Size of the noise σ", min: 0.05, max: 1, step: 0.05, value: 0.5 },
    { name: "lambda", label: "λ to begin with", min: -2, max: 1, step: 0.1, value: -2 },
    { name: "form", label: "In the first picture", min: 0, max: 1, step: 1, value: 0, choices: ["Δ-STN: answer under noise", "STN: both under noise"] },
  ],
  panels: ({ curves }, { turns }) => [
    {
      title: "One weight, by λ",
      xLabel: "λ",
      yLabel: "weight",
      x: [-3, 2],
      y: [0, 1],
      strokes: [
        { points: curves.wanted, name: "what the leader wants", colour: "leader", dash: [6, 4], width: 1.5 },
        { points: curves.exact, name: "best weight", colour: "muted" },
        { points: curves.line, name: "what is learned", colour: "follower", width: 3 },
        { points: curves.draws, name: "under noise", colour: "follower", as: "hollow", width: 1.5 },
        { points: curves.course, name: "the leader’s way", colour: "leader", as: "dots", width: 1.5 },
      ],
    },
    {
      title: "Twelve weights that tune their dropout",
      xLabel: "rate of dropout p",
      yLabel: "validation loss",
      x: [0, 0.9],
      strokes: [
        { points: curves.fixed, name: "fixed rates", colour: "muted" },
        { points: curves.best, name: "the best one", colour: "good", as: "hollow", width: 4 },
        ...trail(curves.joint, "STN", turns!, "bad"),
        ...trail(curves.centred, "Δ-STN", turns!, "follower"),
      ],
    },
  ],
  summary: ({ numbers }, { size }) =>
    `With noise of size ${number(size)} the one weight learned is ${number(numbers.weight, 4)}, where ${number(numbers.exact_weight, 4)} is best, and its answer to λ ${number(numbers.answer, 4)}, where ${number(numbers.exact_answer, 4)} is true; the leader comes to λ = ${number(numbers.found)}, and ${number(numbers.exact_found)} is right. With twelve weights the rate goes from ${number(numbers.rate, 2)} to ${number(numbers.centred_rate, 2)} by Δ-STN and to ${number(numbers.joint_rate, 2)} by STN; ${number(numbers.best_rate, 2)} is best.`,
  readings: () => [
    { number: "weight", label: "Weight learned", digits: 5 },
    { number: "answer", label: "Answer learned", digits: 5 },
    { number: "exact_answer", label: "True answer", digits: 5 },
    { number: "slope", label: "Leader’s slope by the answer" },
    { number: "hypergradient", label: "Hypergradient, exact" },
    { number: "found", label: "λ found" },
    { number: "exact_found", label: "Right λ" },
    { number: "rate", label: "Twelve weights: rate at first", digits: 3 },
    { number: "centred_rate", label: "Δ-STN: mean rate of the last steps", digits: 3 },
    { number: "joint_rate", label: "STN: mean rate of the last steps", digits: 3 },
    { number: "best_rate", label: "Best rate, known", digits: 3 },
    { number: "first_slope", label: "First slope of Δ-STN", digits: 3, none: "none yet" },
    { number: "exact_first_slope", label: "The same, known", digits: 3 },
  ],
  questions: [
    {
      question: "At λ = 0 read the one weight’s answer for σ = 0.1, 0.5 and 1. What is it for no noise at all?",
      answer: "−0.2494, −0.2345, −0.1918: with less and less noise it goes to the true slope, −0.25. But with no noise there would be nothing to learn from.",
    },
    {
      question: "σ = 0.5: where does the rate end from λ = −2, and from λ = 1? Why does an answer that is too flat not matter?",
      answer: "At about 0.34 both times, with both forms; 0.36 is best. A slope that is too flat still has the right sign, and only makes the leader’s steps shorter: it stops where its slope is 0. That is a little below the best rate, as twelve answers that are each a little too flat do not cancel exactly.",
    },
    {
      question: "σ = 0.1, from λ = 1: which of the two goes the wrong way at first, and why?",
      answer: "STN. Its weights are general ones and λ times the answer, both learned at once; with hardly any noise nothing tells them apart, and for λ above 0 the answer takes the sign of the weights. Δ-STN multiplies its answer by the noise alone: it is learned slowly, but it is an answer.",
    },
  ],
  formulas: [
    {
      says: "Dropout with masks m, and the penalty that it is on average:",
      formula: display(sub(i("𝔼"), i("m")), fraction(n(1), n(2)), sup(row(o("("), fraction(row(i("m"), i("w")), row(n(1), o("−"), i("p"))), o("−"), n(1), o(")")), n(2)), o("="), fraction(n(1), n(2)), sup(row(o("("), i("w"), o("−"), n(1), o(")")), n(2)), o("+"), fraction(n(1), n(2)), sup(i("e"), i("λ")), sup(i("w"), n(2)), o(","), sup(i("e"), i("λ")), o("="), fraction(i("p"), row(n(1), o("−"), i("p")))),
    },
    {
      says: "So what is best:",
      formula: display(sup(i("w"), o("*")), o("="), fraction(n(1), row(n(1), o("+"), sup(i("e"), i("λ")))), o("="), n(1), o("−"), i("p")),
    },
    {
      says: "A line is learned, by the mean over the noise ε:",
      formula: display(`<munder><mi>min</mi>${row(sub(i("w"), n(0)), o(","), i("θ"))}</munder>`, sub(i("𝔼"), i("ε")), i("L"), o("("), sub(i("w"), n(0)), o("+"), i("θ"), i("ε"), o(","), i("λ"), o("+"), i("ε"), o(")")),
    },
    {
      says: "and the leader takes θ for the slope of the best weight:",
      formula: display(fraction(row(i("d"), i("E")), row(i("d"), i("λ"))), o("≈"), fraction(row(o("∂"), i("E")), row(o("∂"), i("w"))), i("θ")),
    },
  ],
};

/** How far a network has come after so many turns, and where it is then. */
function trail(points: Points | undefined, name: string, turns: number, colour: "follower" | "bad"): Stroke[] {
  const from = (first: number) => points && { x: points.x.slice(first, turns + 1), y: points.y.slice(first, turns + 1) };
  const now = Math.min(turns, (points?.x.length ?? 1) - 1);
  return [
    { points: from(0), name, colour, width: 2 },
    { points: from(now), colour, as: "dots", width: 3 },
  ];
}
