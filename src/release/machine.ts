/** Which kind of machine a binary is for, as its ELF header says. */
import { closeSync, openSync, readSync } from "node:fs";

/** As in the names of archives. */
export type MachineName = "x64" | "arm64";

/** What an executable is. */
export interface Executable {
  readonly machine: MachineName;
  /** Whether it needs a loader and libraries that the system must have. */
  readonly dynamic: boolean;
}

/** The Debian packages from which a build for each takes the C library; the first may be on any machine. */
export const PACKAGED_AS: Readonly<Record<MachineName, readonly string[]>> =
  process.arch === "arm64"
    ? { x64: ["libc6-dev-amd64-cross"], arm64: ["libc6-dev"] }
    : { x64: ["libc6-dev"], arm64: ["libc6-dev-arm64-cross"] };

const MAGIC = "\u007fELF\u0002\u0001";
const MACHINES: Readonly<Record<number, MachineName>> = {
  62: "x64",
  183: "arm64",
};
const HEADERS_BYTES = 4096;
const MACHINE_OFFSET = 18;
const TABLE_OFFSET = 32;
const ENTRY_SIZE_OFFSET = 54;
const ENTRIES_OFFSET = 56;
const PT_INTERP = 3;

/** Reads what an executable is; undefined where it is none of a kind that is known. */
export function readExecutable(path: string): Executable | undefined {
  const headers = readStart(path);
  if (headers.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
  const machine = MACHINES[headers.readUInt16LE(MACHINE_OFFSET)];
  if (machine === undefined) return undefined;
  const table = Number(headers.readBigUInt64LE(TABLE_OFFSET));
  const size = headers.readUInt16LE(ENTRY_SIZE_OFFSET);
  const types = Array.from(
    { length: headers.readUInt16LE(ENTRIES_OFFSET) },
    (_, index) => headers.readUInt32LE(table + index * size),
  );
  return { machine, dynamic: types.includes(PT_INTERP) };
}

function readStart(path: string): Buffer {
  const descriptor = openSync(path, "r");
  try {
    const start = Buffer.alloc(HEADERS_BYTES);
    readSync(descriptor, start);
    return start;
  } finally {
    closeSync(descriptor);
  }
}
