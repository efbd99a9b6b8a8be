/**
 * One sysmgr per run directory. The directory itself is locked with flock(2) for as long as sysmgr
 * lives: the kernel decides who is first, and lets go when it dies, however it dies.
 */
import { monotonicNow } from "../clock.ts";
import { errorCode, reasonOf } from "../errors.ts";
import { ensureDirectory, isAbsence, removeFile } from "../files.ts";
import { verify } from "../identity.ts";
import { processOwner } from "../proc.ts";
import { listStates, ownPidPath, readOwnPid } from "../rundir.ts";
import { SystemError } from "../system/error.ts";
import {
  close,
  open,
  READ_DIRECTORY,
  readText,
  statusOf,
} from "../system/files.ts";
import { lockFile } from "../system/processes.ts";
import { removeState } from "./records.ts";
import type { Log } from "./supervisor.ts";

/** Milliseconds to wait for the winner of two sysmgr that began at once to write its pid. */
const WINNER_WAIT = 1000;
const WINNER_STEP = 10;
const WRITABLE_BY_OTHERS = 0o002;
const STICKY = 0o1000;

/** The claim of this process on the run directory. */
export class Instance {
  #descriptor: number | undefined;

  constructor(
    readonly rundir: string,
    readonly sysdir: string,
    readonly log: Log,
  ) {}

  /**
   * Claims the run directory, making it if need be. Services are supervised also where there is none.
   * @returns why not, when another sysmgr has it.
   */
  claim(): string | undefined {
    try {
      ensureDirectory(this.rundir);
      this.#descriptor = open(this.rundir, READ_DIRECTORY);
    } catch (error) {
      // Writing the pid into it will fail in the same way, which is reported and tried again.
      if (errorCode(error) === undefined) throw error;
      return undefined;
    }
    const danger = dangerAsRoot(this.#descriptor);
    return danger === undefined
      ? this.#lock(this.#descriptor)
      : `${this.rundir}: ${danger}`;
  }

  /**
   * Claims the directory that has come into the place of the one that was claimed.
   * @returns why not, as claim does.
   */
  reclaim(): string | undefined {
    if (this.#descriptor !== undefined) close(this.#descriptor);
    this.#descriptor = undefined;
    return this.claim();
  }

  /** Removes what sysmgr has put into the run directory. */
  clear(): void {
    try {
      for (const name of listStates(this.rundir, this.sysdir)) {
        const left = this.#removeState(name);
        if (left !== undefined) this.log.warn(left);
      }
      removeFile(ownPidPath(this.rundir));
    } catch (error) {
      // Where it could not be made there is nothing to clear.
      if (isAbsence(error)) return;
      this.log.warn(`${this.rundir}: cannot be cleared: ${reasonOf(error)}`);
    }
  }

  #removeState(name: string): string | undefined {
    try {
      return removeState(this.rundir, name);
    } catch (error) {
      return `${this.rundir}/${name}: cannot be removed: ${reasonOf(error)}`;
    }
  }

  /**
   * A sysmgr that was killed can hold the lock for a moment longer, by a child that has not come to its
   * exec yet. So the lock is tried until it is had, or somebody alive is known to have it.
   */
  #lock(descriptor: number): string | undefined {
    const deadline = monotonicNow() + WINNER_WAIT;
    while (!this.#tryLock(descriptor)) {
      const holder = lockHolder(descriptor);
      if (holder !== undefined && this.#isStranger(holder)) return undefined;
      const pid = this.#recordedPid();
      if (pid !== undefined) return `already running as pid ${pid}`;
      if (monotonicNow() > deadline)
        return holder === undefined
          ? `another sysmgr is running on ${this.rundir}`
          : `already running as pid ${holder}`;
      Bun.sleepSync(WINNER_STEP);
    }
    return undefined;
  }

  /** Everybody who can read the directory can lock it, which must not keep sysmgr from running. */
  #isStranger(holder: number): boolean {
    const owner = processOwner(holder);
    if (owner === undefined || owner === 0 || owner === process.geteuid?.())
      return false;
    this.log.warn(
      `${this.rundir}: is locked by pid ${holder} of user ${owner}, which is ignored`,
    );
    return true;
  }

  #tryLock(descriptor: number): boolean {
    try {
      return lockFile(descriptor);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.log.warn(
        `${this.rundir}: cannot be locked (${error.message}); only its pid file keeps a second sysmgr away`,
      );
      return this.#recordedPid() === undefined;
    }
  }

  /** The pid of a living sysmgr that has written it; a stale file stops nobody. */
  #recordedPid(): number | undefined {
    try {
      const state = readOwnPid(this.rundir);
      if (state.is !== "present" || state.value === process.pid)
        return undefined;
      const verdict = verify(state.value, state.modified);
      return verdict === "other" ? undefined : state.value;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return undefined;
    }
  }
}

/** What lies in a directory that others can change must not be obeyed by root. */
function dangerAsRoot(descriptor: number): string | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const { owner, mode } = statusOf(descriptor);
  if (owner !== 0) return `belongs to user ${owner}, so it is not used as root`;
  const open = (mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0;
  return open
    ? "is writable by everybody, so it is not used as root"
    : undefined;
}

/** The pid of the process that took the lock of a directory (proc(5), /proc/locks); it may have ended. */
function lockHolder(descriptor: number): number | undefined {
  const { inode } = statusOf(descriptor);
  const line = readLocks().find(
    (each) => each.includes("FLOCK") && each.includes(`:${inode} `),
  );
  const pid = Number(line?.trim().split(/\s+/)[4]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

function readLocks(): string[] {
  try {
    return readText("/proc/locks", "latin1").split("\n");
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return [];
  }
}
