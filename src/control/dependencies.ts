/** Which services are up, and whether those that are not wait for each other in a circle. */
import { errorCode } from "../errors.ts";
import { NANOSECONDS_PER_MILLISECOND } from "../files.ts";
import { readArguments } from "../proc.ts";
import { readWaiting, statePath } from "../rundir.ts";
import {
  close,
  open,
  READ,
  readInto,
  setModified,
  status,
  statusOfExisting,
} from "../system/files.ts";
import { look, type Places } from "./view.ts";

/** Scripts are short; what comes after this many bytes is not looked at. */
const SCRIPT_BYTES = 65_536;
/** A script that has run so long (milliseconds) without waiting is not going to. */
const BEGINNING = 2000;
/** Nanoseconds. What sysmgr writes itself is less than the trace past the millisecond. */
const TRACE = 500_000n;

/** What a service is to those that wait for it. */
export type DependencyState = "up" | "down" | "beginning";

/**
 * Whether a service is up: its process runs, it is not locked down, and its own script does not wait in
 * sysmgr-depends. `beginning` is a script that has only just been started and has not come to its
 * sysmgr-depends yet, as far as can be told.
 */
export function dependencyState(places: Places, name: string): DependencyState {
  const view = look(places, name);
  if (view.pid === undefined || view.since === undefined) return "down";
  if (view.lock?.asks === "stop" || view.waitingFor.length > 0) return "down";
  const path = `${places.sysdir}/${name}`;
  const past =
    Date.now() - view.since > BEGINNING ||
    hasPassed(places, name) ||
    !mentionsDepends(path) ||
    !stillRuns(view.pid, path);
  return past ? "up" : "beginning";
}

/**
 * Leaves a trace that a script has come past its sysmgr-depends: half a millisecond more in the time of change
 * of `starts`, which is written before each start and goes on to tell when that was.
 * @throws the system's error.
 */
export function leaveTrace(rundir: string, service: string): void {
  const path = statePath(rundir, service, "starts");
  const { modified } = statusOfExisting(path);
  setModified(
    path,
    modified - (modified % NANOSECONDS_PER_MILLISECOND) + TRACE,
  );
}

function hasPassed(places: Places, name: string): boolean {
  const found = status(statePath(places.rundir, name, "starts"));
  return (
    found !== undefined && found.modified % NANOSECONDS_PER_MILLISECOND >= TRACE
  );
}

function mentionsDepends(path: string): boolean {
  try {
    const file = open(path, READ);
    try {
      const text = Buffer.from(new ArrayBuffer(SCRIPT_BYTES));
      const length = readInto(file, text, SCRIPT_BYTES);
      return text.subarray(0, length).includes("sysmgr-depends");
    } finally {
      close(file);
    }
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}

/** Whether a process still is the script, and has not become the server by `exec`. */
function stillRuns(pid: number, path: string): boolean {
  const given = readArguments(pid);
  return given === undefined || given.includes(path);
}

/**
 * Finds the circle that a waiting service is in: it waits for one that waits … for it.
 * @returns the members in order, beginning and ending with the service; undefined when there is none.
 */
export function findCircle(
  rundir: string,
  service: string,
  waitsFor: readonly string[],
): string[] | undefined {
  const seen = new Set<string>();
  const follow = (
    names: readonly string[],
    path: string[],
  ): string[] | undefined => {
    for (const name of names) {
      if (name === service) return [...path, name];
      if (seen.has(name)) continue;
      seen.add(name);
      const circle = follow(waitingOf(rundir, name), [...path, name]);
      if (circle !== undefined) return circle;
    }
    return undefined;
  };
  return follow(waitsFor, [service]);
}

/** All services that somebody in the chain waits for, itself included. */
export function reachable(rundir: string, names: readonly string[]): string[] {
  const found = new Set<string>();
  const pending = [...names];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    pending.push(...waitingOf(rundir, name));
  }
  return [...found];
}

function waitingOf(rundir: string, name: string): readonly string[] {
  const state = readWaiting(rundir, name);
  return state.is === "present" ? state.value : [];
}
