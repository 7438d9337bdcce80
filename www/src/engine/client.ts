import type { FromWorker, ToWorker } from "../../pkg/stackelberg.js";

export interface Connection {
  send(message: ToWorker): void;
}

/** Starts the worker; `receive` gets every message, and a failure should the worker itself break. */
export function start(receive: (message: FromWorker) => void): Connection {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => receive(data));
  worker.addEventListener("error", ({ message }) =>
    receive({
      kind: "failed",
      stage: "device",
      message: `The engine stopped: ${message || "its files could not be loaded"}. Reload the page to start it again.`,
    }),
  );
  return {
    send(message) {
      const transfer = message.kind === "load-zip" ? [message.bytes.buffer as ArrayBuffer] : [];
      worker.postMessage(message, transfer);
    },
  };
}
