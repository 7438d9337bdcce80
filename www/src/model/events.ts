// What the page is told and what it does about it: by its worker, by a visitor, and in return.
import type { Engine, FromWorker, Reading, Settings, ToClerk, ToWorker } from "../../pkg/stackelberg.js";
import type { Run } from "./run.ts";

/** A message that files come with, in the order of their paths. */
export type WithFiles<Message> = Message extends { paths: string[] } ? Message & { files: Blob[] } : Message;

/** What the page asks of its worker: of the modules in it, or to fetch the built-in recordings again. */
export type ToEngine = ToWorker | WithFiles<ToClerk> | { kind: "fetch" };

/** What comes from the worker: the module's messages, and what keeps the module or its data from coming. */
export type FromEngine =
  | FromWorker
  /** The module is there. */
  | { kind: "loaded" }
  /** It is not and, unless it is worth another try, never will be. */
  | { kind: "broke"; message: string; again: boolean }
  /** Not all of the built-in recordings came. */
  | { kind: "no-data"; message: string };

/** What a visitor does. */
export type Act =
  | { kind: "choose"; settings: Settings; remarks?: string[] }
  | { kind: "standard" }
  | { kind: "take"; engine: Engine | null }
  | { kind: "address"; hash: string }
  | { kind: "start" | "confirm" | "decline" }
  | { kind: "pause" | "resume" | "stop" | "step" }
  /** Start a run of other settings as soon as it can be. */
  | { kind: "start-with"; settings: Settings }
  /** Go on with a run that the page was closed on. */
  | { kind: "go-on"; unfinished: Unfinished }
  /** Show a run that was kept on this device. */
  | { kind: "show"; run: Run }
  | { kind: "differentiate"; moves: number[] | null }
  | { kind: "foretell" | "try-out"; moves: number[] }
  | { kind: "check" | "cancel-check" }
  /** Take one hypergradient and show how. */
  | { kind: "draw" }
  /** Show what the settings are computed with. */
  | { kind: "open-machine" }
  | { kind: "open"; use: Use; name: string; files: readonly { path: string; file: Blob }[]; reading?: Reading }
  | { kind: "reading"; use: Use; name: string }
  | { kind: "unreadable"; use: Use; message: string }
  | { kind: "reread"; reading: Reading }
  | { kind: "window"; index: number }
  | { kind: "dismiss" }
  | { kind: "way"; way: Way };

/** What files are opened for: to learn from, to open a run that was kept, to be told of. */
export type Use = "recordings" | "open-run" | "predict";

export type Event = FromEngine | Act | { kind: "silence" };

/** What is to be done about an event. */
export type Command =
  | { kind: "send"; message: ToEngine }
  | { kind: "restart" }
  /** Keep a run that has ended on this device. */
  | { kind: "keep"; run: Run }
  /** Keep what a run can go on from, or nothing once it has ended. */
  | { kind: "hold"; unfinished: Unfinished | null };

/** What a run can go on from when the page is opened again. */
export interface Unfinished {
  settings: Settings;
  engine: Engine;
  /** What the command line calls its data, and what they are called. */
  source: string;
  name: string;
  iterations: number;
  state: Uint8Array<ArrayBuffer>;
}

/** Ways on from where nothing can be run. */
export type Way = "restart" | "fetch" | "retry" | "fastest" | "builtin" | "subset" | "standard";
