/** What /proc tells of processes. Everything here also answers, with less, where /proc is missing. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { errorCode } from "./errors.ts";

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
  return existsSync("/proc/self/stat");
}

/** Reads a process's status; undefined when there is no such process, or no /proc. */
export function readProcess(pid: number): ProcessStatus | undefined {
  try {
    return parseStatus(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch (error) {
    // ESRCH: it ended between open and read; EACCES, EPERM: /proc is mounted with hidepid (proc(5)).
    const expected = ["ENOENT", "ESRCH", "ENOTDIR", "EACCES", "EPERM"];
    if (expected.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** All processes that there are; empty without /proc. */
export function readProcesses(): ProcessStatus[] {
  if (!procMounted()) return [];
  return readdirSync("/proc").flatMap((name) => {
    const status = /^[1-9][0-9]*$/.test(name)
      ? readProcess(Number(name))
      : undefined;
    return status === undefined ? [] : [status];
  });
}

/**
 * The service that a process was started for, from its environment: what it inherited, or what it has
 * put in that place since. Undefined when it has none, or when that must not be read.
 */
export function readServiceMark(pid: number): ServiceMark | undefined {
  const environment = readEnvironment(pid);
  const service = variable(environment, "SYSMGR_SERVICE");
  const rundir = variable(environment, "RUNDIR");
  return service === undefined || rundir === undefined
    ? undefined
    : { service, rundir };
}

/** The arguments that a process was executed with; undefined where they cannot be read. */
export function readArguments(pid: number): string[] | undefined {
  const text = readQuietly(`/proc/${pid}/cmdline`);
  // Empty while it is still being executed, and once it has ended.
  return text ? text.replace(/\0$/, "").split("\0") : undefined;
}

/** The user that a process belongs to; undefined when there is no such process, or no /proc. */
export function processOwner(pid: number): number | undefined {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
}

/** When a process was started, in milliseconds since 1970, as far as the clock was not set since. */
export function startTime(status: ProcessStatus): number {
  const uptime = Number.parseFloat(readFileSync("/proc/uptime", "latin1"));
  const age = uptime * 1000 - status.startTicks * MILLISECONDS_PER_TICK;
  return Date.now() - age;
}

/** A name for this run of the kernel, so that a pid of before a reboot is not taken for one of today. */
export function bootIdentity(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
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

function readEnvironment(pid: number): string {
  return `\0${readQuietly(`/proc/${pid}/environ`) ?? ""}`;
}

/** Reads what a process shows of itself, unless it is gone or may not be looked at. */
function readQuietly(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const expected = ["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTDIR"];
    if (expected.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

function variable(environment: string, name: string): string | undefined {
  const start = environment.indexOf(`\0${name}=`);
  if (start < 0) return undefined;
  const from = start + name.length + 2;
  const end = environment.indexOf("\0", from);
  return environment.slice(from, end < 0 ? undefined : end);
}
