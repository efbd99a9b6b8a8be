/**
 * Finds the processes that an earlier sysmgr started on the same run directory and that still run, so
 * that they are taken over instead of being started a second time.
 */
import { errorCode } from "../errors.ts";
import { toMilliseconds } from "../files.ts";
import { hintAt, hintIn, isAlive, stampOf, verify } from "../identity.ts";
import {
  processOwner,
  type ProcessStatus,
  procMounted,
  readArguments,
  readProcess,
  processIds,
  readServiceMark,
  startTime,
} from "../proc.ts";
import {
  readExit,
  readPid,
  readStarts,
  type State,
  stateDirectory,
} from "../rundir.ts";
import { exists } from "../sysdir.ts";
import {
  exists as existsAt,
  readText,
  realPath as resolveLinks,
} from "../system/files.ts";
import { sessionOf } from "../system/processes.ts";

/** A process to take over. */
export interface Found {
  readonly pid: number;
  /** False where nobody can tell whether it is the service's. */
  readonly trusted: boolean;
  /** The main process has ended, but others are left in its group. */
  readonly ended: boolean;
  /** When it was started, in milliseconds since 1970, as far as is known. */
  readonly startedAt: number;
}

/** A process begins within so many milliseconds after its start was counted, on a slow machine, too. */
const LAST_START_MARGIN = 1000;

/** Start times are known to a tick of 10 ms. */
const CLOCK_TICK = 10;

/** Looks for processes of an earlier sysmgr. */
export class Adoption {
  readonly #sysdir: string;
  readonly #rundir: string;
  readonly #marked = new Map<string, ProcessStatus[]>();
  /** The service whose mark a process carries. */
  readonly #owners = new Map<number, string>();
  /** Why not all of /proc could be read. */
  readonly #problem: unknown;

  /** Asks all of /proc once; only what carries a mark is remembered. */
  constructor(sysdir: string, rundir: string) {
    this.#sysdir = sysdir;
    this.#rundir = realPath(rundir);
    try {
      for (const pid of processIds()) this.#note(pid);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#problem = error;
    }
  }

