import { number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, display } = math;

export const truncatedAndImplicit: Lesson = {
  name: "truncated-and-implicit",
  title: "Truncated and implicit",
  about: "Cheaper than the whole way back: only its last steps, or a linear system at the end. How far off does each point?",
  minutes: 12,
  words: [
    "Eight weights, each pulled by a λ of its own, in a bowl that is steep along the first and flat along the last: their ratio is the condition. Going back through all T steps gives the exact hypergradient. Truncation goes back through the last few alone. The implicit ways take the end of the training for the bottom of the bowl, and solve a linear system there, by terms of Neumann’s series or by conjugate gradients.",
    "First comes each way’s hypergradient, entry by entry, then the angle to the exact one. Short efforts see the steep directions first. Where the training has arrived, truncation and Neumann’s series are the same; where it has not, the implicit ways answer another question.",
  ],
  controls: [
    { name: "effort", label: "Steps back, terms or iterations", min: 1, max: 120, step: 1, value: 5, plays: true },
    { name: "condition", label: "Condition of the bowl", min: 1, max: 200, step: 1, value: 20 },
    { name: "steps", label: "Training steps T", min: 2, max: 200, step: 1, value: 100 },
    { name: "rate", label: "Learning rate", min: 0.05, max: 0.9, step: 0.05, value: 0.5 },
  ],
  panels: ({ curves }, { effort }) => [
    {
      title: "The hypergradient, entry by entry",
      xLabel: "entry, from steep to flat",
      yLabel: "derivative",
      yLog: true,
      strokes: [
        { points: curves.exact_entries, name: "all steps back", colour: "ink", width: 3 },
        { points: curves.neumann_entries, name: "Neumann", colour: "leader", width: 3 },
        { points: curves.truncated_entries, name: "the last steps", colour: "follower", dash: [4, 8], width: 3 },
        { points: curves.gradients_entries, name: "conjugate gradients", colour: "good", dash: [6, 4] },
      ],
    },
    {
      title: "The angle to the exact one",
      xLabel: "steps, terms or iterations",
      yLabel: "degrees",
      xLog: true,
      x: [0.9, 140],
      strokes: [
        { points: curves.neumann, name: "Neumann", colour: "leader", width: 3 },
        { points: curves.truncated, name: "the last steps", colour: "follower", dash: [4, 8], width: 3 },
        { points: curves.gradients, name: "conjugate gradients", colour: "good", dash: [6, 4] },
        { points: { x: [effort!, effort!], y: [0, 90] }, colour: "muted", width: 1, aside: true },
      ],
    },
  ],
  summary: ({ numbers }, { effort }) =>
    `With ${effort === 1 ? "one step, term or iteration" : `${effort} steps, terms or iterations`}, the angle to the exact hypergradient is ${number(numbers.truncated_angle, 3)} degrees for truncation, ${number(numbers.neumann_angle, 3)} for Neumann’s series and ${number(numbers.gradients_angle, 3)} for conjugate gradients.`,
  readings: () => [
    { number: "truncated", label: "First entry, last steps", digits: 5, none: "diverges" },
    { number: "neumann", label: "Neumann", digits: 5, none: "not solved" },
    { number: "gradients", label: "Conjugate gradients", digits: 5, none: "not solved" },
    { number: "exact", label: "Exact", digits: 5, none: "diverges" },
    { number: "truncated_angle", label: "Angle, last steps", digits: 3, unit: "°", none: "diverges" },
    { number: "neumann_angle", label: "Angle, Neumann", digits: 3, unit: "°", none: "not solved" },
    { number: "gradients_angle", label: "Angle, conjugate gradients", digits: 3, unit: "°", none: "not solved" },
  ],
  questions: [
    {
      question: "With T = 5 and a learning rate of 0.1, read the first entry for 1 to 5 steps back. What do you see?",
      answer: "0.0504, 0.0908, 0.1230, 0.1489, 0.1695: each further step adds less than the one before, by the factor 0.8 with which a step shrinks what is still to go. The fifth is exact, as there are five steps.",
    },
    {
      question: "In a round bowl (condition 1) truncation points the right way even with one step. Why not in a long one?",
      answer: "In a round bowl every direction is cut short by the same share, so the vector is too short but right in its direction. In a long one the flat directions are cut far more than the steep ones.",
    },
    {
      question: "Set T to 5 and the learning rate to 0.1. Why are the implicit ways wrong now, however long they iterate?",
      answer: "They differentiate the bottom of the bowl, and the training has not arrived there. They solve their system well, but at a point where it does not hold: 0.2521 for the first entry, and not 0.1695.",
    },
  ],
  formulas: [
    {
      says: "Of the whole sum the last K steps are kept:",
      formula: display(sub(i("h"), i("K")), o("="), math.sum(row(i("t"), o("="), i("T"), o("−"), i("K"), o("+"), n(1)), i("T")), sup(sub(i("B"), i("t")), o("⊤")), o("⋯"), sub(o("∇"), i("w")), i("E")),
    },
    {
      says: "At the bottom of the bowl, with H the inner loss’s curvature:",
      formula: display(i("h"), o("="), o("−"), sup(row(o("("), `<msubsup>${o("∇")}${row(i("w"), i("λ"))}${n(2)}</msubsup>`, i("L"), o(")")), o("⊤")), i("q"), o(","), i("H"), i("q"), o("="), sub(o("∇"), i("w")), i("E")),
    },
    {
      says: "Neumann’s series for its inverse, K terms of which are taken:",
      formula: display(sup(i("H"), row(o("−"), n(1))), o("="), i("η"), math.sum(row(i("k"), o("="), n(0)), o("∞")), sup(row(o("("), i("I"), o("−"), i("η"), i("H"), o(")")), i("k"))),
    },
  ],
};
