/**
 * The run directory: what its files are called, what they say, how they are read and written. All three
 * applets speak to each other through these files and through nothing else.
 *
 *   RUNDIR/pid              sysmgr itself
 *   RUNDIR/SERVICE/pid      the service's process; its time of change is the start (see identity.ts)
 *   RUNDIR/SERVICE/lock     do not start it; what it says is done to the process that runs
 *   RUNDIR/SERVICE/exit     how the last process ended
 *   RUNDIR/SERVICE/starts   how often it was started
 *   RUNDIR/SERVICE/waiting  what its script waits for in sysmgr-depends
 */
import { SETTLE_TIME } from "./config.ts";
import {
  directoryIdentity,
  type Reading,
  readSmallFile,
  toMilliseconds,
} from "./files.ts";
import { signalName, signalNumber } from "./signals.ts";
import { list } from "./system/files.ts";

/** The files of a service. */
export const STATE_FILES = [
  "pid",
  "lock",
  "exit",
  "starts",
  "waiting",
] as const;
export type StateFile = (typeof STATE_FILES)[number];

/** What a lock asks for, beyond that the service is not started. */
export type Lock =
  /** Leave the running process be; `once` only remembers why. */
  | { readonly asks: "nothing" | "once" }
  /** Bring the running process down with this signal. */
  | { readonly asks: "stop"; readonly signal: number };

/** How a process ended: an exit status, a signal's name, or nobody could see it. */
export type Exit = number | string;
export const UNKNOWN_EXIT = "unknown";

/** A state file's content: absent, understood, or not to be trusted. */
export type State<T> =
  | { readonly is: "absent" }
  | { readonly is: "present"; readonly value: T; readonly modified: bigint }
  | { readonly is: "garbage"; readonly why: string };

/** The kernel's highest pid (proc(5), pid_max). */
const LARGEST_PID = 4_194_304;
const LONGEST_VALUE = 64;
/** Names of 255 bytes for some hundreds of services. */
const LONGEST_WAITING = 65_536;

/** Where a service's state lies. */
export function stateDirectory(rundir: string, service: string): string {
  return `${rundir}/${service}`;
}

/** Where one of a service's files lies. */
export function statePath(
  rundir: string,
  service: string,
  file: StateFile,
): string {
  return `${rundir}/${service}/${file}`;
}

/**
 * The names in RUNDIR under which the state of a service may lie. SYSDIR may lie there, too, and scripts in
 * it be called like state files.
 * @throws the system's error when it cannot be read.
 */
export function listStates(rundir: string, sysdir: string): string[] {
  const scripts = directoryIdentity(sysdir);
  return list(rundir)
    .filter(({ is }) => is !== "other")
    .map(({ name }) => name)
    .filter((name) => {
      const identity = directoryIdentity(stateDirectory(rundir, name));
      return identity === undefined || identity !== scripts;
    });
}

/** Where sysmgr's own pid lies. */
export function ownPidPath(rundir: string): string {
  return `${rundir}/pid`;
}

/** Why a reserved name cannot be a service's. */
export const RESERVED_NAME = "the name is needed for sysmgr's own state";

/** Names that cannot be a service, because RUNDIR needs them for itself. */
export function isReservedName(service: string): boolean {
  return service === "pid";
}

/** @throws the system's error when the file cannot be read. */
export function readPid(rundir: string, service: string): State<number> {
  return readState(statePath(rundir, service, "pid"), parseServicePid);
}

/** @throws the system's error when the file cannot be read. */
export function readOwnPid(rundir: string): State<number> {
  return readState(ownPidPath(rundir), parsePid);
}

/**
 * Reads a lock. One that has just changed and does not end in a newline may still be being written: what
 * it says so far can mean something else than what it will say (`1`, then `15`).
 * @returns the lock, and whether it is complete.
 * @throws the system's error when the file cannot be read.
 */
