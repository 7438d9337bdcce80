import { number, several } from "../model/format.ts";
import type { Stroke } from "../drawing/picture.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, display } = math;
const planes = [0, 1, 2, 3, 4, 5];

export const cuttingPlanes: Lesson = {
  name: "cutting-planes",
  title: "Cutting planes closing in",
  about: "CPMLHO ties the general weights of a self-tuning network to their answer to λ by half-planes, cut one after the other.",
  minutes: 12,
  words: [
    "A self-tuning network has general weights and an answer to λ; both together make its weights. How they share the work is left open. CPMLHO asks that their difference be small: inside the green diamond.",
    "The distance has corners, so it is replaced by planes. Every epoch one is cut: it touches the distance where the training is, and lies below it everywhere else. A plane (red) pushes the answer with a force μ that does not fade where it is obeyed. So the training swings through the diamond, and is turned back only when μ has sunk or another plane is cut: distance and push go up and down in turns. That is the method, not an accident. Grey is the same training without planes.",
  ],
  controls: [
    { name: "cuts", label: "Planes", min: 0, max: 6, step: 1, value: 4, plays: true },
    { name: "epoch", label: "Steps from cut to cut", min: 5, max: 60, step: 5, value: 30 },
    { name: "multiplier", label: "How much a new plane counts, μ", min: 0.01, max: 0.5, step: 0.01, value: 0.2 },
    { name: "follows", label: "Then μ", min: 0, max: 1, step: 1, value: 1, choices: ["stays as it is", "grows while overstepped"] },
  ],
  panels: ({ curves }) => [
    {
      title: "General weights less their answer",
      xLabel: "difference of the first weight",
      yLabel: "difference of the second weight",
      x: [-0.8, 1.1],
      y: [-0.9, 0.5],
      square: true,
      strokes: [
        { points: curves.allowed, name: "allowed", colour: "good", width: 2 },
        ...planes.map((k): Stroke => ({ points: curves[`edge_${k}`], name: k === 0 ? "planes" : "", colour: "bad", width: 1, dash: [6, 4] })),
        { points: curves.free_path, name: "without planes", colour: "muted" },
        { points: last(curves.free_path), colour: "muted", as: "dots", width: 2 },
        { points: curves.path, name: "with planes", colour: "follower" },
        { points: last(curves.path), colour: "follower", as: "dots", width: 3 },
      ],
    },
    {
      title: "The distance, its bounds, and the push",
      xLabel: "training step",
      yLabel: "distance, push",
      strokes: [
        { points: curves.distance, name: "distance", colour: "follower", width: 3 },
        ...planes.map((k): Stroke => ({ points: curves[`bound_${k}`], name: k === 0 ? "planes: bounds from below" : "", colour: "bad", width: 1, dash: [6, 4] })),
        { points: curves.multipliers, name: "push of all planes, Σ μ", colour: "leader" },
      ],
    },
  ],
  summary: ({ numbers }) =>
    `With ${several(numbers.cuts ?? 0, "plane")} the distance of the general weights from their answer ends at ${number(numbers.distance)}, and at ${number(numbers.free_distance)} without; the training loss is ${number(numbers.loss, 2)}.`,
  readings: () => [
    { number: "distance", label: "Distance, with planes", digits: 3 },
    { number: "free_distance", label: "Distance, without", digits: 3 },
    { number: "loss", label: "Training loss", digits: 2 },
    { number: "beyond", label: "Beyond the worst plane", digits: 3, none: "no plane" },
    { number: "push", label: "Push of the first plane", none: "no plane" },
    { number: "exact_push", label: "The same by hand", none: "no plane" },
  ],
  questions: [
    {
      question: "Take one plane only. Where does the difference go, and why not into the diamond?",
      answer: "Along the one direction in which the plane pushes, and through the diamond: the push is as large behind the edge as before it, and sinks only while the plane is obeyed. One half-plane is no diamond: beside and behind it the difference is free.",
    },
    {
      question: "Why does the training loss hardly notice?",
      answer: "What the answer gains the general weights lose: their sum makes the prediction, and that is free to stay. The planes act on the share alone, which the loss leaves open.",
    },
    {
      question: "Compare the training loss without planes (0) and with six. Is a network whose difference is small a better one?",
      answer: "3·10⁻¹⁴ and 0.0024: the loss does not ask for a small difference, and each cut disturbs it a little. Not better by itself, then. The tie makes both halves alike, and makes the weights depend on where λ has its origin. What it is good for has to be measured, which the project’s study of CPMLHO does.",
    },
  ],
  formulas: [
    {
      says: "The network’s weights, and the constraint:",
      formula: display(i("w"), o("="), sub(i("w"), i("e")), o("+"), sub(i("w"), i("h")), o("("), i("λ"), o(")"), o(","), sub(row(o("‖"), sub(i("w"), i("e")), o("−"), sub(i("w"), i("h")), o("("), i("λ"), o(")"), o("‖")), n(1)), o("≤"), sup(i("ε"), n(2))),
    },
    {
      says: "The plane that is cut at iteration k, with the signs S of the difference there:",
      formula: display(sub(i("φ"), i("k")), o("="), o("⟨"), i("S"), o(","), sub(i("w"), i("e")), o("−"), sub(i("w"), i("h")), o("("), i("λ"), o(")"), o("⟩"), o("−"), sup(i("ε"), n(2))),
    },
    {
      says: "The answer goes down the loss and all planes; a multiplier may follow its plane:",
      formula: display(sub(i("w"), i("h")), o("←"), sub(i("w"), i("h")), o("−"), i("α"), o("∇"), o("("), i("L"), o("+"), `<munder><mo>∑</mo><mi>k</mi></munder>`, sub(i("μ"), i("k")), sub(i("φ"), i("k")), o(")"), o(","), sub(i("μ"), i("k")), o("←"), i("max"), o("("), n(0), o(","), sub(i("μ"), i("k")), o("+"), i("ρ"), sub(i("φ"), i("k")), o(")")),
    },
  ],
};

function last(points: { x: number[]; y: number[] } | undefined) {
  return points && { x: points.x.slice(-1), y: points.y.slice(-1) };
}
