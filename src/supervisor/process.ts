/**
 * The one door to processes: start, watch, signal, look. The supervisor is given these functions, so a
 * test can stand in the door.
 */
import { monotonicNow } from "../clock.ts";
import { errorCode, reasonOf } from "../errors.ts";
import { isAlive } from "../identity.ts";
import {
  type ProcessStatus,
  procMounted,
  readProcess,
  readProcesses,
} from "../proc.ts";
import { type Exit, exitOf, UNKNOWN_EXIT } from "../rundir.ts";
import { interpreterProblem } from "../sysdir.ts";
import { wordsFor } from "../system/error.ts";
import {
  close,
  duplicate,
  exists,
  open,
  READ,
  status,
} from "../system/files.ts";
import { openProcess, sendSignal } from "../system/processes.ts";
import { descriptorsToWait, whenReadable } from "../system/readiness.ts";
import { unmasked } from "../system/signal-mask.ts";

/** What a service is started with. */
export interface StartRequest {
  /** Absolute path of the executable. */
  readonly path: string;
  readonly environment: Record<string, string | undefined>;
  readonly onEnd: OnEnd;
}

/**
 * Called once, after the start has returned, when the process has ended. It is the same function for all,
 * because what is kept for each process counts a thousand times.
 */
export type OnEnd = (pid: number, exit: Exit) => void;

/** A start that failed; the message is the reason. */
export class StartError extends Error {}

/** What the supervisor can do to processes. */
export interface Processes {
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  /** @returns the pid. @throws StartError */
  start(request: StartRequest): number;
  /** Calls back once when a process that is not a child ends. @throws when it cannot be watched. */
  watch(pid: number, onEnd: OnEnd): void;
  /** Sends a signal to a process group; says why when that failed. */
  signalGroup(group: number, signal: number): string | undefined;
  /**
   * Whether a group whose leader had this start time has a member. Zombies count as members, unless the
   * look is thorough, which means going through all of /proc.
   * @param thoroughSince a thorough look is wanted, one that was begun at this time (now()) or later.
   */
  groupAlive(
    group: number,
    leaderStartTicks: number | undefined,
    thoroughSince: number | undefined,
  ): boolean;
  /** Whether a group's number still is that of the group whose leader had this start time. */
  maySignal(group: number, leaderStartTicks: number | undefined): boolean;
  status(pid: number): ProcessStatus | undefined;
}

/**
 * Milliseconds that the parent of a process which is not a child gets to wait for it. Until then it is a
 * zombie, and its group seems to be there.
 */
export const REAPING_TIME = 10;
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
const NULL_PATH = "/dev/null";

/** Children that have been started and have not been reported as ended, and who is to be told. */
const running = new Map<number, OnEnd>();

/** Whether a process is a child that has been started and has not been reported as ended. */
export function isChild(pid: number): boolean {
  return running.has(pid);
}

/** The real door. */
export const systemProcesses: Processes = {
  now: monotonicNow,
  start,
  watch,
  signalGroup,
  groupAlive,
  maySignal,
  status: readProcess,
};

