import { bytes } from "./format.ts";

/** The published archive has some 60 MB; more than this is something else, and would only fill the memory. */
const MOST = 2 ** 29;

/** Why these files, as they were chosen or dropped, are not read; none if they are the one that is wanted. */
export function refusal(files: readonly { name: string; size: number }[]): string | null {
  const [file, ...more] = files;
  if (!file) return "No file was dropped here. Drop the zip of the data set.";
  if (more.length > 0) return `${files.length} files were given, and none was opened. Give one, the zip of the data set.`;
  if (file.size === 0) return `${file.name} is empty, or a folder. Give the zip of the data set.`;
  if (file.size > MOST) return `${file.name} has ${bytes(file.size)}, and the data set’s zip has 60 MiB. Give that one.`;
  return null;
}

/** Why a file could not be read although the browser gave it. */
export function unreadable(name: string, error: unknown): string {
  return `${name} cannot be read (${error instanceof Error ? error.message : error}). If it is a folder, give the zip instead.`;
}
