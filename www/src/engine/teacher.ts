/// <reference lib="webworker" />
// Computes what lessons show, by the module that the studio begins without.
import first from "../../../data/har/subset.bin?url";
import init, { Teacher, type LessonAnswer, type LessonQuestion } from "../../extra/stackelberg.js";
import module from "../../extra/stackelberg_bg.wasm?url";
import { unsupported } from "../model/browser.ts";
import { arrival, bytesAt, reason } from "./arrival.ts";

/** What a page of lessons asks for. */
export type ToTeacher = ({ kind: "ask" } & LessonQuestion) | { kind: "fetch" };

/** What it is told. */
export type FromTeacher =
  | { kind: "loaded" | "recordings" }
  | ({ kind: "lesson" } & LessonAnswer)
  /** The module is not there, or the recordings are not. */
  | { kind: "broke" | "no-data"; message: string };

const say = (message: FromTeacher) => postMessage(message);

/** None where the module cannot be had; the page was told. */
const teacher = open();

async function open(): Promise<Teacher | null> {
  const missing = unsupported();
  if (missing) {
    say({ kind: "broke", message: missing });
    return null;
  }
  try {
    await init({ module_or_path: await arrival(module) });
    say({ kind: "loaded" });
    return new Teacher((answer) => say({ kind: "lesson", ...answer }));
  } catch (error) {
    say({ kind: "broke", message: `The page’s engine could not be loaded (${reason(error)}).` });
    return null;
  }
}

addEventListener("message", async ({ data }: MessageEvent<ToTeacher>) => {
  if (data.kind === "ask") return (await teacher)?.answer(data);
  try {
    const bytes = await bytesAt(first);
    (await teacher)?.record(bytes);
    say({ kind: "recordings" });
  } catch (error) {
    say({ kind: "no-data", message: `The recordings did not arrive (${reason(error)}).` });
  }
});

// A trapped engine settles no promise; the page hears of it as an error of the worker.
addEventListener("unhandledrejection", ({ reason }) => reportError(reason));