function start(request: StartRequest): number {
  const shortage = shortageOfDescriptors(0);
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
 * @param needed so many are about to be taken.
 * @returns why not, when there are too few.
 */
function shortageOfDescriptors(needed: number): string | undefined {
  const spare: number[] = [];
  try {
    while (spare.length < SPARE_DESCRIPTORS + needed)
      spare.push(duplicate(STDERR));
    return undefined;
  } catch (error) {
    return reasonOf(error);
  } finally {
    for (const descriptor of spare) close(descriptor);
  }
}

function spawn(command: string[], request: StartRequest): number {
  const { pid } = unmasked(() =>
    Bun.spawn(command, {
      stdio: [nullDevice(), STDOUT, STDERR],
      detached: true,
      env: request.environment,
      onExit,
    }),
  );
  running.set(pid, request.onEnd);
  return pid;
}

function onExit(
  { pid }: { readonly pid: number },
  code: number | null,
  signal: number | string | null,
  error?: unknown,
): void {
  const exit = error === undefined ? exitOf(code, signal) : UNKNOWN_EXIT;
  // Bun's types warn that this may come before spawn has returned.
  if (running.has(pid)) report(pid, exit);
  else setImmediate(() => report(pid, exit));
}

function report(pid: number, exit: Exit): void {
  const tell = running.get(pid);
  running.delete(pid);
  tell?.(pid, exit);
}

let nullDescriptor: number | "ignore" | undefined;

/** Opened once and without O_CREAT, which Bun's "ignore" uses: it could leave a file /dev/null behind. */
function nullDevice(): number | "ignore" {
  if (nullDescriptor === undefined || nullDescriptor === "ignore") {
    try {
      // Something else of that name could hold a service's input up, or be it.
      const found = status(NULL_PATH);
      const { major, minor } = found?.node ?? {};
      const isNull = found?.isCharacterDevice && major === 1 && minor === 3;
      nullDescriptor = isNull ? open(NULL_PATH, READ) : "ignore";
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      nullDescriptor = "ignore";
    }
  }
  return nullDescriptor;
}

function startFailure(error: unknown, path: string): string {
  if (errorCode(error) === "ENOENT" && exists(path))
    return `${interpreterProblem(path) ?? "its interpreter does not exist"} (ENOENT)`;
  return path === SHELL ? `${SHELL}: ${reasonOf(error)}` : reasonOf(error);
}

function watch(pid: number, onEnd: OnEnd): void {
  if (shortageOfDescriptors(descriptorsToWait()) !== undefined) {
    poll(pid, onEnd);
    return;
  }
  let descriptor: number | undefined;
  try {
    descriptor = openProcess(pid);
  } catch (error) {
    // ENOSYS: the kernel is too old; EPERM: a sandbox does not let us; ENFILE, ENOMEM: not now.
    if (errorCode(error) === undefined) throw error;
    poll(pid, onEnd);
    return;
  }
  if (descriptor === undefined) {
    setImmediate(() => onEnd(pid, UNKNOWN_EXIT));
    return;
  }
  const end = () => onEnd(pid, UNKNOWN_EXIT);
  const ended = () => {
    if (isAlive(pid)) setTimeout(end, REAPING_TIME);
    else end();
  };
  whenReadable(descriptor, ended, () => poll(pid, onEnd));
}

const polled = new Map<number, OnEnd>();

/** One timer for all whose end the kernel does not tell. */
function poll(pid: number, onEnd: OnEnd): void {
  polled.set(pid, onEnd);
  if (polled.size === 1) setTimeout(pollAll, POLL_INTERVAL);
}

function pollAll(): void {
  for (const [pid, onEnd] of polled) {
    if (isRunning(pid)) continue;
    polled.delete(pid);
    onEnd(pid, UNKNOWN_EXIT);
  }
  if (polled.size > 0) setTimeout(pollAll, POLL_INTERVAL);
}

function isRunning(pid: number): boolean {
  return procMounted() ? readProcess(pid)?.ended === false : isAlive(pid);
}

function signalGroup(group: number, signal: number): string | undefined {
  const code = sendSignal(-group, signal);
  return code === undefined || code === "ESRCH"
    ? undefined
    : `${wordsFor(code) ?? "it failed"} (${code})`;
}

function groupAlive(
  group: number,
  leaderStartTicks: number | undefined,
  thoroughSince: number | undefined,
): boolean {
  if (!groupExists(group)) return false;
  try {
    const user = userOfNumber(group, leaderStartTicks);
    if (user !== "nobody") return user === "leader";
    if (thoroughSince === undefined || !procMounted()) return true;
    return liveGroups(thoroughSince).has(group);
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
  if (isChild(group)) return "leader";
  if (!procMounted()) return isAlive(group) ? "stranger" : "nobody";
  const leader = readProcess(group);
  if (leader === undefined) return "nobody";
  if (leader.startTicks !== leaderStartTicks) return "stranger";
  return leader.ended ? "nobody" : "leader";
}

function groupExists(group: number): boolean {
  return sendSignal(-group, 0) !== "ESRCH";
}

let snapshot = {
  begun: Number.NEGATIVE_INFINITY,
  validUntil: Number.NEGATIVE_INFINITY,
  groups: new Set<number>(),
};

/**
 * The groups that have a member which is not a zombie; kill(2) counts zombies as members.
 * @param since a group that is asked about may be younger than an earlier look.
 */
function liveGroups(since: number): ReadonlySet<number> {
  const begun = monotonicNow();
  if (begun >= snapshot.validUntil || snapshot.begun < since) {
    const living = readProcesses().filter((status) => !status.ended);
    const now = monotonicNow();
    const validUntil = now + Math.max(SNAPSHOT_LIFETIME, 10 * (now - begun));
    snapshot = {
      begun,
      validUntil,
      groups: new Set(living.map(({ group }) => group)),
    };
  }
  return snapshot.groups;
}
