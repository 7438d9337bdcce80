import { number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, fraction, display } = math;

export const response: Lesson = {
  name: "response",
  title: "A network that tunes its own penalty",
  about: "Under noise on λ a network learns how it would answer to another λ, and the leader goes by that answer: self-tuning networks.",
  minutes: 12,
  words: [
    "The best weight for each λ is the grey curve. To know its slope one can follow a training back. A self-tuning network learns it instead: λ is shaken by noise, and the network learns not a weight but a line, a weight and its answer to λ, that does well on average (amber).",
    "The leader then needs no training to the end: it goes by the line to the weight that it wants (blue), again and again. With little noise the line is a tangent. With much noise it is a chord, its slope too flat. The centred form, Δ-STN, learns the weight without noise and only the answer with it, so that its weight stays right.",
  ],
  controls: [
    { name: "size", label: "Size of the noise σ", min: 0.05, max: 1, step: 0.05, value: 0.5, plays: true },
    { name: "lambda", label: "λ, the log of the penalty", min: -2, max: 1, step: 0.1, value: 0 },
    { name: "form", label: "What is learned under noise", min: 0, max: 1, step: 1, value: 0, choices: ["The answer alone (centred, Δ-STN)", "Weight and answer together (STN)"] },
  ],
  panels: ({ curves }) => [
    {
      title: "The weight, by λ",
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
      title: "The answer to λ, by the size of the noise",
      xLabel: "size of the noise σ",
      yLabel: "answer: change of the weight by λ",
      strokes: [
        { points: curves.truth, name: "true slope", colour: "muted" },
        { points: curves.centred, name: "centred", colour: "follower" },
        { points: curves.joint, name: "together", colour: "bad", dash: [6, 4] },
        { points: curves.size_here, colour: "follower", as: "dots", width: 3 },
      ],
    },
  ],
  summary: ({ numbers }, { size }) =>
    `With noise of size ${number(size)} the weight learned is ${number(numbers.weight, 4)}, where ${number(numbers.exact_weight, 4)} is best, and its answer to λ ${number(numbers.answer, 4)}, where ${number(numbers.exact_answer, 4)} is true. The leader comes to λ = ${number(numbers.found)}; ${number(numbers.exact_found)} is right.`,
  readings: () => [
    { number: "weight", label: "Weight learned", digits: 5 },
    { number: "answer", label: "Answer learned", digits: 5 },
    { number: "exact_answer", label: "True answer", digits: 5 },
    { number: "slope", label: "Leader’s slope by the answer" },
    { number: "hypergradient", label: "Hypergradient, exact" },
    { number: "found", label: "λ found" },
    { number: "exact_found", label: "Right λ" },
  ],
  questions: [
    {
      question: "At λ = 0 read the answer for σ = 0.1, 0.5 and 1. What is it for no noise at all?",
      answer: "−0.2494, −0.2345, −0.1918: with less and less noise it goes to the true slope, −0.25. But with no noise there would be nothing to learn from.",
    },
    {
      question: "The answer is too flat for large noise. Why does the leader arrive all the same?",
      answer: "A slope that is too flat still has the right sign: it only makes the leader’s steps shorter. It stops where its weight is the one it wants, and in the centred form that weight is right.",
    },
    {
      question: "What does learning the weight together with the answer change, at σ = 1?",
      answer: "The weight becomes 0.4960 and not 0.5, as it serves all the λ that noise makes, and not λ itself. So the leader stops at 0.94, where 0.85 is right.",
    },
  ],
  formulas: [
    {
      says: "The follower’s loss, and what is best:",
      formula: display(i("L"), o("="), fraction(n(1), n(2)), sup(row(o("("), i("w"), o("−"), n(1), o(")")), n(2)), o("+"), fraction(n(1), n(2)), sup(i("e"), i("λ")), sup(i("w"), n(2)), o(","), sup(i("w"), o("*")), o("="), fraction(n(1), row(n(1), o("+"), sup(i("e"), i("λ"))))),
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
