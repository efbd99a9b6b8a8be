/**
 * The one door to processes: start, watch, signal, look. The supervisor is given these functions, so a
 * test can stand in the door.
 */
import { closeSync, existsSync, openSync, statSync } from "node:fs";
import { errorCode, reasonOf } from "../errors.ts";
import { isAlive } from "../identity.ts";
import { isUnsupported, openProcess } from "../libc.ts";
import {
  type ProcessStatus,
  procMounted,
  readProcess,
  readProcesses,
} from "../proc.ts";
import { type Exit, exitOf, UNKNOWN_EXIT } from "../rundir.ts";

/** What a service is started with. */
export interface StartRequest {
  /** Absolute path of the executable. */
  readonly path: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Called once, after the start has returned, when the process has ended. */
  readonly onEnd: (exit: Exit) => void;
}

/** A start that failed; the message is the reason. */
export class StartError extends Error {}

/** What the supervisor can do to processes. */
export interface Processes {
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  /** @returns the pid. @throws StartError */
  start(request: StartRequest): number;
  /** Calls back once when a process that is not a child ends. @throws when it cannot be watched. */
  watch(pid: number, onEnd: (exit: Exit) => void): void;
  /** Sends a signal to a process group; says why when that failed. */
  signalGroup(group: number, signal: number): string | undefined;
  /**
   * Whether a group whose leader had this start time has a member. Zombies count as members, unless the
   * look is thorough, which means going through all of /proc.
   */
  groupAlive(
    group: number,
    leaderStartTicks: number | undefined,
    thorough: boolean,
  ): boolean;
  /** Whether a group's number still is that of the group whose leader had this start time. */
  maySignal(group: number, leaderStartTicks: number | undefined): boolean;
  status(pid: number): ProcessStatus | undefined;
}

/** Milliseconds between two looks at adopted processes on a kernel that cannot report their end. */
const POLL_INTERVAL = 900;
/**
 * Looking through all of /proc is dear, so one look serves all groups for this long (milliseconds), and
 * for ten times as long as it took.
 */
const SNAPSHOT_LIFETIME = 20;
/** Reading /proc while a file is open, and one for the process itself. */
const SPARE_DESCRIPTORS = 4;
const SHELL = "/bin/sh";
const STDOUT = 1;
const STDERR = 2;
/** Major 1, minor 3 (null(4)). */
const NULL_DEVICE = 0x103;

/** The pids of children that have been started and have not been reported as ended. */
export const children = new Set<number>();

/** The real door. */
export const systemProcesses: Processes = {
  now: () => performance.now(),
  start,
  watch,
  signalGroup,
  groupAlive,
  maySignal,
  status: readProcess,
};

function start(request: StartRequest): number {
  const shortage = shortageOfDescriptors();
  if (shortage !== undefined) throw new StartError(shortage);
  try {
    return spawn([request.path], request);
  } catch (error) {
    // execvp(3) runs a file that the kernel does not know with the shell; so do we.
    if (errorCode(error) !== "ENOEXEC")
      throw new StartError(startFailure(error, request.path));
  }
  try {
    return spawn([SHELL, request.path], request);
  } catch (error) {
    throw new StartError(startFailure(error, SHELL));
  }
}

/**
 * Every process that is watched takes a descriptor. If the last ones went to a start, no lock could be
 * read and no service be stopped to make room, so some always stay free.
 * @returns why not, when there are too few.
 */