export function readLock(
  rundir: string,
  service: string,
): { readonly lock: State<Lock>; readonly complete: boolean } {
  const path = statePath(rundir, service, "lock");
  const reading = readSmallFile(path, LONGEST_VALUE);
  const complete =
    reading.found !== "text" ||
    reading.text === "" ||
    reading.text.endsWith("\n") ||
    Math.abs(Date.now() - toMilliseconds(reading.modified)) >= SETTLE_TIME;
  return { lock: stateOf(reading, parseLock), complete };
}

/** @throws the system's error when the file cannot be read. */
export function readExit(rundir: string, service: string): State<Exit> {
  return readState(statePath(rundir, service, "exit"), parseExit);
}

/** @throws the system's error when the file cannot be read. */
export function readStarts(rundir: string, service: string): State<number> {
  return readState(statePath(rundir, service, "starts"), parseCount);
}

/** @throws the system's error when the file cannot be read. */
export function readWaiting(rundir: string, service: string): State<string[]> {
  const path = statePath(rundir, service, "waiting");
  return readState(path, parseWaiting, LONGEST_WAITING);
}

/** Parses a pid; undefined unless it is one that a process can have. */
export function parsePid(text: string): number | undefined {
  const pid = parseCount(text);
  return pid !== undefined && pid >= 1 && pid <= LARGEST_PID ? pid : undefined;
}

/** Parses a service's pid, which can never be that of init. */
export function parseServicePid(text: string): number | undefined {
  const pid = parsePid(text);
  return pid === 1 ? undefined : pid;
}

/** Parses what a lock says: nothing, `0`, `once`, or a signal's name or number. */
export function parseLock(text: string): Lock | undefined {
  const word = text.trim();
  if (word === "" || word === "0") return { asks: "nothing" };
  if (word === "once") return { asks: "once" };
  const signal = signalNumber(word);
  return signal === undefined ? undefined : { asks: "stop", signal };
}

/** Parses how a process ended. */
export function parseExit(text: string): Exit | undefined {
  const word = withoutNewline(text);
  if (word === UNKNOWN_EXIT) return word;
  if (/^SIG[A-Z0-9+]{2,10}$/.test(word)) return word;
  const code = parseCount(text);
  return code !== undefined && code <= 255 ? code : undefined;
}

/** Parses a number that counts something. */
export function parseCount(text: string): number | undefined {
  const word = withoutNewline(text);
  if (!/^(0|[1-9][0-9]{0,14})$/.test(word)) return undefined;
  return Number(word);
}

/** Parses the names of services, one a line; undefined where one cannot be a file's name. */
export function parseWaiting(text: string): string[] | undefined {
  const names = withoutNewline(text).split("\n");
  const usable = names.every(
    (name) => name !== "" && !name.startsWith(".") && !/[/\0\ufffd]/.test(name),
  );
  return usable ? names : undefined;
}

/** What a state file says; undefined when it is absent or garbage. */
export function understood<T>(state: State<T>): T | undefined {
  return state.is === "present" ? state.value : undefined;
}

/** Says how a process ended as a state file has it. */
export function exitOf(code: number | null, signal: number | string | null) {
  if (typeof signal === "number") return signalName(signal);
  return signal ?? code ?? UNKNOWN_EXIT;
}

/** Says how a process ended as a message has it: `exited 1`, `killed by SIGKILL`. */
export function describeExit(exit: Exit): string {
  if (exit === UNKNOWN_EXIT) return "ended";
  return typeof exit === "number" ? `exited ${exit}` : `killed by ${exit}`;
}

function readState<T>(
  path: string,
  parse: (text: string) => T | undefined,
  longest = LONGEST_VALUE,
): State<T> {
  return stateOf(readSmallFile(path, longest), parse);
}

function stateOf<T>(
  reading: Reading,
  parse: (text: string) => T | undefined,
): State<T> {
  if (reading.found === "nothing") return { is: "absent" };
  if (reading.found === "garbage") return { is: "garbage", why: reading.why };
  const value = parse(reading.text);
  return value === undefined
    ? { is: "garbage", why: "not understood" }
    : { is: "present", value, modified: reading.modified };
}

function withoutNewline(text: string): string {
  return text.endsWith("\n") ? text.slice(0, -1) : text;
}
