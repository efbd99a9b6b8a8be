/** One life of a supervisor: start, memory, deaths of services, control, stop. */
import { type Bench, type Measure, milliseconds, stageFor } from "../bench.ts";
import type { Contender } from "../contenders/contender.ts";
import {
  PAGE_TABLES,
  PRIVATE,
  PROCESSES,
  PROPORTIONAL,
  RESIDENT,
  RESPAWN,
  RESPAWN_WORST,
  RESTART_ALL,
  RESTART_ALL_RETURNS,
  RESTART_ONE,
  START,
  STATUS_ALL,
  STOP,
} from "../quantities.ts";
import type { Quantity } from "../results.ts";
import type { Stage } from "../stage.ts";
import { killInTurn, LONG_ENOUGH, ripen } from "./respawn.ts";

/** Milliseconds after everything is up. */
const SETTLED = 1500;
const MEGABYTE = 1e6;
const MOST_KILLS = 100;
const KILLS_PER_SERVICE = 3;
const STATUS_RUNS = 5;
const RESTARTS = 3;

type Note = (quantity: Quantity, ...samples: readonly number[]) => void;
type Act = (stage: Stage, note: Note) => Promise<void>;

/** The names of what can be measured in one life; the first one always is. */
export const LIFE_PARTS = ["life", "respawn", "control"] as const;

/** A life with those of its parts that are wanted. */
export function lifeWith(wanted: readonly string[]): Measure {
  return {
    name: "life",
    measure: (bench, contender, services) =>
      live(bench, contender, services, async (stage, note) => {
        if (wanted.includes("respawn")) await respawns(stage, note);
        if (wanted.includes("control")) await control(stage, note);
      }),
  };
}

async function live(
  bench: Bench,
  contender: Contender,
  services: number,
  act: Act,
): Promise<void> {
  const note: Note = (quantity, ...samples) =>
    bench.results.add(quantity, services, contender.name, ...samples);
  await using stage = stageFor(bench, contender, services);
  note(START, milliseconds(await stage.startAll()));
  await Bun.sleep(SETTLED);
  const memory = stage.memory();
  note(PROCESSES, stage.supervisors().length);
  note(PRIVATE, memory.private / MEGABYTE);
  note(PROPORTIONAL, memory.proportional / MEGABYTE);
  note(RESIDENT, memory.resident / MEGABYTE);
  note(PAGE_TABLES, memory.pageTables / MEGABYTE);
  try {
    await act(stage, note);
  } finally {
    // Some take the end of what was just started for a crash and wait.
    await Bun.sleep(milliseconds(LONG_ENOUGH));
    note(STOP, milliseconds(await stage.stop()));
  }
}

async function respawns(stage: Stage, note: Note): Promise<void> {
  const { services } = stage;
  const most = Math.min(MOST_KILLS, services.length * KILLS_PER_SERVICE);
  const times = await killInTurn(stage, services, (done) => done >= most);
  note(RESPAWN, ...times.map(milliseconds));
  note(RESPAWN_WORST, ...times.map(milliseconds));
}

async function control(stage: Stage, note: Note): Promise<void> {
  const { services } = stage;
  const { status, restart } = stage.usage;
  if (!status || !restart) return;
  for (let round = 0; round < STATUS_RUNS; round++) {
    const { from, to } = await stage.run(status(services));
    note(STATUS_ALL, milliseconds(to - from));
  }
  const ones = Array.from({ length: RESTARTS }, (_, index) => index);
  for (const service of ones.flatMap(
    (index) => services.at(-1 - index) ?? [],
  )) {
    await ripen(stage, service);
    const { from, to } = await stage.run(restart([service]));
    await stage.started([service], from);
    note(RESTART_ONE, milliseconds(to - from));
  }
  await Bun.sleep(milliseconds(LONG_ENOUGH));
  const { from, to } = await stage.run(restart(services));
  const marks = await stage.started(services, from);
  const last = Math.max(...marks.map(({ time }) => time));
  note(RESTART_ALL, milliseconds(last - from));
  note(RESTART_ALL_RETURNS, milliseconds(to - from));
}
