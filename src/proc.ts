/** What /proc tells of processes. Everything here also answers, with less, where /proc is missing. */
import { errorCode } from "./errors.ts";
import { exists, list, readBytes, readText, status } from "./system/files.ts";

/** One process as /proc/PID/stat shows it (proc(5)). */
export interface ProcessStatus {
  readonly pid: number;
  readonly ended: boolean;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** When it was started, in clock ticks since boot: with the pid this identifies it for ever. */
  readonly startTicks: number;
}

/** What a process that sysmgr started finds in its environment. */
export interface ServiceMark {
  readonly service: string;
  readonly rundir: string;
}

/**
 * PID (NAME) STATE PARENT GROUP SESSION, 15 more, START TIME, more. The program's name may itself hold
 * spaces and parentheses; a number with nothing behind it may have been cut off.
 */
const STATUS = /^(\d+) \(.*\) (\S) (-?\d+) (-?\d+) (-?\d+) (?:\S+ ){15}(\d+) /s;

/** The kernel counts a hundred ticks a second for /proc, whatever its own clock does (USER_HZ, time(7)). */
const MILLISECONDS_PER_TICK = 10;

/** Whether /proc is mounted and shows this process. */
export function procMounted(): boolean {
  return exists("/proc/self/stat");
}

/** Reads a process's status; undefined when there is no such process, or no /proc. */
export function readProcess(pid: number): ProcessStatus | undefined {
  try {
    return parseStatus(readText(`/proc/${pid}/stat`, "latin1"));
  } catch (error) {
    // ESRCH: it ended between open and read; EACCES, EPERM: /proc is mounted with hidepid (proc(5)).
    const expected = ["ENOENT", "ESRCH", "ENOTDIR", "EACCES", "EPERM"];
    if (expected.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** All processes that there are; empty without /proc. */
export function readProcesses(): ProcessStatus[] {
  return processIds().flatMap((pid) => readProcess(pid) ?? []);
}

/** The pids of all processes that there are; empty without /proc. */
export function processIds(): number[] {
  if (!procMounted()) return [];
  return list("/proc").flatMap(({ name }) => {
    const pid = Number(name);
    return Number.isInteger(pid) ? [pid] : [];
  });
}

/**
 * The service that a process was started for, from its environment: what it inherited, or what it has
 * put in that place since. Undefined when it has none, or when that must not be read.
 */
export function readServiceMark(pid: number): ServiceMark | undefined {
  const environment = readQuietly(`/proc/${pid}/environ`);
  const service = variable(environment, "SYSMGR_SERVICE");
  if (service === undefined) return undefined;
  const rundir = variable(environment, "RUNDIR");
  return rundir === undefined ? undefined : { service, rundir };
}

/** The arguments that a process was executed with; undefined where they cannot be read. */
export function readArguments(pid: number): string[] | undefined {
  const text = readQuietly(`/proc/${pid}/cmdline`)?.toString("utf8");
  // Empty while it is still being executed, and once it has ended.
  return text ? text.replace(/\0$/, "").split("\0") : undefined;
}

/** The user that a process belongs to; undefined when there is no such process, or no /proc. */
export function processOwner(pid: number): number | undefined {
  return status(`/proc/${pid}`)?.owner;
}

/** When a process was started, in milliseconds since 1970, as far as the clock was not set since. */
export function startTime({ startTicks }: ProcessStatus): number {
  const uptime = Number.parseFloat(readText("/proc/uptime", "latin1"));
  const age = uptime * 1000 - startTicks * MILLISECONDS_PER_TICK;
  return Date.now() - age;
}

/** A name for this run of the kernel, so that a pid of before a reboot is not taken for one of today. */
export function bootIdentity(): string {
  try {
    return readText("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return "";
  }
}

/** Parses the one line of /proc/PID/stat; undefined when it is not one. */
export function parseStatus(text: string): ProcessStatus | undefined {
  const match = STATUS.exec(text);
  if (match === null) return undefined;
  const [, pid, state, parent, group, session, startTicks] = match;
  return {
    pid: Number(pid),
    ended: state === "Z" || state === "X",
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks: Number(startTicks),
  };
}

/** Reads what a process shows of itself, unless it is gone or may not be looked at. */
function readQuietly(path: string): Buffer | undefined {
  try {
    return readBytes(path);
  } catch (error) {
    const expected = ["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTDIR"];
    if (expected.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** Looked for as bytes: every process is asked, and hardly any has it. */
function variable(
  environment: Buffer | undefined,
  name: string,
): string | undefined {
  const key = `${name}=`;
  let start = environment?.indexOf(key) ?? -1;
  while (environment !== undefined && start > 0 && environment[start - 1] !== 0)
    start = environment.indexOf(key, start + 1);
  if (environment === undefined || start < 0) return undefined;
  const from = start + key.length;
  const end = environment.indexOf(0, from);
  return environment.toString("utf8", from, end < 0 ? undefined : end);
}
