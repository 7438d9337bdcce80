import { count, number, several } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, fraction, display } = math;

export const searchOrHypergradients: Lesson = {
  name: "search-or-hypergradients",
  title: "Search or hypergradients?",
  about: "The same budget of trainings for both, and one to thirty-two hyperparameters to find. Who wins where?",
  minutes: 10,
  words: [
    "Each λ sets the penalty of one weight, and the leader wants a certain value of each weight. Both ways may spend 80 trainings. Search trains at 80 points and keeps the best: at random, or where Parzen estimators (TPE) expect something from the points before. A hypergradient counts as four trainings, so that descent has twenty of them.",
    "Each training tells a search one number. A hypergradient has a number for every λ. With one hyperparameter 80 points at random are plenty; with thirty-two they are lost in space. The second picture is the median of five seeds.",
  ],
  controls: [
    { name: "hyperparameters", label: "Hyperparameters", min: 0, max: 5, step: 1, value: 3, shown: (power) => count(2 ** power), plays: true },
    { name: "searcher", label: "Search", min: 0, max: 1, step: 1, value: 0, choices: ["At random", "Parzen estimators (TPE)"] },
    { name: "seed", label: "Seed", min: 1, max: 20, step: 1, value: 1 },
  ],
  panels: ({ numbers, curves }, { hyperparameters }) => [
    {
      title: "The lowest loss so far",
      xLabel: "trainings spent",
      yLabel: "outer loss",
      yLog: true,
      strokes: [
        { points: curves.search, name: "search", colour: "follower" },
        { points: curves.descent, name: "hypergradients", colour: "leader" },
        { points: curves.descent, colour: "leader", as: "hollow", width: 1.5 },
      ],
    },
    {
      title: "After 80 trainings",
      xLabel: "hyperparameters",
      yLabel: "outer loss",
      xLog: true,
      yLog: true,
      x: [0.9, 36],
      strokes: [
        { points: curves.searches, name: "search", colour: "follower" },
        { points: curves.searches, colour: "follower", as: "hollow" },
        { points: curves.descents, name: "hypergradients", colour: "leader" },
        { points: curves.descents, colour: "leader", as: "hollow" },
        { points: here(hyperparameters!, numbers.search), colour: "follower", as: "dots", width: 2, aside: true },
        { points: here(hyperparameters!, numbers.descent), name: "this seed", colour: "leader", as: "dots", width: 2, aside: true },
      ],
    },
  ],
  summary: ({ numbers }, { hyperparameters }) =>
    `With ${several(2 ** hyperparameters!, "hyperparameter")} and 80 trainings, search comes to an outer loss of ${number(numbers.search, 3)}, and descent on hypergradients to ${number(numbers.descent, 3)}.`,
  readings: () => [
    { number: "search", label: "Search", digits: 3 },
    { number: "descent", label: "Hypergradients", digits: 3 },
    { number: "slope", label: "First derivative at λ = 0" },
  ],
  questions: [
    {
      question: "With one hyperparameter, who wins, and why is that no shame for either?",
      answer: "Mostly descent, and Parzen estimators on some seeds; both are near enough, as 80 points lie densely on a line. Where a training is cheap and λ has one or two entries, search is the simpler way.",
    },
    {
      question: "Why does search get worse with every doubling of the hyperparameters?",
      answer: "To be good, all entries have to be good at once. The share of the space where that is so shrinks by a factor with every entry, and 80 points stay 80 points.",
    },
    {
      question: "Hypergradients get worse, too, and by a larger factor. Why are they still lower with thirty-two?",
      answer: "Each has a derivative for every entry, for the price of about four trainings, so that all entries come nearer at once. But twenty steps do not bring all of them to the end: the median goes from about 10⁻⁷ to 0.0025, while that of random search goes from about 10⁻⁴ to 0.035.",
    },
  ],
  formulas: [
    {
      says: "The follower’s loss, with a penalty for each weight:",
      formula: display(i("L"), o("="), fraction(n(1), n(2)), math.sum(i("i"), i("m")), sup(row(o("("), sub(i("w"), i("i")), o("−"), n(1), o(")")), n(2)), o("+"), sup(i("e"), sub(i("λ"), i("i"))), sup(sub(i("w"), i("i")), n(2))),
    },
    {
      says: "The leader’s, with the values v that it wants:",
      formula: display(i("E"), o("="), fraction(n(1), row(n(2), i("m"))), math.sum(i("i"), i("m")), sup(row(o("("), sub(i("w"), i("i")), o("−"), sub(i("v"), i("i")), o(")")), n(2))),
    },
  ],
};

function here(power: number, loss: number | undefined) {
  return loss === undefined ? undefined : { x: [2 ** power], y: [loss] };
}
