/** Files and directories, as the kernel has them: one function, one call. */
import { type Pointer, ptr } from "bun:ffi";
import { SystemError } from "./error.ts";
import {
  attempt,
  errno,
  libc,
  must,
  pathArgument,
  secondPathArgument,
} from "./library.ts";
import { FileStatus, StatusBuffer } from "./status.ts";

const isArm = process.arch === "arm64";
/** open(2): these two are numbered by the machine. */
const O_DIRECTORY = isArm ? 0o40000 : 0o200000;
const O_NOFOLLOW = isArm ? 0o100000 : 0o400000;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;

/** How a file is opened. None is handed on to children, and no FIFO or terminal is ever waited for. */
export const READ = O_NONBLOCK | O_CLOEXEC;
export const READ_UNLINKED = READ | O_NOFOLLOW;
export const READ_DIRECTORY = READ | O_DIRECTORY;
/** O_WRONLY, O_CREAT, O_EXCL. */
export const CREATE = 0o1 | 0o100 | 0o200 | O_CLOEXEC;
/** O_WRONLY, O_APPEND, O_NOCTTY. */
export const APPEND = 0o1 | 0o2000 | 0o400 | O_NONBLOCK | O_CLOEXEC;

const AT_FDCWD = -100;
const X_OK = 1;
const F_DUPFD_CLOEXEC = 1030;
const ENOENT = 2;
const EEXIST = 17;
const ENOTDIR = 20;
const LONGEST_PATH = 4096;
const CHUNK = 16_384;

/** An entry of a directory. Some file systems do not say what it is: then it is `unknown`. */
export interface DirectoryEntry {
  readonly name: string;
  readonly is: "directory" | "other" | "unknown";
}

/** Opens a file; the descriptor, or the error as a negative number. */
export function tryOpen(path: string, flags: number, mode = 0): number {
  const argument = pathArgument(path);
  return attempt(() => libc().open(argument, flags, mode));
}

/** Opens a file. @throws SystemError */
export function open(path: string, flags: number, mode = 0): number {
  const opened = tryOpen(path, flags, mode);
  if (opened < 0) throw new SystemError("open", -opened, path);
  return opened;
}

/** Closes a descriptor. On Linux it is free afterwards, whatever close(2) answers. */
export function close(descriptor: number): void {
  libc().close(descriptor);
}

/** Another descriptor for what a descriptor stands for, not handed on to children. @throws SystemError */
export function duplicate(descriptor: number): number {
  return must("fcntl", undefined, () =>
    libc().fcntl(descriptor, F_DUPFD_CLOEXEC, 0),
  );
}

/**
 * Reads from where the descriptor stands into a buffer that was made on an ArrayBuffer of its own.
 * @returns how many bytes. @throws SystemError
 */
export function readInto(
  descriptor: number,
  buffer: Buffer,
  length: number,
): number {
  const address = ptr(buffer);
  return must("read", undefined, () =>
    libc().read(descriptor, address, length),
  );
}

/**
 * Writes as much as there is room for.
 * @returns how many bytes. @throws SystemError
 */
export function writeSome(descriptor: number, bytes: Uint8Array): number {
  const address = ptr(bytes);
  return must("write", undefined, () =>
    libc().write(descriptor, address, bytes.length),
  );
}

const scratch = Buffer.from(new ArrayBuffer(CHUNK));
const scratchAddress = ptr(scratch);

/** Reads a text file to its end. @throws SystemError */
export function readText(path: string, encoding: "utf8" | "latin1"): string {
  return readBytes(path).toString(encoding);
}

/**
 * Reads a file to its end, whatever its size is said to be: those of /proc have none.
 * @returns what holds until the next call of a function of this module.
 * @throws SystemError
 */
export function readBytes(path: string): Buffer {
  const descriptor = open(path, READ);
  try {
    let buffer = scratch;
    for (let used = 0; ;) {
      const place = ptr(buffer, used);
      const room = buffer.length - used;
      const length = must("read", path, () =>
        libc().read(descriptor, place, room),
      );
      if (length === 0) return buffer.subarray(0, used);
      used += length;
      if (used < buffer.length) continue;
      const larger = Buffer.from(new ArrayBuffer(2 * buffer.length));
      buffer.copy(larger);
      buffer = larger;
    }
  } finally {
    close(descriptor);
  }
}

/** What is at a path, links followed; undefined when there is nothing. @throws SystemError */
export function status(path: string): FileStatus | undefined {
  return statusAt(path, true);
}

/** What is at a path, links followed. @throws SystemError, also when there is nothing */
export function statusOfExisting(path: string): FileStatus {
  const found = status(path);
  if (found === undefined) throw new SystemError("stat", ENOENT, path);
  return found;
}

/** What is at a path itself, be it a link; undefined when there is nothing. @throws SystemError */
export function linkStatus(path: string): FileStatus | undefined {
  return statusAt(path, false);
}

/** What an open descriptor stands for. @throws SystemError */
export function statusOf(descriptor: number): FileStatus {
  must("fstat", undefined, () => StatusBuffer.fillFromDescriptor(descriptor));
  return new FileStatus();
}

