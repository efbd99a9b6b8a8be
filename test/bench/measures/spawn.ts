/** What a bare Bun.spawn costs, from the call to the first instruction of the program. */
import { copyFileSync } from "node:fs";
import { type JointMeasure, milliseconds } from "../bench.ts";
import { monotonic } from "../clock.ts";
import { Marks } from "../marks.ts";

const RUNS_PER_ROUND = 50;
const PATIENCE = 10_000;
const PAUSE = 5;

export const SPAWN: JointMeasure = {
  name: "spawn",
  async measure({ workshop, programs, shortPrograms, rounds }) {
    const directory = workshop.directory();
    const actor = `${directory}/actor`;
    copyFileSync(programs.actor, actor);
    using marks = new Marks(`${directory}/marks`);
    for (let run = 0; run < RUNS_PER_ROUND * rounds; run++) {
      const began = monotonic();
      const child = Bun.spawn([actor, "spawned"], {
        detached: true,
        stdio: ["ignore", "inherit", "inherit"],
      });
      try {
        const [mark] = await marks.started(["spawned"], began, PATIENCE);
        if (mark === undefined) continue;
        const took = milliseconds(mark.time - began);
        shortPrograms.add("Bun.spawn to exec, in a plain script", took, 0);
      } finally {
        child.kill("SIGKILL");
        await child.exited;
      }
      await Bun.sleep(PAUSE);
    }
  },
};
