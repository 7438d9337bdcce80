import { number, several } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, row, fraction, display } = math;

export const exampleWeights: Lesson = {
  name: "example-weights",
  title: "Learned example weights",
  about: "Some labels of a phone’s recordings are wrong, and nobody says which. A weight for each window finds out.",
  minutes: 12,
  recordings: true,
  words: [
    "240 windows of real people’s motion sensors, and a share of their labels is made wrong. The follower learns the six activities from them. Each window counts by a weight of its own, and all weights begin at one half.",
    "The leader has 480 windows of other people, labelled with care. One hypergradient says for all weights at once whether its loss would fall if a window counted less. Twenty such steps, and the wrong windows (red) have sunk: nobody told the leader which they are.",
    "The three numbers are the same in small: the follower takes their weighted mean, the leader wants 1, and one of the three is −3.",
  ],
  controls: [
    { name: "iteration", label: "Outer iteration", min: 0, max: 20, step: 1, value: 20, plays: true },
    { name: "share", label: "Share of wrong labels", min: 0.1, max: 0.6, step: 0.05, value: 0.35, shown: (share) => `${Math.round(100 * share)} %` },
    { name: "examples", label: "Examples", min: 0, max: 1, step: 1, value: 0, choices: ["Windows of motion sensors", "Three numbers: 1, 1 and −3"] },
  ],
  panels: ({ numbers, curves }, { iteration, examples }) => {
    const over = (what: string) => {
      const known = Array.from({ length: 21 }, (_, k) => k).filter((k) => Number.isFinite(numbers[`${what}_${k}`]));
      return { x: known, y: known.map((k) => numbers[`${what}_${k}`]!) };
    };
    return [
      {
        title: examples === 0 ? "The weight of each window" : "The weight of each number",
        xLabel: examples === 0 ? "window" : "number",
        yLabel: "weight",
        y: [-0.03, 1.03],
        strokes: [
          { points: curves[`right_${iteration}`], name: "right label", colour: "good", as: "dots", width: 1.5 },
          { points: curves[`wrong_${iteration}`], name: "wrong label", colour: "bad", as: "dots", width: 1.5 },
        ],
      },
      {
        title: "How they come apart",
        xLabel: "outer iteration",
        yLabel: "mean weight",
        x: [0, 20],
        y: [-0.03, 1.03],
        strokes: [
          { points: over("right"), name: "right labels", colour: "good" },
          { points: over("wrong"), name: "wrong labels", colour: "bad" },
          { points: over("auc"), name: "told apart (AUC)", colour: "leader", dash: [6, 4] },
          { points: { x: [iteration!, iteration!], y: [0, 1] }, colour: "muted", width: 1 },
        ],
      },
    ];
  },
  summary: ({ numbers }, { iteration: k }) =>
    `After ${several(k!, "outer iteration")} right labels weigh ${number(numbers[`right_${k}`], 2)} on average and wrong ones ${number(numbers[`wrong_${k}`], 2)}. A right label weighs more than a wrong one in ${number(100 * (numbers[`auc_${k}`] ?? NaN), 3)} % of all pairs.`,
  readings: ({ iteration: k, examples }) => [
    { number: `outer_loss_${k}`, label: "Outer loss", digits: 4 },
    { number: `auc_${k}`, label: "Told apart (AUC)", digits: 3 },
    ...(examples === 0 ? [{ number: `accuracy_${k}`, label: "Right on people never seen", digits: 3, unit: "%" }] : []),
    { number: `slope_right_${k}`, label: "Slope of the first right one", digits: 4, none: "none is right" },
    { number: `slope_wrong_${k}`, label: "Slope of the first wrong one", digits: 4, none: "none is wrong" },
  ],
  questions: [
    {
      question: "Take the three numbers at iteration 0. Why is the slope of the wrong one positive, and those of the right ones negative?",
      answer: "The follower’s mean is −0.25, the leader wants 1. More weight on −3 pulls the mean down, away from 1, and raises the outer loss: +0.4297. More weight on a 1 pulls it up: −0.1953.",
    },
    {
      question: "How could a search without derivatives find 240 weights?",
      answer: "Hardly: it would learn one number from each training. A hypergradient has 240 numbers, and costs about as much as four trainings.",
    },
    {
      question: "Raise the share of wrong labels to 60 %. Why can the leader still tell them apart?",
      answer: "It does not go by the majority but by its own windows, which are labelled with care. Wrong labels are spread over six activities, so each of them still disagrees with those.",
    },
  ],
  formulas: [
    {
      says: "The follower’s loss, each example with a weight between 0 and 1:",
      formula: display(i("L"), o("="), fraction(n(1), i("n")), math.sum(row(i("i"), o("="), n(1)), i("n")), i("σ"), o("("), sub(i("λ"), i("i")), o(")"), sub(i("ℓ"), i("i")), o("("), i("w"), o(")")),
    },
    {
      says: "Of the three numbers, at the follower’s end w*:",
      formula: display(
        fraction(row(i("d"), i("E")), row(i("d"), sub(i("λ"), i("i")))), o("="), fraction(row(o("("), i("w"), o("−"), n(1), o(")"), o("("), sub(i("y"), i("i")), o("−"), i("w"), o(")"), i("σ′"), o("("), sub(i("λ"), i("i")), o(")")), row(`<munder><mo>∑</mo><mi>j</mi></munder>`, i("σ"), o("("), sub(i("λ"), i("j")), o(")"), o("+"), fraction(n(1), n(2)))),
      ),
    },
  ],
};