/** Whether something can be seen at a path, links followed. What must not be looked at cannot. */
export function exists(path: string): boolean {
  const argument = pathArgument(path);
  return attempt(() => StatusBuffer.fill(argument, true)) >= 0;
}

/** The entries of a directory, without `.` and `..`, in no order. @throws SystemError */
export function list(path: string): DirectoryEntry[] {
  const descriptor = open(path, READ_DIRECTORY);
  try {
    const entries: DirectoryEntry[] = [];
    for (;;) {
      const length = must("getdents64", path, () =>
        libc().getdents64(descriptor, scratchAddress, CHUNK),
      );
      if (length === 0) return entries;
      addEntries(entries, length);
    }
  } finally {
    close(descriptor);
  }
}

/** Renames a file, over another one if there is one. @throws SystemError */
export function rename(from: string, to: string): void {
  const [old, next] = [pathArgument(from), secondPathArgument(to)];
  must("rename", to, () => libc().rename(old, next));
}

/** Removes a name; whether there was one. @throws SystemError */
export function unlink(path: string): boolean {
  const argument = pathArgument(path);
  const result = attempt(() => libc().unlink(argument));
  return wasThere("unlink", path, result);
}

/** Removes an empty directory; whether there was one. @throws SystemError */
export function removeDirectory(path: string): boolean {
  const argument = pathArgument(path);
  const result = attempt(() => libc().rmdir(argument));
  return wasThere("rmdir", path, result);
}

/** Makes a directory; false when something of that name is there already. @throws SystemError */
export function makeDirectory(path: string, mode: number): boolean {
  const argument = pathArgument(path);
  const result = attempt(() => libc().mkdir(argument, mode));
  if (result === -EEXIST) return false;
  if (result < 0) throw new SystemError("mkdir", -result, path);
  return true;
}

/** Sets the permissions of a file. @throws SystemError */
export function changeMode(path: string, mode: number): void {
  const argument = pathArgument(path);
  must("chmod", path, () => libc().chmod(argument, mode));
}

/** Sets the permissions of an open file. @throws SystemError */
export function changeModeOf(descriptor: number, mode: number): void {
  must("fchmod", undefined, () => libc().fchmod(descriptor, mode));
}

/** Whether this process may execute a file; 0, or the error as a negative number (access(2)). */
export function mayExecute(path: string): number {
  const argument = pathArgument(path);
  return attempt(() => libc().access(argument, X_OK));
}

/** Makes a symbolic link. @throws SystemError */
export function makeLink(target: string, path: string): void {
  const [aim, name] = [pathArgument(target), secondPathArgument(path)];
  must("symlink", path, () => libc().symlink(aim, name));
}

/** What a symbolic link says. @throws SystemError */
export function readLink(path: string): string {
  const argument = pathArgument(path);
  const length = must("readlink", path, () =>
    libc().readlink(argument, scratchAddress, LONGEST_PATH),
  );
  return scratch.toString("utf8", 0, length);
}

/** The path without links, `.` and `..` (realpath(3)). @throws SystemError */
export function realPath(path: string): string {
  const found = libc().realpath(pathArgument(path), scratchAddress);
  if (found === null) throw new SystemError("realpath", errno(), path);
  return scratch.toString("utf8", 0, scratch.indexOf(0));
}

/**
 * Sets a file's time of last change (utimensat(2)).
 * @param nanoseconds since 1970.
 * @throws SystemError
 */
export function setModified(path: string, nanoseconds: bigint): void {
  const times = new BigInt64Array(4);
  times[0] = times[2] = nanoseconds / 1_000_000_000n;
  times[1] = times[3] = nanoseconds % 1_000_000_000n;
  const argument = pathArgument(path);
  must("utimensat", path, () =>
    libc().utimensat(AT_FDCWD, argument, ptr(times), 0),
  );
}

function statusAt(path: string, follow: boolean): FileStatus | undefined {
  const argument: Pointer = pathArgument(path);
  const result = attempt(() => StatusBuffer.fill(argument, follow));
  if (result >= 0) return new FileStatus();
  if (result === -ENOENT) return undefined;
  throw new SystemError("stat", -result, path);
}

function wasThere(call: string, path: string, result: number): boolean {
  if (result >= 0) return true;
  if (result === -ENOENT || result === -ENOTDIR) return false;
  throw new SystemError(call, -result, path);
}

/** linux_dirent64 (getdents(2)): inode, offset, length of the record at 16, type at 18, name at 19. */
function addEntries(entries: DirectoryEntry[], length: number): void {
  const DT_UNKNOWN = 0;
  const DT_DIRECTORY = 4;
  for (let at = 0; at < length; at += scratch.readUInt16LE(at + 16)) {
    const end = scratch.indexOf(0, at + 19);
    const name = scratch.toString("utf8", at + 19, end);
    if (name === "." || name === "..") continue;
    const type = scratch[at + 18];
    const is =
      type === DT_DIRECTORY
        ? "directory"
        : type === DT_UNKNOWN
          ? "unknown"
          : "other";
    entries.push({ name, is });
  }
}
