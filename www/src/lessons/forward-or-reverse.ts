import { count, number, several } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, sup, row, display } = math;
const powers = (value: number) => count(2 ** value);

export const forwardOrReverse: Lesson = {
  name: "forward-or-reverse",
  title: "Forward or reverse?",
  about: "Two ways to the same hypergradient: one carries tangents along, the other goes back over checkpoints. Counted, timed and drawn.",
  minutes: 12,
  words: [
    "Forward mode carries along with the training how the weights move with each hyperparameter: a tangent for each, and nothing to remember. Reverse mode trains first and then goes back once, whatever the number of hyperparameters; but each step back needs the weights that the step began with.",
    "Keeping them all takes memory. Revolve keeps a few checkpoints and trains again from these: the picture shows it action by action, forwards (amber) and back (blue dots). Fewer checkpoints, more steps. In the second picture both modes are timed on this device for 1 to 32 hyperparameters.",
  ],
  controls: [
    { name: "slots", label: "Checkpoints kept", min: 1, max: 40, step: 1, value: 4, plays: true },
    { name: "hyperparameters", label: "Hyperparameters", min: 0, max: 5, step: 1, value: 3, shown: powers },
    { name: "weights", label: "Weights", min: 5, max: 12, step: 1, value: 8, shown: powers },
    { name: "steps", label: "Training steps T", min: 2, max: 100, step: 1, value: 20 },
  ],
  panels: ({ numbers, curves }, { hyperparameters }) => [
    {
      title: "Revolve’s schedule",
      xLabel: "action",
      yLabel: "training step",
      strokes: [
        { points: curves.schedule, name: "training, again and again", colour: "follower", width: 1.5 },
        { points: curves.adjoints, name: "a step back", colour: "leader", as: "dots", width: 1.5 },
      ],
    },
    {
      title: "Time of a hypergradient",
      xLabel: "hyperparameters",
      yLabel: "milliseconds",
      xLog: true,
      yLog: true,
      strokes: [
        { points: curves.forward_times, name: "forward", colour: "follower" },
        { points: curves.reverse_times, name: "reverse", colour: "leader" },
        { points: here(hyperparameters!, numbers.forward_milliseconds), colour: "follower", as: "dots", width: 3 },
        { points: here(hyperparameters!, numbers.reverse_milliseconds), name: "at this number, timed anew", colour: "leader", as: "dots", width: 3 },
      ],
    },
  ],
  summary: ({ numbers }, { steps, slots }) =>
    `With ${several(slots!, "checkpoint")} reverse mode takes ${written(numbers.reverse_steps)} steps forwards for T = ${steps}, and ${written(numbers.reverse_derivatives)} back. Forward mode takes ${written(numbers.forward_derivatives)} steps of tangents. Of the exact hypergradient they miss ${number(numbers.reverse_error, 1)} and ${number(numbers.forward_error, 1)}.`,
  readings: () => [
    { number: "reverse_steps", label: "Reverse: steps forwards", whole: true },
    { number: "reverse_derivatives", label: "Reverse: steps back", whole: true },
    { number: "forward_derivatives", label: "Forward: steps of tangents", whole: true },
    { number: "reverse_states", label: "Reverse: states held", whole: true },
    { number: "reverse_milliseconds", label: "Reverse", digits: 3, unit: "ms" },
    { number: "forward_milliseconds", label: "Forward", digits: 3, unit: "ms" },
    { number: "reverse_error", label: "Reverse: error", digits: 2 },
    { number: "forward_error", label: "Forward: error", digits: 2 },
    { number: "reverse", label: "First derivative, reverse" },
    { number: "exact", label: "First derivative, exact" },
  ],
  questions: [
    {
      question: "From how many hyperparameters on is reverse mode faster on your device?",
      answer: "Where the two lines of the second picture cross: mostly between 4 and 16. Forward mode’s work grows in proportion to them, reverse mode’s does not grow at all.",
    },
    {
      question: "With T = 20, how many steps does reverse mode take forwards with 20 checkpoints, with 3, and with 1?",
      answer: "20, 46 and 191. Three checkpoints cost little more than twice the training, one alone makes the work grow with the square of T.",
    },
    {
      question: "What changes in the hypergradient when fewer checkpoints are kept?",
      answer: "Nothing, not even its last digit: what is trained again takes the same steps. Checkpoints are a bargain of memory against time alone.",
    },
  ],
  formulas: [
    {
      says: "Forward: Z holds a column for each hyperparameter,",
      formula: display(sub(i("Z"), i("t")), o("="), sub(i("A"), i("t")), sub(i("Z"), row(i("t"), o("−"), n(1))), o("+"), sub(i("B"), i("t"))),
    },
    {
      says: "Reverse: a is one vector, from the last step to the first,",
      formula: display(
        i("h"), o("←"), i("h"), o("+"), sup(sub(i("B"), i("t")), o("⊤")), i("a"), o(","), i("a"), o("←"), sup(sub(i("A"), i("t")), o("⊤")), i("a"),
      ),
    },
    {
      says: "With c checkpoints and at most r passes over any step, Revolve reverses as many steps as",
      formula: display(i("T"), o("≤"), `<mrow><mo>(</mo><mfrac linethickness="0"><mrow>${i("c")}${o("+")}${i("r")}</mrow>${i("c")}</mfrac><mo>)</mo></mrow>`),
    },
  ],
};

function here(power: number, milliseconds: number | undefined) {
  return milliseconds === undefined ? undefined : { x: [2 ** power], y: [milliseconds] };
}

function written(value: number | undefined): string {
  return value === undefined ? "—" : count(value);
}
