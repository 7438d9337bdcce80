import { cuttingPlanes } from "./cutting-planes.ts";
import { exampleWeights } from "./example-weights.ts";
import { fiveExamples } from "./five-examples.ts";
import { forwardOrReverse } from "./forward-or-reverse.ts";
import { howLong } from "./how-long.ts";
import { hypergradient } from "./hypergradient.ts";
import { leaderAndFollower } from "./leader-and-follower.ts";
import type { Lesson } from "./lesson.ts";
import { overfitting } from "./overfitting.ts";
import { response } from "./response.ts";
import { searchOrHypergradients } from "./search-or-hypergradients.ts";
import { selfTuningRate } from "./self-tuning-rate.ts";
import { truncatedAndImplicit } from "./truncated-and-implicit.ts";

/** In the order in which they are taught. */
export const lessons: Lesson[] = [
  leaderAndFollower, hypergradient, howLong, forwardOrReverse, truncatedAndImplicit, selfTuningRate, exampleWeights, response, cuttingPlanes,
  searchOrHypergradients, fiveExamples, overfitting,
];
