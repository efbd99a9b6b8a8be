/** Services that end as soon as they are started, and what the others notice of them. */
import { type Measure, milliseconds, names } from "../bench.ts";
import { monotonic } from "../clock.ts";
import { spent } from "../processes.ts";
import {
  STORM_CPU,
  STORM_RESPAWN,
  STORM_RESPAWN_WORST,
  STORM_STARTS,
} from "../quantities.ts";
import { Stage } from "../stage.ts";
import { killInTurn } from "./respawn.ts";

const CRASHING = 500;
const HEALTHY = 10;
/** All services of a storm. */
export const STORM_SERVICES = CRASHING + HEALTHY;
const SETTLED = 2000;
/** Nanoseconds. */
const WINDOW = 6e9;
const SECOND = 1e9;
const PERCENT = 100;

export const STORM: Measure = {
  name: "storm",
  async measure({ workshop, programs, results }, contender) {
    const healthy = names(HEALTHY);
    const all = [...healthy, ...names(CRASHING, "crash")];
    await using stage = new Stage(workshop, programs, contender, all);
    await stage.startAll();
    await Bun.sleep(SETTLED);
    stage.marks.take();
    const before = stage.activity();
    const began = monotonic();
    const times = await killInTurn(
      stage,
      healthy,
      () => monotonic() - began > WINDOW,
    );
    const took = monotonic() - began;
    const cpu = spent(before, stage.activity()).cpu;
    const starts = stage.marks
      .take()
      .filter(({ service }) => !healthy.includes(service));
    const note = (quantity: typeof STORM_CPU, ...samples: number[]) =>
      results.add(quantity, STORM_SERVICES, contender.name, ...samples);
    note(STORM_STARTS, starts.length / (took / SECOND));
    note(STORM_CPU, (cpu / took) * PERCENT);
    note(STORM_RESPAWN, ...times.map(milliseconds));
    note(STORM_RESPAWN_WORST, ...times.map(milliseconds));
    await stage.stop();
  },
};
