/** From a new script to its first instruction. */
import { type Measure, milliseconds, names, stageFor } from "../bench.ts";
import { PICKUP } from "../quantities.ts";

const ADDED = 3;
const SETTLED = 1000;

export const PICKUPS: Measure = {
  name: "pickup",
  async measure(bench, contender, services, round) {
    // Who looks once in a while is asked once, at another time of that while in each round.
    const wait = contender.scanInterval ?? 0;
    const added = Math.min(wait > 0 ? 1 : ADDED, services - 1);
    await using stage = stageFor(bench, contender, services - added);
    await stage.startAll();
    await Bun.sleep(SETTLED);
    await Bun.sleep(wait * ((round + 0.5) / bench.rounds));
    for (const service of names(added, "added")) {
      const at = await stage.add(service);
      const [mark] = await stage.started([service], at);
      if (mark === undefined) continue;
      const time = milliseconds(mark.time - at);
      bench.results.add(PICKUP, services, contender.name, time);
    }
    await stage.stop();
  },
};
