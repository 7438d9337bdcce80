// Runs that are kept on this device, in the browser's own database.
import type { Run } from "./model/run.ts";
import type { Unfinished } from "./model/events.ts";

/** A run with what the visitor says of it. */
export interface Shelved {
  id: number;
  /** When it ended, in ms since 1970. */
  at: number;
  name: string;
  note: string;
  run: Run;
}

const [RUNS, UNFINISHED] = ["runs", "unfinished"];

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open("stackelberg", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(RUNS, { keyPath: "id", autoIncrement: true });
    request.result.createObjectStore(UNFINISHED);
  };
  return answer(request);
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((give, fail) => {
    request.onsuccess = () => give(request.result);
    request.onerror = () => fail(request.error);
  });
}

async function on<T>(store: string, mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await answer(act(database.transaction(store, mode).objectStore(store)));
  } finally {
    database.close();
  }
}

/** All runs, the last one first. */
export async function shelved(): Promise<Shelved[]> {
  return (await on<Shelved[]>(RUNS, "readonly", (store) => store.getAll())).reverse();
}

export async function shelve(one: Omit<Shelved, "id"> | Shelved): Promise<void> {
  await on(RUNS, "readwrite", (store) => store.put(one));
}

export async function discard(id: number): Promise<void> {
  await on(RUNS, "readwrite", (store) => store.delete(id));
}

/** What was under way when the page was closed. */
export async function unfinished(): Promise<Unfinished | undefined> {
  return on<Unfinished | undefined>(UNFINISHED, "readonly", (store) => store.get(0));
}

export async function hold(one: Unfinished | null): Promise<void> {
  await (one ? on(UNFINISHED, "readwrite", (store) => store.put(one, 0)) : on(UNFINISHED, "readwrite", (store) => store.delete(0)));
}
