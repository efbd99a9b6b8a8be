/** The service directory: which of its entries are services, and why the others are not. */
import { errorCode, reasonOf } from "./errors.ts";
import { isReservedName, RESERVED_NAME } from "./rundir.ts";
import { codeOf, SystemError } from "./system/error.ts";
import {
  close,
  exists as existsAt,
  linkStatus,
  list,
  mayExecute,
  open,
  READ,
  readInto,
  status,
  statusOf,
} from "./system/files.ts";
import type { FileStatus } from "./system/status.ts";

/** What an entry of the service directory is. */
export type Entry =
  | { readonly is: "absent" }
  /**
   * `changed` is when file or link last changed, in milliseconds since 1970. `hidden` says that changes of it
   * may not show in the directory itself.
   */
  | {
      readonly is: "service";
      readonly changed: number;
      readonly hidden: boolean;
    }
  /** `hidden` as above: look again whether it has become one. */
  | { readonly is: "unusable"; readonly why: string; readonly hidden: boolean };

const WRITABLE_BY_OTHERS = 0o002;
const LONGEST_FIRST_LINE = 256;

/**
 * The names in the service directory that may be services; those that start with a dot are not.
 * @throws the system's error when it cannot be read.
 */
export function listNames(sysdir: string): string[] {
  return list(sysdir)
    .map(({ name }) => name)
    .filter((name) => !name.startsWith("."));
}

/** Looks at one entry of the service directory. Never throws: what fails makes it unusable. */
export function examine(sysdir: string, name: string): Entry {
  const path = `${sysdir}/${name}`;
  try {
    return examinePath(path, name, sysdir);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return unusable(reasonOf(error), true);
  }
}

/** Whether the service directory has a file of that name, usable or not. */
export function exists(sysdir: string, name: string): boolean {
  const path = `${sysdir}/${name}`;
  return linkStatus(path) !== undefined;
}

/**
 * Why the kernel would refuse to execute a file that looks executable: its interpreter is missing.
 * @returns undefined when there is nothing to say.
 */
export function interpreterProblem(path: string): string | undefined {
  const interpreter = interpreterOf(path);
  if (interpreter === undefined || existsAt(interpreter)) return undefined;
  return `its interpreter ${interpreter} does not exist`;
}

function examinePath(path: string, name: string, sysdir: string): Entry {
  const link = linkStatus(path);
  if (link === undefined) return { is: "absent" };
  const file = link.isLink ? status(path) : link;
  if (file === undefined) return unusable("a symbolic link to nothing", true);
  const hidden = link !== file;
  if (isReservedName(name)) return unusable(RESERVED_NAME, false);
  if (!file.isFile) return unusable("not a regular file", hidden);
  const danger = dangerAsRoot(file, sysdir);
  if (danger !== undefined) return unusable(danger, hidden);
  if (!isExecutable(path, file)) return unusable("not executable", hidden);
  const changed = Math.max(link.changedAt, file.changedAt);
  return { is: "service", changed, hidden };
}

function isExecutable(path: string, file: FileStatus): boolean {
  if ((file.mode & 0o111) === 0) return false;
  const result = mayExecute(path);
  if (result < 0 && codeOf(-result) !== "EACCES")
    throw new SystemError("access", -result, path);
  return result === 0;
}

/** What root runs must not be somebody else's to change. */
function dangerAsRoot(file: FileStatus, sysdir: string): string | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  if ((file.mode & WRITABLE_BY_OTHERS) !== 0)
    return "writable by everybody, so not run as root";
  if (((status(sysdir)?.mode ?? 0) & WRITABLE_BY_OTHERS) !== 0)
    return `${sysdir} is writable by everybody, so nothing in it is run as root`;
  return undefined;
}

function unusable(why: string, hidden: boolean): Entry {
  return { is: "unusable", why, hidden };
}

function interpreterOf(path: string): string | undefined {
  let file: number;
  try {
    file = open(path, READ);
  } catch (error) {
    // A file that may be executed need not be readable; then there is nothing to say about it.
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
  try {
    if (!statusOf(file).isFile) return undefined;
    const buffer = Buffer.from(new ArrayBuffer(LONGEST_FIRST_LINE));
    const length = readInto(file, buffer, LONGEST_FIRST_LINE);
    const line = buffer.toString("utf8", 0, length).split("\n", 1)[0] ?? "";
    const match = /^#![ \t]*(\/[^ \t]*)/.exec(line);
    return match?.[1];
  } finally {
    close(file);
  }
}
