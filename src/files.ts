/** Reading and writing of small files that others may write too, or may have put traps in place of. */
import { errorCode } from "./errors.ts";
import { baseName } from "./paths.ts";
import { SystemError } from "./system/error.ts";
import {
  changeMode,
  changeModeOf,
  close,
  CREATE,
  linkStatus,
  list,
  makeDirectory,
  open,
  READ_UNLINKED,
  readInto,
  removeDirectory,
  rename,
  status,
  statusOf,
  tryOpen,
  unlink,
  writeSome,
} from "./system/files.ts";

/** What was found where a small file should be. */
export type Reading =
  | { readonly found: "nothing" }
  | { readonly found: "text"; readonly text: string; readonly modified: bigint }
  | { readonly found: "garbage"; readonly why: string };

const READABLE_BY_ALL = 0o644;
const DIRECTORY_MODE = 0o755;
/** Bytes; the files that are read all the time are shorter. */
const SHORT = 256;
const ENOENT = 2;
const EEXIST = 17;
const ENOTDIR = 20;

/**
 * Reads a file of at most `longest` bytes. A link is not followed, a FIFO is not waited for, a device
 * is not read, and of a file that is longer nothing is read: all these are garbage.
 * @returns the text with the time of its last change in nanoseconds since 1970.
 * @throws the system's error when the file is there but cannot be opened or read (EACCES, EIO, …).
 */
export function readSmallFile(path: string, longest: number): Reading {
  const opened = tryOpen(path, READ_UNLINKED);
  if (opened < 0) return unopened(path, -opened);
  try {
    const found = statusOf(opened);
    if (found.isDirectory) return { found: "garbage", why: "a directory" };
    if (!found.isFile) return { found: "garbage", why: "not a regular file" };
    const buffer = bufferFor(longest + 1);
    const length = readInto(opened, buffer, longest + 1);
    if (length > longest)
      return { found: "garbage", why: `longer than ${longest} bytes` };
    const text = buffer.toString("utf8", 0, length);
    return { found: "text", text, modified: found.modified };
  } finally {
    close(opened);
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
      changeModeOf(file, READABLE_BY_ALL);
      writeAll(file, content);
    } finally {
      close(file);
    }
    finish?.(temporary);
    rename(temporary, path);
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
  return unlink(path);
}

/**
 * Removes a file by way of another name, so that whoever watches knows that it does not go because all of
 * its directory goes; that it is not there is as good.
 * @returns whether there was one.
 * @throws the system's error.
 */
export function takeAway(path: string): boolean {
  const temporary = temporaryName(path, process.pid);
  try {
    rename(path, temporary);
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
  removeTree(temporary);
  return true;
}

/** Removes whatever is at a path, a directory with all that is in it. @throws the system's error. */
export function removeTree(path: string): void {
  if (linkStatus(path)?.isDirectory !== true) {
    unlink(path);
    return;
  }
  for (const { name } of list(path)) removeTree(`${path}/${name}`);
  removeDirectory(path);
}

/**
 * Makes a directory that everybody may read, whatever umask the services are to have, and those above it.
 * One that is there already is left as it is.
 * @throws the system's error.
 */
export function ensureDirectory(path: string): void {
  try {
    if (makeDirectory(path, DIRECTORY_MODE)) changeMode(path, DIRECTORY_MODE);
    else if (status(path)?.isDirectory !== true)
      throw new SystemError("mkdir", EEXIST, path);
  } catch (error) {
    const above = path.slice(0, path.lastIndexOf("/"));
    if (errorCode(error) !== "ENOENT" || above === "") throw error;
    ensureDirectory(above);
    ensureDirectory(path);
  }
}

/** Which directory lies at a path; undefined when there is none, or it cannot be told. */
export function directoryIdentity(path: string): string | undefined {
  try {
    const found = status(path);
    return found?.isDirectory ? found.identity : undefined;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}

/** Whether a name is one that replaceFile uses on its way; gives the pid of the process that made it. */
export function temporaryOwner(name: string): number | undefined {
  const match = /^\.[a-z]+\.([0-9]{1,10})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** In a file's time of change. */
export const NANOSECONDS_PER_MILLISECOND = 1_000_000n;

/** Turns a file's time of change, in nanoseconds, into the milliseconds that JavaScript's clock counts. */
export function toMilliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / NANOSECONDS_PER_MILLISECOND);
}

/** Whether an error says that there is nothing of that name. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

function temporaryName(path: string, pid: number): string {
  const name = baseName(path);
  return `${path.slice(0, -name.length)}.${name}.${pid}`;
}

/** Why a file that is to be read could not be opened. */
function unopened(path: string, errno: number): Reading {
  // Most files are not there most of the time, so nothing is made for that but the answer.
  if (errno === ENOENT || errno === ENOTDIR) return { found: "nothing" };
  const error = new SystemError("open", errno, path);
  if (error.code === "ELOOP") return linkOrNothing(path);
  if (error.code === "ENXIO")
    return { found: "garbage", why: "a socket or device" };
  throw error;
}

/** A link on the way that leads nowhere is as good as none of the directories behind it. */
function linkOrNothing(path: string): Reading {
  try {
    if (linkStatus(path) !== undefined)
      return { found: "garbage", why: "a symbolic link" };
  } catch (error) {
    if (errorCode(error) !== "ELOOP") throw error;
  }
  return { found: "nothing" };
}

function openNew(path: string): number {
  const opened = tryOpen(path, CREATE, READABLE_BY_ALL);
  if (opened >= 0) return opened;
  if (-opened !== EEXIST) throw new SystemError("open", -opened, path);
  // Left by an earlier process that had this pid and was killed before the rename.
  unlink(path);
  return open(path, CREATE, READABLE_BY_ALL);
}

function writeAll(file: number, content: string): void {
  let rest = Buffer.from(content);
  while (rest.length > 0) rest = rest.subarray(writeSome(file, rest));
}

let buffer = Buffer.from(new ArrayBuffer(SHORT));

/** Memory that the next reading may use again. */
function bufferFor(length: number): Buffer {
  if (length > buffer.length) buffer = Buffer.from(new ArrayBuffer(length));
  return buffer;
}
