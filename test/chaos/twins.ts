/** Looks all the time whether a service runs twice, which need not be seen any more at the end of a lap. */
import type { Happening, Lap } from "./lap.ts";
import { allProcesses, type Marked, markedProcess } from "./system.ts";

export const TWIN_WATCH: readonly Happening[] = [
  { name: "look", weight: 1, happen: look },
];

function look({ arena }: Lap): void {
  const leaders = new Map<string, Marked>();
  for (const { pid, session } of allProcesses()) {
    if (pid !== session) continue;
    const one = markedProcess(pid, arena.rundir);
    if (one === undefined) continue;
    const other = leaders.get(one.service);
    leaders.set(one.service, one);
    // The other one was seen first; if it still lives, both have lived at the same time.
    if (other === undefined || !lives(other, arena.rundir)) continue;
    const text = `ran twice at the same time, as ${other.pid} and ${one.pid}`;
    arena.journal(one.service, text);
    arena.incident(one.service, text);
  }
}

function lives({ pid, start }: Marked, rundir: string): boolean {
  return markedProcess(pid, rundir)?.start === start;
}
