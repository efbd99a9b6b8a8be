/**
 * What svctl does to a service. Every operation writes or removes its lock, which is all the control
 * there is, and then waits for what the run directory says. A state that is older than the operation is
 * never taken for its result.
 */
import { monotonicNow } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { ensureDirectory, replaceFile, takeAway } from "../files.ts";
import {
  isReservedName,
  RESERVED_NAME,
  stateDirectory,
  statePath,
} from "../rundir.ts";
import { interpreterProblem } from "../sysdir.ts";
import { inSeconds } from "../text.ts";
import { belongsToAnother, look, type Places, type View } from "./view.ts";
import { until } from "./wait.ts";

/** What an operation works with. */
export interface Control extends Places {
  /** Milliseconds to wait for the result. */
  readonly wait: number;
  /** Milliseconds after which sysmgr kills what does not stop, as far as is known. */
  readonly stopTimeout: number;
  /** Does not wait for the result. */
  readonly returnsAtOnce: boolean;
}

/** An operation that did not succeed; the message says why. */
export class ControlError extends Error {}

/** Does something to one service. @throws ControlError */
export type Operation = (control: Control, name: string) => Promise<void>;

const SIGTERM = 15;
const SIGCONT = 18;
/** Milliseconds in which sysmgr acts on a lock that stays. */
const TAKES_EFFECT = 100;

/** Removes the lock; returns when it runs. */
export const start: Operation = async (control, name) => {
  const before = look(control, name);
  release(control, name, before);
  const stopping = before.lock?.asks === "stop";
  if (before.pid === undefined || stopping) refuseUnusable(control, before);
  await started(control, before, deadlineOf(control));
};

/** Locks it with TERM; returns when it is down. */
export const stop: Operation = (control, name) =>
  bringDown(control, name, "TERM");

/** Locks it with KILL; returns when it is down. */
export const kill: Operation = (control, name) =>
  bringDown(control, name, "KILL");

/** Stops and starts it again; returns when a new process runs. */
export const restart: Operation = async (control, name) => {
  const before = look(control, name);
  refuseUnusable(control, before);
  if (!before.recorded) return start(control, name);
  if (control.returnsAtOnce) return restartWithoutWaiting(control, before);
  const deadline = deadlineOf(control);
  const restoreOnSignal = releaseOnSignal(control, name);
  try {
    writeLock(control, name, "TERM");
    await gone(control, before, deadline);
  } finally {
    // Whatever came of it, the service is meant to run.
    removeLock(control, name);
    restoreOnSignal();
  }
  await started(control, look(control, name), deadline);
};

/** Runs it, if it is not running, and lets it not be restarted. */
export const once: Operation = async (control, name) => {
  const before = look(control, name);
  const stopping = before.lock?.asks === "stop";
  if (!before.recorded || stopping) {
    release(control, name, before);
    refuseUnusable(control, before);
    // There is time: what ends sooner than a second after its start is not started before that.
    await started(
      { ...control, returnsAtOnce: false },
      before,
      deadlineOf(control),
    );
  }
  writeLock(control, name, "once");
};

/** Makes the operation that sends a signal to the main process. */
export function sendSignal(signal: number): Operation {
  return async (control, name) => {
    const { pid } = look(control, name);
    if (pid === undefined || belongsToAnother(control, name, pid))
      throw new ControlError("not running");
    signalProcess(pid, signal);
  };
}

async function bringDown(
  control: Control,
  name: string,
  lock: "TERM" | "KILL",
): Promise<void> {
  const before = look(control, name);
  writeLock(control, name, lock);
  if (!control.returnsAtOnce) await down(control, before, deadlineOf(control));
}

/** Waits until it is down. What was started while the lock was being written counts as running. */
async function down(
  control: Control,
  before: View,
  deadline: number,
): Promise<void> {
  await ended(control, deadline, () => isDown(look(control, before.name)));
}

/**
 * Waits until what ran before is gone; somebody else may have started another one since. Somebody may
 * also have removed the lock before sysmgr saw it: then it is written again.
 */
