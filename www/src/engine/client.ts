import type { FromEngine, ToEngine } from "../model/machine.ts";

export interface Connection {
  send(message: ToEngine): void;
  /** Ends the worker and all it does, and starts another. */
  restart(): void;
}

/** Starts the worker; `receive` gets every message, and is told should the worker itself break. `name` says whom it works
 * for. */
export function start(receive: (message: FromEngine) => void, name = "studio"): Connection {
  let worker = open(receive, name);
  return {
    send(message) {
      worker?.postMessage(message);
    },
    restart() {
      worker?.terminate();
      worker = open(receive, name);
    },
  };
}

function open(receive: (message: FromEngine) => void, name: string): Worker | null {
  const broke = (reason: string) => receive({ kind: "broke", message: `The engine stopped: ${reason}.`, again: true });
  try {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name });
    worker.addEventListener("message", ({ data }: MessageEvent<FromEngine>) => receive(data));
    worker.addEventListener("error", (event) => {
      broke(event.message || "its files could not be loaded");
      // What is left of it would only go on talking.
      worker.terminate();
    });
    return worker;
  } catch (error) {
    // Not before the page knows whom it talks to.
    queueMicrotask(() => broke(String(error)));
    return null;
  }
}
