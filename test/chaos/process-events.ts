/** What happens to the processes of services. */
import type { Happening, Lap } from "./lap.ts";
import type { Random } from "./random.ts";
import { attempt, markedProcess } from "./system.ts";

export const PROCESS_EVENTS: readonly Happening[] = [
  { name: "kill-service", weight: 3, happen: killing("SIGKILL") },
  { name: "end-service", weight: 3, happen: killing("SIGTERM") },
  { name: "kill-group", weight: 1, happen: killGroup },
  { name: "freeze-service", weight: 3, happen: freeze },
];

function killing(signal: "SIGKILL" | "SIGTERM"): Happening["happen"] {
  const kind = signal === "SIGKILL" ? "kill-service" : "end-service";
  return ({ arena, victims }, random) => {
    const { name } = random.pick(victims);
    const leader = arena.leader(name);
    if (leader === undefined) return;
    arena.note(kind, name, `pid ${leader.pid}`);
    arena.harm(name);
    attempt(() => process.kill(leader.pid, signal));
  };
}

function killGroup({ arena, victims }: Lap, random: Random): void {
  const { name } = random.pick(victims);
  const leader = arena.leader(name);
  if (leader === undefined) return;
  arena.note("kill-group", name, `pid ${leader.pid}`);
  arena.harm(name);
  attempt(() => process.kill(-leader.pid, "SIGKILL"));
}

/** A process that is stopped for a while has not ended, so this may happen to any. */
function freeze(lap: Lap, random: Random): void {
  const { arena } = lap;
  const { name } = random.pick(lap.plans);
  const leader = arena.leader(name);
  if (leader === undefined) return;
  const length = random.between(10, 600);
  arena.note(
    "freeze-service",
    name,
    `pid ${leader.pid}, ${Math.round(length)} ms`,
  );
  attempt(() => process.kill(leader.pid, "SIGSTOP"));
  lap.later(length, () => {
    const now = markedProcess(leader.pid, arena.rundir);
    if (now?.start !== leader.start) return;
    arena.journal(name, `continue pid ${leader.pid}`);
    attempt(() => process.kill(leader.pid, "SIGCONT"));
  });
}