  /**
   * The process of a service that is to be taken over; undefined when there is none.
   * @throws the system's error where that cannot be known, for want of a descriptor or memory.
   */
  find(rundir: string, service: string): Found | undefined {
    if (this.#problem !== undefined) throw this.#problem;
    const state = readPid(rundir, service);
    // Nearly every service of a machine that has just booted.
    if (state.is === "absent" && !this.#marked.has(service)) return undefined;
    if (state.is !== "present") {
      const found = this.#findUnrecorded(rundir, service);
      if (found !== undefined) return found;
      // Garbage still says that something ran; a service that is down has no pid file.
      return state.is === "garbage"
        ? this.#findLeaderless(service)
        : this.#findLeft(rundir, service);
    }
    const { value: pid, modified } = state;
    const startedAt = toMilliseconds(modified);
    if (!procMounted()) return cautious(pid, startedAt);
    const recorded =
      verify(pid, modified) === "same" && !this.#isAnothers(service, pid);
    if (recorded || this.#isMarkedLeader(service, pid))
      return { pid, trusted: true, ended: false, startedAt };
    if (this.#hasOrphans(service, pid, modified))
      return { pid, trusted: true, ended: true, startedAt };
    // The pid file is of a process that has ended, or somebody has overwritten it.
    const found = this.#findUnrecorded(rundir, service);
    if (found !== undefined && this.#wasLastStart(rundir, service, found))
      return found;
    // A stranger's pid says, as garbage does, that something ran, but not in which group.
    return isAlive(pid)
      ? this.#findLeaderless(service)
      : this.#findLeft(rundir, service);
  }

  /**
   * The process of a service whose pid could not be written any more: sysmgr was killed between the
   * start and the writing, or the run directory was not writable. It is recognized by its environment.
   * A service that had ended before is told from it by its exit being newer than its last start.
   */
  #findUnrecorded(rundir: string, service: string): Found | undefined {
    const starts = readStarts(rundir, service);
    const exit = readExit(rundir, service);
    const ended =
      starts.is === "present" &&
      exit.is === "present" &&
      hintIn(exit.modified) !== undefined &&
      exit.modified >= starts.modified;
    const leaders = (this.#marked.get(service) ?? []).filter(
      (status) => status.pid === status.session,
    );
    const oldest = oldestOf(leaders, [starts, exit]);
    if (oldest === undefined)
      return ended ? undefined : this.#findLeaderless(service);
    const startedAt = Math.min(startTime(oldest), Date.now());
    // It ended, as far as is recorded; a later start may have found the run directory full.
    if (ended && !this.#isLater(service, oldest.pid, startedAt, exit.modified))
      return undefined;
    return { pid: oldest.pid, trusted: true, ended: false, startedAt };
  }

  #isLater(
    service: string,
    pid: number,
    startedAt: number,
    exitAt: bigint,
  ): boolean {
    return (
      startedAt > toMilliseconds(exitAt) &&
      wasMadeBy(`${this.#sysdir}/${service}`, pid)
    );
  }

  /** What is left of the process whose end was recorded last, and whose pid file somebody has taken away. */
  #findLeft(rundir: string, service: string): Found | undefined {
    const exit = readExit(rundir, service);
    const hint = exit.is === "present" ? hintIn(exit.modified) : undefined;
    if (hint === undefined) return undefined;
    return this.#findLeaderless(service, (pid) => hintAt(pid) === hint);
  }

  /**
   * What is left of a service whose main process has ended: a session of its own without a leader.
   * @param mayBe says whether the leader may have had a pid.
   */
  #findLeaderless(
    service: string,
    mayBe: (pid: number) => boolean = () => true,
  ): Found | undefined {
    const left = (this.#marked.get(service) ?? []).filter(
      ({ group, session }) =>
        group === session &&
        mayBe(session) &&
        readProcess(session)?.ended !== false,
    );
    const [first] = left;
    // With several, nobody can tell which is the service's own and which a session that it has started.
    if (first === undefined || left.some(({ group }) => group !== first.group))
      return undefined;
    const startedAt = Math.min(startTime(first), Date.now());
    return { pid: first.group, trusted: true, ended: true, startedAt };
  }

  /** Tells the service from what it has started in a session of its own: that came later. */
  #wasLastStart(rundir: string, service: string, found: Found): boolean {
    const starts = readStarts(rundir, service);
    if (starts.is !== "present") return true;
    const counted = toMilliseconds(starts.modified);
    if (found.startedAt <= counted + LAST_START_MARGIN) return true;
    // The run directory may not have been writable when it was started.
    return wasMadeBy(`${this.#sysdir}/${service}`, found.pid);
  }

  #note(pid: number): void {
    const mark = readServiceMark(pid);
    if (mark === undefined || realPath(mark.rundir) !== this.#rundir) return;
    // Anybody can put a mark into an environment: only our own processes are believed.
    if (processOwner(pid) !== process.geteuid?.()) return;
    const status = readProcess(pid);
    if (status === undefined || status.ended) return;
    const others = this.#marked.get(mark.service) ?? [];
    this.#marked.set(mark.service, [...others, status]);
    this.#owners.set(status.pid, mark.service);
  }

  /**
   * The process is another service's, so the pid file that names it is a copy of that one's, or both were
   * exchanged. A service that is not there any more has been renamed, and its files with it.
   */
  #isAnothers(service: string, pid: number): boolean {
    const owner = this.#owners.get(pid);
    if (owner === undefined || owner === service) return false;
    return (
      exists(this.#sysdir, owner) ||
      existsAt(stateDirectory(this.#rundir, owner))
    );
  }

  /** The recorded pid leads a session and carries the service's mark: written without a stamp. */
  #isMarkedLeader(service: string, pid: number): boolean {
    return (this.#marked.get(service) ?? []).some(
      (status) => status.pid === pid && status.session === pid,
    );
  }

  /** The recorded process has ended, and its group has members that carry the service's mark. */
  #hasOrphans(service: string, pid: number, modified: bigint): boolean {
    const leader = readProcess(pid);
    const reused =
      leader !== undefined && modified % 1_000_000n !== stampOf(leader);
    if (reused) return false;
    return (this.#marked.get(service) ?? []).some(
      (status) => status.group === pid,
    );
  }
}

/**
 * Of several that lead a session, the service's own: what it has started in a session of its own is
 * younger. What an earlier process of the service has left behind is older, and was so when the last start
 * was counted, or, should that have failed, when the earlier process ended.
 */
function oldestOf(
  leaders: readonly ProcessStatus[],
  recorded: readonly State<unknown>[],
): ProcessStatus | undefined {
  const sorted = leaders.toSorted((a, b) => a.startTicks - b.startTicks);
  const times = recorded.flatMap((state) =>
    state.is === "present" ? toMilliseconds(state.modified) : [],
  );
  const earliest = Math.max(...times) - CLOCK_TICK;
  return sorted.find((status) => startTime(status) >= earliest) ?? sorted[0];
}

/** Whether a process is a script, or what that script says it becomes by `exec`. */
function wasMadeBy(script: string, pid: number): boolean {
  const given = readArguments(pid);
  if (given === undefined) return false;
  if (given.includes(script)) return true;
  try {
    const text = readText(script, "utf8");
    return given.every((argument) => text.includes(argument));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}

/** Without /proc a living leader of a session is watched but never signalled. */
function cautious(pid: number, startedAt: number): Found | undefined {
  if (!isAlive(pid) || sessionOf(pid) !== pid) return undefined;
  return { pid, trusted: false, ended: false, startedAt };
}

const realPaths = new Map<string, string>();

function realPath(path: string): string {
  let real = realPaths.get(path);
  if (real === undefined) {
    try {
      real = resolveLinks(path);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      real = path;
    }
    realPaths.set(path, real);
  }
  return real;
}
