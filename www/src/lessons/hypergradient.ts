import { number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, fraction, sum, display } = math;
const by = (above: string) => fraction(row(i("d"), above), row(i("d"), i("λ")));

/** Difference steps are set by their power of ten. */
const power = (value: number) => number(10 ** value, 2);

export const hypergradient: Lesson = {
  name: "hypergradient",
  title: "What a hypergradient is",
  about: "The slope of the outer loss through a whole training, exactly and by differences, and why differences are never quite right.",
  minutes: 10,
  words: [
    "For every λ the follower trains T steps, and the outer loss is taken at the end: that is the blue curve. Its slope at a point is the hypergradient. The engine follows the training backwards, step by step, and finds it exactly, for the price of about three more trainings, however many hyperparameters there are: the green tangent.",
    "The other way is to train twice, at λ plus and minus a small step, and divide: the dashed line. A large step cuts the curve’s corner. With a small one the two losses agree in nearly all their digits, and what is left is rounding. The second picture has the error for every step size: even the best step loses digits, and it costs two more trainings for each hyperparameter.",
  ],
  controls: [
    { name: "lambda", label: "λ, the log of the penalty", min: -3, max: 1.5, step: 0.05, value: 0, plays: true },
    { name: "power", label: "Difference step", min: -6, max: 0, step: 0.25, value: -1, shown: power },
    { name: "steps", label: "Training steps T", min: 1, max: 60, step: 1, value: 10 },
    { name: "rate", label: "Learning rate", min: 0.01, max: 0.2, step: 0.01, value: 0.2 },
  ],
  panels: ({ curves }) => [
    {
      title: "Outer loss after T steps",
      xLabel: "λ",
      yLabel: "outer loss",
      strokes: [
        { points: curves.outer, name: "outer loss", colour: "leader" },
        { points: curves.tangent, name: "hypergradient", colour: "good", width: 3, aside: true },
        { points: curves.secant, name: "difference", colour: "bad", width: 2, dash: [6, 4], aside: true },
        { points: curves.secant, colour: "bad", as: "hollow", aside: true },
        { points: curves.here, colour: "leader", as: "dots", width: 3 },
      ],
    },
    {
      title: "How wrong the difference is",
      xLabel: "difference step",
      yLabel: "relative error",
      xLog: true,
      yLog: true,
      strokes: [
        { points: curves.errors, name: "for all steps", colour: "bad" },
        { points: curves.error_here, name: "this step", colour: "bad", as: "dots", width: 3 },
      ],
    },
  ],
  summary: ({ numbers }, { lambda, power: step }) =>
    `At λ = ${number(lambda)} the hypergradient is ${number(numbers.exact, 5)}. A difference with step ${power(step!)} gives ${number(numbers.difference, 5)}${Number.isFinite(numbers.error) ? `, an error of ${number(numbers.error, 2)} of it` : ""}.`,
  readings: () => [
    { number: "outer_loss", label: "Outer loss" },
    { number: "exact", label: "Hypergradient", digits: 5 },
    { number: "difference", label: "By differences", digits: 5, none: "diverges" },
    { number: "error", label: "Relative error", digits: 2, none: "none" },
  ],
  questions: [
    {
      question: "Which difference step is best here, and why is a smaller one worse?",
      answer: "About 10⁻² to 10⁻³. The engine computes with some seven digits. Below that step both losses share most of them, and dividing what is left by a tiny step magnifies the rounding.",
    },
    {
      question: "Set T to 5, 10 and 20 at λ = 0 and a learning rate of 0.2. Where does the hypergradient go?",
      answer: "−0.533, −0.633, −0.637: to the slope of a training without end, −0.6373. A short training has a slope of its own, which is exact for that training.",
    },
    {
      question: "A network has a weight for each of 2,000 examples as its hyperparameters. What does each way cost?",
      answer: "Differences need 4,000 trainings. The way back costs about three more trainings, however many hyperparameters there are.",
    },
  ],
  formulas: [
    {
      says: "The hypergradient, through all steps of the training:",
      formula: display(
        by(i("E")), o("="),
        sum(row(i("t"), o("="), n(1)), i("T")),
        sup(sub(i("B"), i("t")), o("⊤")), sup(sub(i("A"), row(i("t"), o("+"), n(1))), o("⊤")), o("⋯"), sup(sub(i("A"), i("T")), o("⊤")),
        sub(o("∇"), i("w")), i("E"),
      ),
    },
    {
      says: "where each step depends on the weights before it and on λ by",
      formula: display(
        sub(i("A"), i("t")), o("="), fraction(row(o("∂"), sub(i("w"), i("t"))), row(o("∂"), sub(i("w"), row(i("t"), o("−"), n(1))))), o(","),
        sub(i("B"), i("t")), o("="), fraction(row(o("∂"), sub(i("w"), i("t"))), row(o("∂"), i("λ"))),
      ),
    },
    {
      says: "The difference, with step h:",
      formula: display(by(i("E")), o("≈"), fraction(row(i("E"), o("("), i("λ"), o("+"), i("h"), o(")"), o("−"), i("E"), o("("), i("λ"), o("−"), i("h"), o(")")), row(n(2), i("h")))),
    },
  ],
};
