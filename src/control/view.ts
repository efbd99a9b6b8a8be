/** What can be seen of one service from outside: its file in SYSDIR and its files in RUNDIR. */
import { toMilliseconds } from "../files.ts";
import { verify } from "../identity.ts";
import { processOwner, readProcess, readServiceMark } from "../proc.ts";
import {
  type Exit,
  type Lock,
  readExit,
  readLock,
  readOwnPid,
  readPid,
  readStarts,
  readWaiting,
  type State,
  understood,
} from "../rundir.ts";
import { type Entry, examine, exists } from "../sysdir.ts";

/** Milliseconds that a start may take, on a slow machine, from being counted to the pid file. */
const START_TAKES = 1000;

/** A service as svctl sees it at one moment. */
export interface View {
  readonly name: string;
  readonly entry: Entry;
  /** There is a pid file: sysmgr has not seen the end of the whole group yet. */
  readonly recorded: boolean;
  /** The main process, which is verified to be the service's and alive. */
  readonly pid: number | undefined;
  /** When it started, in milliseconds since 1970. */
  readonly since: number | undefined;
  readonly lock: Lock | undefined;
  readonly exit: Exit | undefined;
  readonly starts: number;
  /** The process of the last start has ended already. */
  readonly lastStartEnded: boolean;
  /** A start was counted just now, and has not ended. */
  readonly starting: boolean;
  readonly waitingFor: readonly string[];
}

/** Where to look. */
export interface Places {
  readonly sysdir: string;
  readonly rundir: string;
}

/** Looks at a service. @throws the system's error where its state cannot be read. */
export function look(places: Places, name: string): View {
  const { sysdir, rundir } = places;
  const recorded = readPid(rundir, name);
  const pid = runningPid(rundir, name, recorded);
  const starts = readStarts(rundir, name);
  const exit = readExit(rundir, name);
  const lastStartEnded =
    starts.is === "present" &&
    exit.is === "present" &&
    exit.modified > starts.modified;
  return {
    name,
    entry: examine(sysdir, name),
    recorded: recorded.is !== "absent",
    pid,
    since:
      recorded.is === "present" && pid !== undefined
        ? toMilliseconds(recorded.modified)
        : undefined,
    lock: lockOf(readLock(rundir, name).lock),
    exit: understood(exit),
    starts: understood(starts) ?? 0,
    lastStartEnded,
    starting:
      !lastStartEnded &&
      starts.is === "present" &&
      Math.abs(Date.now() - toMilliseconds(starts.modified)) < START_TAKES,
    waitingFor:
      pid === undefined ? [] : (understood(readWaiting(rundir, name)) ?? []),
  };
}

/**
 * Whether a process is another service's, so that the pid file that names it is a copy. Reading that is
 * dear, and matters only before something is done to the process. A service that is not there any more
 * has been renamed.
 */
export function belongsToAnother(
  places: Places,
  name: string,
  pid: number,
): boolean {
  const mark = readServiceMark(pid);
  return (
    mark?.rundir === places.rundir &&
    mark.service !== name &&
    exists(places.sysdir, mark.service)
  );
}

/** The pid of the sysmgr that runs on the run directory; undefined when none does. */
export function runningSysmgr(rundir: string): number | undefined {
  const state = readOwnPid(rundir);
  if (state.is !== "present") return undefined;
  return verify(state.value, state.modified) === "other"
    ? undefined
    : state.value;
}

/** A pid is the service's when its start is the recorded one, or its environment says so. */
function runningPid(
  rundir: string,
  name: string,
  state: State<number>,
): number | undefined {
  if (state.is !== "present") return undefined;
  const { value: pid, modified } = state;
  const verdict = verify(pid, modified);
  if (verdict === "same") return pid;
  // Where nobody can tell, what sysmgr writes is as good as sysmgr itself.
  if (verdict === "unknown")
    return runningSysmgr(rundir) === undefined ? undefined : pid;
  const status = readProcess(pid);
  if (status === undefined || status.ended || status.session !== pid)
    return undefined;
  const mark = readServiceMark(pid);
  // Anybody can put a mark into an environment, so it counts only where sysmgr may have done it.
  if (processOwner(pid) !== processOwner(runningSysmgr(rundir) ?? pid))
    return undefined;
  return mark?.service === name && mark.rundir === rundir ? pid : undefined;
}

/** A lock that makes no sense still holds. */
function lockOf(state: State<Lock>): Lock | undefined {
  if (state.is === "absent") return undefined;
  return state.is === "present" ? state.value : { asks: "nothing" };
}
