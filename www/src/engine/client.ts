/** A worker that is asked things. */
export interface Connection<To> {
  send(message: To): void;
  /** Ends the worker and all it does, and starts another. */
  restart(): void;
}

/** What is said of a worker that has itself broken; another may do. */
export interface Broke {
  kind: "broke";
  message: string;
  again: boolean;
}

/** Starts a worker; `receive` gets every message, and is told should the worker itself break. */
export function start<To, From>(make: () => Worker, receive: (message: From | Broke) => void): Connection<To> {
  let worker = open(make, receive);
  return {
    send(message) {
      worker?.postMessage(message);
    },
    restart() {
      worker?.terminate();
      worker = open(make, receive);
    },
  };
}

function open<From>(make: () => Worker, receive: (message: From | Broke) => void): Worker | null {
  const broke = (reason: string) => receive({ kind: "broke", message: `The engine stopped: ${reason}.`, again: true });
  try {
    const worker = make();
    worker.addEventListener("message", ({ data }: MessageEvent<From>) => receive(data));
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
