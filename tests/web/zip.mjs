// Zips for the tests: what the page is given as one file.
import { crc32 } from "node:zlib";

/** A zip of these files, by their names, not compressed. */
export function zip(files) {
  const [parts, directory] = [[], []];
  let at = 0;
  for (const [name, content] of files) {
    const [title, bytes] = [Buffer.from(name), Buffer.from(content)];
    const head = Buffer.alloc(26);
    // Version, flags, method, time, date, checksum, sizes, lengths of the name and of what else there is.
    head.writeUInt16LE(20, 0);
    head.writeUInt32LE(crc32(bytes), 10);
    head.writeUInt32LE(bytes.length, 14);
    head.writeUInt32LE(bytes.length, 18);
    head.writeUInt16LE(title.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\u0001\u0002\u0014\u0000"), head, tail, title);
    parts.push(Buffer.from("PK\u0003\u0004"), head, title, bytes);
    at += 30 + title.length + bytes.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, list, end]);
}
