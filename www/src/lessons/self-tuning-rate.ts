import { number } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";
import type { Stroke } from "../drawing/picture.ts";

const { i, n, o, sub, row, display } = math;
const power = (value: number) => number(10 ** value, 2);
const starts = Array.from({ length: 10 }, (_, k) => k);

export const selfTuningRate: Lesson = {
  name: "self-tuning-rate",
  title: "A learning rate that tunes itself",
  about: "Hypergradient descent against fixed rates from ten starts: where it helps, and where its own step size breaks it.",
  minutes: 12,
  words: [
    "One weight goes down a parabola. With too small a learning rate it creeps, with too large a one it flies off; the grey lines are ten fixed rates.",
    "Hypergradient descent moves the rate in every step: while one gradient points the same way as the one before, the rate grows; once they disagree, it has overshot, and the rate shrinks. That is a hypergradient truncated to a single step, at the cost of one dot product. The amber lines are the same ten starts, with the rates that they take in the second picture.",
    "But its own step size β has to be chosen, too. Move it, and see for which β all ten starts arrive, and from which on none does.",
  ],
  controls: [
    { name: "power", label: "β, the step of the rate", min: -7, max: 0, step: 0.25, value: -3.5, shown: power, plays: true },
    {
      name: "variant", label: "What tunes itself", min: 0, max: 3, step: 1, value: 0,
      choices: ["Gradient descent", "Gradient descent, multiplicative", "Nesterov’s momentum", "Adam"],
    },
    { name: "start", label: "The rate to begin with", min: -4, max: -0.65, step: 0.05, value: -2, shown: power },
    { name: "steps", label: "Training steps T", min: 4, max: 100, step: 1, value: 40 },
  ],
  panels: ({ curves }) => [
    {
      title: "Training loss",
      xLabel: "step",
      yLabel: "loss",
      yLog: true,
      y: [1e-6, 1e3],
      strokes: [
        ...starts.map((k): Stroke => ({ points: curves[`fixed_${k}`], name: k === 0 ? "fixed rates" : "", colour: "muted", width: 1, alpha: 0.6 })),
        ...starts.map((k): Stroke => ({ points: curves[`tuned_${k}`], name: k === 0 ? "self-tuning" : "", colour: "follower", width: 1.5 })),
        { points: curves.fixed_here, name: "this start, fixed", colour: "ink", dash: [6, 4] },
        { points: curves.tuned_here, name: "this start, self-tuning", colour: "leader", width: 3 },
      ],
    },
    {
      title: "The learning rate",
      xLabel: "step",
      yLabel: "rate",
      yLog: true,
      y: [1e-4, 10],
      strokes: [
        ...starts.map((k): Stroke => ({ points: curves[`rates_${k}`], name: k === 0 ? "ten starts" : "", colour: "follower", width: 1.5 })),
        { points: curves.rates_here, name: "this start", colour: "leader", width: 3 },
      ],
    },
  ],
  summary: ({ numbers }) =>
    `${numbers.tuned_reached ?? "—"} of ten self-tuning starts, and ${numbers.fixed_reached ?? "—"} of ten fixed rates, bring the loss below a hundredth of what it was. ${Number.isFinite(numbers.last_rate) ? `From this start the rate ends at ${number(numbers.last_rate)}.` : "From this start training diverges."}`,
  readings: () => [
    { number: "tuned_reached", label: "Self-tuning, arrived of 10", whole: true },
    { number: "fixed_reached", label: "Fixed, arrived of 10", whole: true },
    { number: "tuned_loss", label: "Last loss, self-tuning", digits: 3, none: "diverges" },
    { number: "fixed_loss", label: "Last loss, fixed", digits: 3, none: "diverges" },
    ...[1, 2, 3, 4].map((k) => ({ number: `rate_${k}`, label: `Rate in step ${k}`, digits: 5, none: "diverges" })),
    ...[1, 2, 3, 4].map((k) => ({ number: `weight_${k}`, label: `Weight after step ${k}`, digits: 5, none: "diverges" })),
  ],
  questions: [
    {
      question: "With β = 10⁻⁴ and a start of 0.01, why does the rate rise from 0.01 to 0.019 in the second step?",
      answer: "The gradients are 10 · 1 and 10 · 0.9, and both point the same way: the rate gains β times their product, 10⁻⁴ · 90 = 0.009.",
    },
    {
      question: "What happens for β = 0.1, and why?",
      answer: "The rate takes one huge leap, the weight overshoots far, the gradients grow and disagree, and the rate leaps back beyond 0: additive steps go by the square of the gradient, which is large at the beginning.",
    },
    {
      question: "Why can the multiplicative rule stand a far larger β?",
      answer: "It goes by the angle of the two gradients and not by their size: a step changes the rate by β of itself at most.",
    },
  ],
  formulas: [
    {
      says: "The derivative of the loss in the rate of the step before is a dot product:",
      formula: display(math.fraction(row(o("∂"), i("f"), o("("), sub(i("w"), row(i("t"), o("−"), n(1))), o(")")), row(o("∂"), i("α"))), o("="), o("−"), o("⟨"), sub(i("g"), i("t")), o(","), sub(i("g"), row(i("t"), o("−"), n(1))), o("⟩")),
    },
    {
      says: "So the rate moves before each step, and the step is taken with it:",
      formula: display(
        sub(i("α"), i("t")), o("="), sub(i("α"), row(i("t"), o("−"), n(1))), o("+"), i("β"), o("⟨"), sub(i("g"), i("t")), o(","), sub(i("g"), row(i("t"), o("−"), n(1))), o("⟩"), o(","),
        sub(i("w"), i("t")), o("="), sub(i("w"), row(i("t"), o("−"), n(1))), o("−"), sub(i("α"), i("t")), sub(i("g"), i("t")),
      ),
    },
    {
      says: "The multiplicative rule takes the cosine of the angle between the two:",
      formula: display(
        sub(i("α"), i("t")), o("="), sub(i("α"), row(i("t"), o("−"), n(1))), o("("), n(1), o("+"), i("β"), i("cos"), o("("), sub(i("g"), i("t")), o(","), sub(i("g"), row(i("t"), o("−"), n(1))), o(")"), o(")"),
      ),
    },
  ],
};
