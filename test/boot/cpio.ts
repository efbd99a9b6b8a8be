/** Writes the archives that the kernel unpacks into its first root: cpio in the "newc" form. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

const MAGIC = "070701";
const FIELD_DIGITS = 8;
const ALIGNMENT = 4;

const DIRECTORY = 0o040755;
const SYMLINK = 0o120777;
const PROGRAM = 0o100755;
const CHARACTER_DEVICE = 0o020600;

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number. */
  readonly device?: readonly [number, number];
}

/** What init finds open before anything is mounted. */
const CONSOLE: Entry = {
  name: "dev/console",
  mode: CHARACTER_DEVICE,
  device: [5, 1],
};

/** Everything below a directory, which must have a `dev`. All files are made executable. */
export function packTree(directory: string): Uint8Array {
  const below = readdirSync(directory, {
    recursive: true,
    withFileTypes: true,
  });
  const entries = below
    .map((each) => {
      const path = join(each.parentPath, each.name);
      const name = path.slice(directory.length + 1);
      if (each.isDirectory()) return { name, mode: DIRECTORY };
      if (each.isSymbolicLink()) {
        const content = Buffer.from(readlinkSync(path));
        return { name, mode: SYMLINK, content };
      }
      return { name, mode: PROGRAM, content: readFileSync(path) };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return pack([...entries, CONSOLE]);
}

function pack(entries: readonly Entry[]): Uint8Array {
  const trailer: Entry = { name: "TRAILER!!!", mode: 0 };
  return Buffer.concat(
    [...entries, trailer].flatMap((entry, index) => packEntry(entry, index)),
  );
}

function packEntry(entry: Entry, index: number): Uint8Array[] {
  const content = entry.content ?? new Uint8Array();
  const name = Buffer.from(`${entry.name}\0`);
  const fields = [
    ...[index, entry.mode],
    // Owner, group, links, time.
    ...[0, 0, 1, 0],
    // The size, and the device that it lies on.
    ...[content.length, 0, 0],
    ...(entry.device ?? [0, 0]),
    // The name's length, and a checksum that this form does not have.
    ...[name.length, 0],
  ].map((field) => field.toString(16).padStart(FIELD_DIGITS, "0"));
  const head = Buffer.concat([Buffer.from(MAGIC + fields.join("")), name]);
  return [head, padding(head.length), content, padding(content.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);
}
