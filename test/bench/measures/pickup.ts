/** From a new script to its first instruction. */
import { type Measure, milliseconds, names, stageFor } from "../bench.ts";
import { PICKUP } from "../quantities.ts";

const ADDED = 2;
const SETTLED = 1000;

export const PICKUPS: Measure = {
  name: "pickup",
  async measure(bench, contender, services, round) {
    const added = Math.min(ADDED, services - 1);
    await using stage = stageFor(bench, contender, services - added);
    await stage.startAll();
    await Bun.sleep(SETTLED);
    for (const [index, service] of names(added, "added").entries()) {
      // Who looks once in a while is asked at different times of that while.
      const phase =
        ((index + (round % bench.rounds) / bench.rounds) / added) % 1;
      await Bun.sleep(phase * (contender.scanInterval ?? 0));
      const at = await stage.add(service);
      const [mark] = await stage.started([service], at);
      if (mark === undefined) continue;
      const time = milliseconds(mark.time - at);
      bench.results.add(PICKUP, services, contender.name, time);
    }
    await stage.stop();
  },
};
