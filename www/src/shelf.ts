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

/** This page among those that are open in this browser, by a lock that it has as long as it is open. */
const own = `run of ${Date.now()} ${Math.random()}`;
void whenAlone(own, () => new Promise(() => {}));

/** Acts once no other page has a lock; at once where a browser, or an insecure origin, has none. */
async function whenAlone(lock: string, act: () => Promise<void>): Promise<void> {
  await (navigator.locks ? navigator.locks.request(lock, act) : act());
}

/** Of pages that are gone, what was told. */
const told: IDBValidKey[] = [];

/** Tells what was under way when a page was closed. Nothing is cut off of one that is still open, before that is closed, too. */
export async function unfinished(tell: (one: Unfinished) => void): Promise<void> {
  for (const page of await on<IDBValidKey[]>(UNFINISHED, "readonly", (store) => store.getAllKeys()))
    void whenAlone(String(page), async () => {
      const one = await on<Unfinished | undefined>(UNFINISHED, "readonly", (store) => store.get(page));
      if (!one) return;
      told.push(page);
      tell(one);
    });
}

/** Keeps what is under way here, or that nothing is; what was told is gone on with, or given up. */
export async function hold(one: Unfinished | null): Promise<void> {
  for (const page of told.splice(0)) await on(UNFINISHED, "readwrite", (store) => store.delete(page));
  await (one ? on(UNFINISHED, "readwrite", (store) => store.put(one, own)) : on(UNFINISHED, "readwrite", (store) => store.delete(own)));
}
