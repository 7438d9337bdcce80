import { number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, fraction, display } = math;
const norm = (inside: string) => sup(row(o("‖"), inside, o("‖")), n(2));
const half = fraction(n(1), n(2));

export const leaderAndFollower: Lesson = {
  name: "leader-and-follower",
  title: "Leader and follower",
  about: "A leader moves λ, a follower answers with weights, and the leader is judged by them: why the slope that it sees is the wrong one.",
  minutes: 10,
  words: [
    "The follower fits two weights to three points under a penalty that λ sets: whatever λ is, it walks down its own loss (amber ellipses) and ends in the valley, at w*(λ). The leader only chooses λ, and is judged by its own loss (blue ellipses) on two other points; each unit of λ has a price, too.",
    "Move λ and watch the follower’s end slide along the valley. The second picture is what the leader pays along that path. If it takes the follower for fixed, all it sees is the price: the dashed, direct slope. The total slope counts the follower’s answer.",
  ],
  controls: [
    { name: "lambda", label: "λ, the log of the penalty", min: -3, max: 1.5, step: 0.05, value: 0, plays: true },
    { name: "price", label: "Price of a unit of λ", min: 0, max: 0.5, step: 0.01, value: 0.1 },
    { name: "steps", label: "Training steps T", min: 1, max: 60, step: 1, value: 20 },
    { name: "rate", label: "Learning rate", min: 0.01, max: 0.2, step: 0.01, value: 0.1 },
  ],
  panels: ({ numbers, curves }) => [
    {
      title: "The follower’s weights",
      xLabel: "first weight",
      yLabel: "second weight",
      x: [-0.1, 1.2],
      y: [-0.1, 1],
      square: true,
      strokes: [
        ...[0, 1, 2].map((k) => ({ points: curves[`inner_contour_${k}`], colour: "follower" as const, width: 1, alpha: 0.7, name: k === 0 ? "its loss" : "" })),
        ...[0, 1, 2].map((k) => ({ points: curves[`outer_contour_${k}`], colour: "leader" as const, width: 1, alpha: 0.7, name: k === 0 ? "the leader’s" : "" })),
        { points: curves.valley, name: "where it ends, for all λ", colour: "ink", width: 2 },
        { points: curves.path, name: "its training", colour: "follower", width: 2 },
        { points: point(numbers.first_weight, numbers.second_weight), colour: "follower", as: "dots", width: 3 },
      ],
    },
    {
      title: "What the leader pays",
      xLabel: "λ",
      yLabel: "outer loss",
      strokes: [
        { points: curves.outer, name: "outer loss along the valley", colour: "leader" },
        { points: curves.tangent_total, name: "total slope", colour: "good", width: 3, aside: true },
        { points: curves.tangent_direct, name: "direct slope", colour: "bad", width: 3, dash: [6, 4], aside: true },
        { points: curves.here, colour: "leader", as: "dots", width: 3 },
      ],
    },
  ],
  summary: ({ numbers }, { lambda }) =>
    `At λ = ${number(lambda)} training ends at the weights ${number(numbers.first_weight)} and ${number(numbers.second_weight)}; the outer loss there is ${number(numbers.outer_loss)}. Its total slope is ${number(numbers.total)}, its direct slope ${number(numbers.direct)}.`,
  readings: () => [
    { number: "outer_loss", label: "Outer loss E" },
    { number: "direct", label: "Direct slope ∂E/∂λ" },
    { number: "through", label: "Through the follower" },
    { number: "total", label: "Total slope dE/dλ" },
  ],
  questions: [
    {
      question: "At λ = 0 and a price of 0.1, which way would a leader go that sees the direct slope alone, and what would come of it?",
      answer: "Down, to smaller λ, as the price is all that it sees. But a smaller penalty lets the follower fit its own three points, which are not the leader’s, so the outer loss rises. The total slope, about −0.53, says to raise λ.",
    },
    {
      question: "Why is the direct slope 0 when the price is 0?",
      answer: "Then the outer loss does not contain λ at all: it is a function of the weights. All that λ does to it, it does through the follower’s answer.",
    },
    {
      question: "What does the total slope do when the follower takes one training step only?",
      answer: "It equals the direct slope. From w = 0 the first step is the same for all λ, since the penalty has no slope at 0. With each further step λ has more of a say, until at some 20 steps the slope is that of w*(λ).",
    },
  ],
  formulas: [
    {
      says: "The follower’s loss, with the leader’s λ in it:",
      formula: display(i("L"), o("="), half, norm(row(i("X"), i("w"), o("−"), i("y"))), o("+"), half, sup(i("e"), i("λ")), norm(i("w"))),
    },
    {
      says: "The leader’s, on other points, with the price p:",
      formula: display(i("E"), o("="), half, norm(row(sub(i("X"), i("v")), i("w"), o("−"), sub(i("y"), i("v")))), o("+"), i("p"), i("λ")),
    },
    {
      says: "The total slope is the direct one, and what goes through the weights:",
      formula: display(
        fraction(row(i("d"), i("E")), row(i("d"), i("λ"))), o("="), fraction(row(o("∂"), i("E")), row(o("∂"), i("λ"))), o("+"),
        fraction(row(o("∂"), i("E")), row(o("∂"), i("w"))), fraction(row(i("d"), i("w")), row(i("d"), i("λ"))),
      ),
    },
  ],
};

function point(x: number | undefined, y: number | undefined) {
  return x === undefined || y === undefined ? undefined : { x: [x], y: [y] };
}