async function gone(
  control: Control,
  before: View,
  deadline: number,
): Promise<void> {
  let lockedAt = monotonicNow();
  await ended(control, deadline, () => {
    const now = look(control, before.name);
    if (isDown(now)) return true;
    const another = now.pid !== before.pid || now.since !== before.since;
    if (now.pid !== undefined && another) return true;
    if (now.lock?.asks === "stop") return false;
    if (monotonicNow() - lockedAt < TAKES_EFFECT) return false;
    writeLock(control, before.name, "TERM");
    lockedAt = monotonicNow();
    return false;
  });
}

async function ended(
  control: Control,
  deadline: number,
  condition: () => boolean,
): Promise<void> {
  if (await until(condition, deadline)) return;
  throw new ControlError(`still running after ${waited(control)}`);
}

/** A start is counted before the process has a pid file. */
function isDown(view: View): boolean {
  return !view.recorded && !view.starting;
}

/**
 * Waits for a process that was not there, or was being stopped, before. One that ended again before
 * anybody could see it counts, too.
 */
async function started(
  control: Control,
  before: View,
  deadline: number,
): Promise<void> {
  if (control.returnsAtOnce) return;
  const stopping = before.lock?.asks === "stop";
  const isStarted = () => {
    const now = look(control, before.name);
    if (now.pid !== undefined) return !stopping || now.pid !== before.pid;
    return now.starts > before.starts && now.lastStartEnded;
  };
  if (await until(isStarted, deadline)) return;
  const now = look(control, before.name);
  // What lives longer than a stop can take is not being stopped: its lock was removed before sysmgr saw it.
  const spared = now.pid !== undefined && now.lock === undefined;
  if (spared && control.wait >= control.stopTimeout) return;
  refuseUnusable(control, now);
  throw new ControlError(`not running after ${waited(control)}`);
}

/** Asks sysmgr to start it now: a lock that goes away does that, and ends a restart delay, too. */
function release(control: Control, name: string, before: View): void {
  if (removeLock(control, name) || before.recorded) return;
  if (before.entry.is !== "service") return;
  writeLock(control, name, "0");
  removeLock(control, name);
}

/** TERM to the group, as a stop sends it; sysmgr starts what has ended. */
function restartWithoutWaiting(control: Control, before: View): void {
  if (before.lock !== undefined) removeLock(control, before.name);
  const { name, pid } = before;
  if (pid === undefined || belongsToAnother(control, name, pid)) return;
  signalProcess(-pid, SIGTERM);
  signalProcess(-pid, SIGCONT);
}

function refuseUnusable(control: Control, view: View): void {
  if (view.entry.is === "unusable") throw new ControlError(view.entry.why);
  if (view.entry.is === "absent")
    throw new ControlError(`no longer in ${control.sysdir}`);
  if (view.pid !== undefined) return;
  const problem = interpreterProblem(`${control.sysdir}/${view.name}`);
  if (problem !== undefined) throw new ControlError(problem);
}

function writeLock(control: Control, name: string, text: string): void {
  if (isReservedName(name)) throw new ControlError(RESERVED_NAME);
  const path = statePath(control.rundir, name, "lock");
  attempt(path, () => {
    ensureDirectory(stateDirectory(control.rundir, name));
    replaceFile(path, `${text}\n`);
  });
}

function removeLock(control: Control, name: string): boolean {
  const path = statePath(control.rundir, name, "lock");
  return attempt(path, () => takeAway(path));
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ControlError(`${path}: ${reasonOf(error)}`);
  }
}

function signalProcess(pid: number, signal: number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    throw new ControlError(`pid ${Math.abs(pid)}: ${reasonOf(error)}`);
  }
}

/** An interrupted restart must not leave the service stopped. */
function releaseOnSignal(control: Control, name: string): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const release = () => removeLock(control, name);
  for (const signal of signals) process.on(signal, release);
  return () => {
    for (const signal of signals) process.off(signal, release);
  };
}

function deadlineOf(control: Control): number {
  return monotonicNow() + control.wait;
}

function waited(control: Control): string {
  return inSeconds(control.wait);
}