function shortageOfDescriptors(): string | undefined {
  const opened: number[] = [];
  try {
    while (opened.length < SPARE_DESCRIPTORS) opened.push(openSync("/", "r"));
    return undefined;
  } catch (error) {
    return reasonOf(error);
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

function spawn(command: string[], request: StartRequest): number {
  let early: Exit | undefined;
  let pid: number | undefined;
  const subprocess = Bun.spawn(command, {
    stdio: [nullDevice(), STDOUT, STDERR],
    detached: true,
    env: { ...request.environment },
    onExit(_subprocess, code, signal, error) {
      const exit = error === undefined ? exitOf(code, signal) : UNKNOWN_EXIT;
      // Bun's types warn that this may come before spawn has returned.
      if (pid === undefined) early = exit;
      else finish(pid, exit, request);
    },
  });
  pid = subprocess.pid;
  children.add(pid);
  const { pid: started } = subprocess;
  if (early !== undefined) {
    const exit = early;
    setImmediate(() => finish(started, exit, request));
  }
  return pid;
}

function finish(pid: number, exit: Exit, request: StartRequest): void {
  children.delete(pid);
  request.onEnd(exit);
}

let nullDescriptor: number | "ignore" | undefined;

/** Opened once and without O_CREAT, which Bun's "ignore" uses: it could leave a file /dev/null behind. */
function nullDevice(): number | "ignore" {
  if (nullDescriptor === undefined || nullDescriptor === "ignore") {
    try {
      // Something else of that name could hold a service's input up, or be it.
      const status = statSync("/dev/null");
      nullDescriptor =
        status.isCharacterDevice() && status.rdev === NULL_DEVICE
          ? openSync("/dev/null", "r")
          : "ignore";
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      nullDescriptor = "ignore";
    }
  }
  return nullDescriptor;
}

function startFailure(error: unknown, path: string): string {
  if (errorCode(error) === "ENOENT" && existsSync(path))
    return "its interpreter does not exist (ENOENT)";
  return path === SHELL ? `${SHELL}: ${reasonOf(error)}` : reasonOf(error);
}

function watch(pid: number, onEnd: (exit: Exit) => void): void {
  if (shortageOfDescriptors() !== undefined) {
    poll(pid, onEnd);
    return;
  }
  let descriptor: number | undefined;
  try {
    descriptor = openProcess(pid);
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    poll(pid, onEnd);
    return;
  }
  if (descriptor === undefined) {
    setImmediate(() => onEnd(UNKNOWN_EXIT));
    return;
  }
  // A pidfd is no socket. The event loop polls it all the same, and when it becomes readable, which is
  // when the process has ended, finds out and closes it: that close is the news.
  Bun.connect({
    fd: descriptor,
    socket: { data: ignore, error: ignore, close: () => onEnd(UNKNOWN_EXIT) },
  }).catch(() => poll(pid, onEnd));
}

function ignore(): void {
  // Neither data nor the error that reading a pidfd gives is of interest.
}

const polled = new Map<number, (exit: Exit) => void>();

/** One timer for all, on kernels older than 5.3. */
function poll(pid: number, onEnd: (exit: Exit) => void): void {
  polled.set(pid, onEnd);
  if (polled.size === 1) setTimeout(pollAll, POLL_INTERVAL);
}

function pollAll(): void {
  for (const [pid, onEnd] of polled) {
    if (isRunning(pid)) continue;
    polled.delete(pid);
    onEnd(UNKNOWN_EXIT);
  }
  if (polled.size > 0) setTimeout(pollAll, POLL_INTERVAL);
}

function isRunning(pid: number): boolean {
  return procMounted() ? readProcess(pid)?.ended === false : isAlive(pid);
}

function signalGroup(group: number, signal: number): string | undefined {
  try {
    process.kill(-group, signal);
    return undefined;
  } catch (error) {
    return errorCode(error) === "ESRCH" ? undefined : reasonOf(error);
  }
}

function groupAlive(
  group: number,
  leaderStartTicks: number | undefined,
  thorough: boolean,
): boolean {
  if (!groupExists(group)) return false;
  try {
    const user = userOfNumber(group, leaderStartTicks);
    if (user !== "nobody") return user === "leader";
    return !thorough || !procMounted() || liveGroups().has(group);
  } catch (error) {
    // Without a free descriptor /proc cannot be read; what may be alive is looked at again.
    if (errorCode(error) === undefined) throw error;
    return true;
  }
}

function maySignal(
  group: number,
  leaderStartTicks: number | undefined,
): boolean {
  return userOfNumber(group, leaderStartTicks) !== "stranger";
}

/**
 * Who has a group's number as its pid. A group keeps its number from being given away, so where it is a
 * stranger, the group is gone.
 */
function userOfNumber(
  group: number,
  leaderStartTicks: number | undefined,
): "leader" | "nobody" | "stranger" {
  // A child that nobody has waited for keeps its pid.
  if (children.has(group)) return "leader";
  if (!procMounted()) return isAlive(group) ? "stranger" : "nobody";
  const leader = readProcess(group);
  if (leader === undefined) return "nobody";
  if (leader.startTicks !== leaderStartTicks) return "stranger";
  return leader.ended ? "nobody" : "leader";
}

function groupExists(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== "ESRCH";
  }
}

let snapshot = {
  validUntil: Number.NEGATIVE_INFINITY,
  groups: new Set<number>(),
};

/** The groups that have a member which is not a zombie; kill(2) counts zombies as members. */
function liveGroups(): ReadonlySet<number> {
  const begun = performance.now();
  if (begun >= snapshot.validUntil) {
    const living = readProcesses().filter((status) => !status.ended);
    const now = performance.now();
    const validUntil = now + Math.max(SNAPSHOT_LIFETIME, 10 * (now - begun));
    snapshot = {
      validUntil,
      groups: new Set(living.map(({ group }) => group)),
    };
  }
  return snapshot.groups;
}
