import { number, several } from "../model/format.ts";
import { math, type Lesson } from "./lesson.ts";

const { i, n, o, sub, row, display } = math;
const ROUNDS = 10;
/** Steps of the start from one look at it to the next. */
const ROUND = 12;

export const fiveExamples: Lesson = {
  name: "five-examples",
  title: "Learn from five examples",
  about: "A new person, five windows of each activity: where a training begins decides how far it gets. MAML’s start against a random one.",
  minutes: 12,
  recordings: true,
  words: [
    "A task is a person: learn the six activities from a few of their windows, and be judged on others of theirs. From a random start (grey) a few steps do not get far.",
    "Here the start is what the leader chooses. It lets the follower take three steps on a few windows of one person, looks how well that does on others of the same person, and moves the start down the hypergradient, through the three steps; then the next person. That is MAML.",
    "The picture shows people whom nobody has met: how many windows are told right after no, one, two … eight steps on a few windows of their own.",
  ],
  controls: [
    { name: "round", label: "Steps of the start", min: 0, max: ROUNDS, step: 1, value: ROUNDS, shown: (round) => String(ROUND * round), plays: true },
    { name: "shots", label: "Windows of each activity", min: 1, max: 8, step: 1, value: 5 },
  ],
  panels: ({ numbers, curves }, { round }) => {
    const over = (what: string) => {
      const known = Array.from({ length: ROUNDS + 1 }, (_, k) => k).filter((k) => Number.isFinite(numbers[`${what}_${k}`]));
      return { x: known.map((k) => ROUND * k), y: known.map((k) => numbers[`${what}_${k}`]!) };
    };
    const now = ROUND * round!;
    return [
      {
        title: "A new person, step by step",
        xLabel: "steps on a few windows of theirs",
        yLabel: "told right, percent",
        y: [0, 103],
        strokes: [
          { points: curves.right_0, name: "random start", colour: "muted" },
          { points: curves.right_0, colour: "muted", as: "hollow" },
          { points: curves[`right_${round}`], name: "learned start", colour: "leader", width: 3 },
          { points: curves[`right_${round}`], colour: "leader", as: "dots", width: 2 },
        ],
      },
      {
        title: "How the start is learned",
        xLabel: "steps of the start",
        yLabel: "told right, percent",
        x: [0, ROUND * ROUNDS],
        y: [0, 103],
        strokes: [
          { points: over("adapted"), name: "after three steps of their own", colour: "leader" },
          { points: over("at_once"), name: "at once", colour: "follower", dash: [6, 4] },
          { points: { x: [now, now], y: [0, 100] }, colour: "muted", width: 1 },
        ],
      },
    ];
  },
  summary: ({ numbers }, { round, shots }) =>
    `After ${ROUND * round!} steps of the start, three steps on ${several(shots!, "window")} of each activity bring a new person to ${number(numbers[`adapted_${round}`])} % told right, from ${number(numbers[`at_once_${round}`])} % at once. From the random start it is ${number(numbers.adapted_0)} %.`,
  readings: ({ round }) => [
    { number: `at_once_${round}`, label: "Told right at once", digits: 3, unit: "%" },
    { number: `adapted_${round}`, label: "After three steps", digits: 3, unit: "%" },
    { number: "adapted_0", label: "Random start, three steps", digits: 3, unit: "%" },
    { number: "slope", label: "Length of the first hypergradient" },
    { number: "difference", label: "The same by differences" },
  ],
  questions: [
    {
      question: "How many steps does the random start need to come where the learned one begins?",
      answer: "With five windows of each activity more than the eight that are shown, mostly: the learned start knows before its first step what all people have in common.",
    },
    {
      question: "What do the steps on a person’s own windows still gain from the learned start?",
      answer: "What is that person’s own: a few points, most where a start is half learned. Compare the dashed line with the other.",
    },
    {
      question: "What is leader here, what follower, and what would happen with 0 steps of the follower?",
      answer: "The start leads, each person’s training follows. With 0 steps the leader would train one network for all people in the ordinary way.",
    },
  ],
  formulas: [
    {
      says: "What the start is judged by, over people p:",
      formula: display(`<munder><mi>min</mi>${i("λ")}</munder>`, sub(i("𝔼"), i("p")), sub(i("E"), i("p")), o("("), sub(i("w"), n(3)), o(")"), o(","), sub(i("w"), n(0)), o("="), i("λ")),
    },
    {
      says: "A step of the follower on a person’s few windows:",
      formula: display(sub(i("w"), row(i("t"), o("+"), n(1))), o("="), sub(i("w"), i("t")), o("−"), i("α"), o("∇"), sub(i("L"), i("p")), o("("), sub(i("w"), i("t")), o(")")),
    },
  ],
};
