/** How svctl shows services: a line each, or JSON. */
import { describeExit } from "../rundir.ts";
import { duration, printable } from "../text.ts";
import type { View } from "./view.ts";

/** UP: its process runs. WAITING: it runs, but its script still waits for others. */
export type StateWord = "UP" | "DOWN" | "WAITING";

/** The word for a service's state. */
export function stateWord(view: View): StateWord {
  if (view.pid === undefined) return "DOWN";
  return view.waitingFor.length > 0 ? "WAITING" : "UP";
}

/** One line of `svctl status`. */
export function statusLine(
  view: View,
  sysmgrRuns: boolean,
  now: number,
): string {
  return `${printable(view.name)}: ${stateWord(view)} (${details(view, sysmgrRuns, now)})`;
}

/** One element of `svctl --json status`. */
export function statusObject(view: View) {
  return {
    name: view.name,
    state: stateWord(view),
    pid: view.pid ?? null,
    since: view.since === undefined ? null : new Date(view.since).toISOString(),
    locked: view.lock !== undefined,
    exit: view.exit ?? null,
    starts: view.starts,
    waitingFor: [...view.waitingFor],
  };
}

function details(view: View, sysmgrRuns: boolean, now: number): string {
  if (view.pid === undefined) return whyDown(view, sysmgrRuns);
  if (view.waitingFor.length > 0)
    return `for ${view.waitingFor.map((name) => printable(name)).join(", ")}`;
  const stopping = view.lock?.asks === "stop" ? ", stopping" : "";
  return `pid ${view.pid}, ${duration(now - (view.since ?? now))}${stopping}`;
}

function whyDown(view: View, sysmgrRuns: boolean): string {
  const ended = view.exit === undefined ? undefined : describeExit(view.exit);
  if (view.lock?.asks === "once")
    return ended === undefined ? "once" : `once, ${ended}`;
  if (view.recorded && sysmgrRuns) return "stopping";
  if (view.lock !== undefined) return "stopped";
  if (view.entry.is === "absent") return "removed";
  if (view.entry.is === "unusable") return view.entry.why;
  if (!sysmgrRuns) return "sysmgr is not running";
  return ended === undefined ? "starting" : `${ended}, restarting`;
}
