const types: Record<string, string> = {
  csv: "text/csv",
  html: "text/html",
  toml: "application/toml",
  zip: "application/zip",
  svg: "image/svg+xml",
  json: "application/json",
};

/** Gives the visitor a file to keep. */
export function save(name: string, content: string | Uint8Array<ArrayBuffer>) {
  const link = document.createElement("a");
  const type = types[name.split(".").at(-1)!] ?? "application/octet-stream";
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  // The browser has begun the download by the next task.
  setTimeout(() => URL.revokeObjectURL(link.href));
}
