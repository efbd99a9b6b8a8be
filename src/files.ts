/** Reading and writing of small files that others may write too, or may have put traps in place of. */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { errorCode } from "./errors.ts";

/** What was found where a small file should be. */
export type Reading =
  | { readonly found: "nothing" }
  | { readonly found: "text"; readonly text: string; readonly modified: bigint }
  | { readonly found: "garbage"; readonly why: string };

const READABLE_BY_ALL = 0o644;
const DIRECTORY_MODE = 0o755;

/**
 * Reads a file of at most `longest` bytes. A link is not followed, a FIFO is not waited for, a device
 * is not read, and of a file that is longer nothing is read: all these are garbage.
 * @returns the text with the time of its last change in nanoseconds since 1970.
 * @throws the system's error when the file is there but cannot be opened or read (EACCES, EIO, …).
 */
export function readSmallFile(path: string, longest: number): Reading {
  const opened = openToRead(path);
  if (typeof opened !== "number") return opened;
  try {
    const status = fstatSync(opened, { bigint: true });
    if (status.isDirectory()) return { found: "garbage", why: "a directory" };
    if (!status.isFile())
      return { found: "garbage", why: "not a regular file" };
    const buffer = Buffer.alloc(longest + 1);
    const length = readSync(opened, buffer, 0, longest + 1, 0);
    if (length > longest)
      return { found: "garbage", why: `longer than ${longest} bytes` };
    const text = buffer.toString("utf8", 0, length);
    return { found: "text", text, modified: status.mtimeNs };
  } finally {
    closeSync(opened);
  }
}

/**
 * Writes a file under a temporary name and renames it, so that no reader sees half of it.
 * @param finish is given the temporary name before the rename, to set what else the file must have.
 * @throws the system's error; the temporary file is gone then.
 */
export function replaceFile(
  path: string,
  content: string,
  finish?: (temporary: string) => void,
): void {
  const temporary = temporaryName(path, process.pid);
  const file = openNew(temporary);
  try {
    try {
      // The mode is set explicitly because services inherit sysmgr's umask, so it must stay as it is.
      fchmodSync(file, READABLE_BY_ALL);
      writeFileSync(file, content);
    } finally {
      closeSync(file);
    }
    finish?.(temporary);
    renameSync(temporary, path);
  } catch (error) {
    removeFile(temporary);
    throw error;
  }
}

/**
 * Removes a file; that it is not there is as good.
 * @returns whether there was one.
 * @throws the system's error.
 */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

/**
 * Makes a directory that everybody may read, whatever umask the services are to have, and those above it.
 * One that is there already is left as it is.
 * @throws the system's error.
 */
export function ensureDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made))
    chmodSync(made, DIRECTORY_MODE);
}

/** Whether a name is one that replaceFile uses on its way; gives the pid of the process that made it. */
export function temporaryOwner(name: string): number | undefined {
  const match = /^\.[a-z]+\.([0-9]{1,10})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Turns a file's time of change, in nanoseconds, into the milliseconds that JavaScript's clock counts. */
export function toMilliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n);
}

/** Whether an error says that there is nothing of that name. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

function temporaryName(path: string, pid: number): string {
  return join(dirname(path), `.${basename(path)}.${pid}`);
}

function openToRead(path: string): number | Reading {
  const flags =
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    return openSync(path, flags);
  } catch (error) {
    if (isAbsence(error)) return { found: "nothing" };
    if (errorCode(error) === "ELOOP")
      return { found: "garbage", why: "a symbolic link" };
    if (errorCode(error) === "ENXIO")
      return { found: "garbage", why: "a socket or device" };
    throw error;
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, "wx", READABLE_BY_ALL);
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    // Left by an earlier process that had this pid and was killed before the rename.
    unlinkSync(path);
    return openSync(path, "wx", READABLE_BY_ALL);
  }
}
