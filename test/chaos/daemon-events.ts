/** What happens to sysmgr: above all its death, at the worst moments. */
import { unlinkSync } from "node:fs";
import type { Happening, Lap } from "./lap.ts";
import type { Random } from "./random.ts";
import { attempt, changedAt, spin } from "./system.ts";

/** The longest that the processor is kept busy to hit a moment, in milliseconds. */
const LONGEST_SPIN = 30;

export const DAEMON_EVENTS: readonly Happening[] = [
  { name: "kill-sysmgr", weight: 4, happen: kill },
  { name: "kill-sysmgr-burst", weight: 3, happen: burst },
  { name: "kill-sysmgr-at-ends", weight: 5, happen: killAtEnds },
  { name: "kill-sysmgr-at-start", weight: 5, happen: killAtStart },
  { name: "upgrade-sysmgr", weight: 3, happen: upgrade },
  { name: "rescan-sysmgr", weight: 3, happen: rescan },
  { name: "freeze-sysmgr", weight: 3, happen: freeze },
];

function kill(lap: Lap, random: Random): void {
  spin(random.between(0, 1));
  killNow(lap, "kill-sysmgr");
}

/** Several deaths, each while the next sysmgr is just beginning. */
async function burst(lap: Lap, random: Random): Promise<void> {
  lap.respawner.hasty = true;
  for (let left = random.integer(2, 5); left > 0; left--) {
    killNow(lap, "kill-sysmgr-burst");
    await Bun.sleep(random.between(0, 80));
    spin(random.between(0, 1));
  }
  lap.respawner.hasty = false;
}

/** Just when services are being started again because they have ended. */
function killAtEnds(lap: Lap, random: Random): void {
  for (const { name } of random.some(lap.victims, random.integer(1, 6))) {
    const leader = lap.arena.leader(name);
    if (leader === undefined) continue;
    lap.arena.note("kill-service", name, `pid ${leader.pid}`);
    lap.arena.harm(name);
    attempt(() => process.kill(leader.pid, "SIGKILL"));
  }
  spin(random.between(0, 6));
  killNow(lap, "kill-sysmgr-at-ends");
}

/** Just when a service whose lock has been removed is being started. */
function killAtStart(lap: Lap, random: Random): void {
  const { arena } = lap;
  const stopped = lap.victims.filter(
    ({ name }) =>
      changedAt(arena.state(name, "lock")) !== undefined &&
      changedAt(arena.state(name, "pid")) === undefined,
  );
  if (stopped.length === 0) return;
  const { name } = random.pick(stopped);
  const before = changedAt(arena.state(name, "starts"));
  arena.note("remove-lock", name);
  attempt(() => unlinkSync(arena.state(name, "lock")));
  const deadline = performance.now() + LONGEST_SPIN;
  while (performance.now() < deadline)
    if (changedAt(arena.state(name, "starts")) !== before) break;
  spin(random.between(0, 2));
  killNow(lap, "kill-sysmgr-at-start");
}

function killNow({ arena, respawner }: Lap, kind: string): void {
  const pid = respawner.pid;
  if (respawner.signal("SIGKILL")) arena.note(kind, undefined, `pid ${pid}`);
}

function upgrade({ arena, respawner }: Lap): void {
  if (respawner.signal("SIGUSR2")) arena.note("upgrade-sysmgr", undefined);
}

function rescan({ arena, respawner }: Lap): void {
  if (respawner.signal("SIGUSR1")) arena.note("rescan-sysmgr", undefined);
}

async function freeze(lap: Lap, random: Random): Promise<void> {
  const { arena, respawner } = lap;
  const length = random.between(100, 2000);
  const { pid } = respawner;
  if (!respawner.signal("SIGSTOP")) return;
  arena.note("freeze-sysmgr", undefined, `${Math.round(length)} ms`);
  await Bun.sleep(length);
  arena.journal(undefined, "continue sysmgr");
  if (respawner.pid === pid) respawner.signal("SIGCONT");
}
