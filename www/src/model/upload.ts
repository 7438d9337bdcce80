import { bytes } from "./format.ts";

/** Of more than this even what is kept would fill the memory of the page. */
const MOST = 2 ** 31;
/** Each file is a message to the worker. */
const MANY = 10_000;

/** A file with its place in the folder that was given. */
export interface Chosen {
  path: string;
  file: File;
}

/** What was given, by name: the folder that all lies in, the one file, or the first of several. Paths begin below that folder,
 * and what systems hide in folders is left out. */
export function gathered(chosen: readonly Chosen[]): { name: string; files: Chosen[] } {
  const files = chosen.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  const roots = new Set(files.map(({ path }) => (path.includes("/") ? path.split("/")[0] : "")));
  const [root = ""] = roots;
  if (roots.size === 1 && root !== "") return { name: root, files: files.map(({ path, file }) => ({ path: path.slice(root.length + 1), file })) };
  const [first, ...more] = files;
  return { name: first ? `${first.path}${more.length > 0 ? ` and ${more.length} more` : ""}` : "", files };
}

/** Files that were chosen in a dialogue. */
export function fromInput(files: Iterable<File>): Chosen[] {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Files that were dropped, and those of folders that were. */
export async function fromDrop(data: DataTransfer): Promise<Chosen[]> {
  // Entries are gone once the event is over, so all are asked for before any is waited for.
  const items = [...data.items].filter(({ kind }) => kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry());
  if (entries.some((entry) => entry === null)) return fromInput(data.files);
  return (await Promise.all(entries.map((entry) => within(entry!)))).flat();
}

async function within(entry: FileSystemEntry): Promise<Chosen[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((give, fail) => (entry as FileSystemFileEntry).file(give, fail));
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  // A reader gives some at a time, and none at the end.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((give, fail) => reader.readEntries(give, fail));
    if (some.length === 0) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(within))).flat();
}

/** Why these files are not read; none if they are. */
export function refusal(files: readonly { path: string; file: { size: number } }[]): string | null {
  const [first] = files;
  if (!first) return "No file was given. Give tables, a folder or a zip of them.";
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (files.length > MANY) return `${files.length} files were given, more than a page can take. Give a zip of them, or tune natively: stackelberg tune --data.`;
  if (size === 0) return `${first.path} is empty. Give a table, a folder or a zip.`;
  const what = files.length > 1 ? `${files.length} files have` : `${first.path} has`;
  if (size > MOST) return `${what} ${bytes(size)}, more than a page can hold. Give less, or tune natively: stackelberg tune --data.`;
  return null;
}

/** Why a file could not be read although the browser gave it. */
export function unreadable(name: string, error: unknown): string {
  return `${name} cannot be read (${error instanceof Error ? error.message : error}). Choose it again; if it is on another device, copy it here first.`;
}
