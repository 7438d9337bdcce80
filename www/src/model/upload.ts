import { bytes } from "./format.ts";

/** More than this would fill the memory of the page. */
const MOST = 2 ** 29;

/** Why these files, as they were chosen or dropped, are not read; none if they are the one that is wanted. */
export function refusal(files: readonly { name: string; size: number }[]): string | null {
  const [file, ...more] = files;
  if (!file) return "No file was dropped here. Drop a table, or a zip of tables.";
  if (more.length > 0) return `${files.length} files were given, and none was opened. Give one, or a zip of them.`;
  if (file.size === 0) return `${file.name} is empty, or a folder. Give a table, or a zip of the folder.`;
  if (file.size > MOST) return `${file.name} has ${bytes(file.size)}, more than a page can hold. Give less, or tune natively: stackelberg tune --data.`;
  return null;
}

/** Why a file could not be read although the browser gave it. */
export function unreadable(name: string, error: unknown): string {
  return `${name} cannot be read (${error instanceof Error ? error.message : error}). If it is a folder, give a zip of it instead.`;
}
