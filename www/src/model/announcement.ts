// Where the page stands, in words.
import { duration } from "./format.ts";
import { completed } from "./run.ts";
import { live, stage, type Studio } from "./studio.ts";
import { ending, outcome } from "./verdict.ts";

export const withoutResult = "Stopped before the first outer iteration was complete, so there is no result.";

/** Where the page stands, in words, for the live region: said once a change, not once a step. */
export function announcement(studio: Studio): string {
  const { run } = studio;
  if (studio.silent) return silence;
  const now = stage(studio);
  switch (now.is) {
    case "loading":
    case "looking":
    case "fetching":
      return "";
    case "settling":
    case "ready": {
      if (run?.failure) return `The run ended early. ${run.failure}`;
      if (run?.done) return `${ending(run, run.done)}. ${outcome(run).replace("→", "to")}.`;
      if (studio.cancelled) return withoutResult;
      return now.is === "ready" ? "Ready to tune." : "";
    }
    case "asking":
      return `This run would take about ${duration(now.seconds)}. Start it all the same?`;
    case "starting":
    case "running":
      return "Tuning.";
    case "recovering":
      return run && run.on !== run.engine ? "The GPU was lost twice; the processor goes on." : "The device was lost; going on with a new one.";
    case "paused":
      return "Paused.";
    case "stopping":
      return "Stopping.";
    case "trying":
      return "Training at the point that was chosen.";
    case "unrolling":
      return "Taking a hypergradient.";
    case "checking":
      return now.cancelling ? "Giving the check up." : "Checking the hypergradient.";
    case "stuck":
      return studio.module === "there" ? "Nothing can be run yet: what to do is said beside the start." : now.why;
  }
}

/** What the browser's tab says. */
export function title(studio: Studio): string {
  const now = stage(studio);
  const name = "Stackelberg studio";
  const { run } = studio;
  if (live(studio)) {
    const done = `${Math.round(100 * (run ? completed(run) : 0))} %`;
    return `${now.is === "paused" ? `Paused at ${done}` : done} – ${name}`;
  }
  return run?.done && run.opened === null ? `${outcome(run)} – ${name}` : name;
}

export const silence = "Nothing was heard from the engine for half a minute. It may be at work on something long; if it hangs, start it again.";
