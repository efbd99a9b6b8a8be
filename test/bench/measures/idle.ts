/** What a supervisor does when there is nothing to do. All are watched at the same time. */
import {
  type Bench,
  type JointMeasure,
  milliseconds,
  stageFor,
} from "../bench.ts";
import type { Contender } from "../contenders/contender.ts";
import { spent } from "../processes.ts";
import { EARLY_CPU, EARLY_WAKES, LATE_CPU, LATE_WAKES } from "../quantities.ts";
import type { Stage } from "../stage.ts";

/** Milliseconds after everything is up. */
const SETTLED = 1000;
const MINUTE = 60_000;

export const IDLE: JointMeasure = {
  name: "idle",
  async measure(bench) {
    const watches: Promise<void>[] = [];
    await using open = new AsyncDisposableStack();
    for (const services of bench.services)
      for (const contender of bench.contenders) {
        if (services > (contender.most ?? Number.POSITIVE_INFINITY)) continue;
        const stage = open.use(stageFor(bench, contender, services));
        bench.progress(`idle: ${services} services under ${contender.name}`);
        await stage.startAll();
        watches.push(watch(bench, contender, services, stage));
      }
    bench.progress("idle: two minutes of silence");
    await Promise.all(watches);
  },
};

async function watch(
  { results }: Bench,
  { name }: Contender,
  services: number,
  stage: Stage,
): Promise<void> {
  await Bun.sleep(SETTLED);
  let before = stage.activity();
  for (const [wakes, cpu] of [
    [EARLY_WAKES, EARLY_CPU],
    [LATE_WAKES, LATE_CPU],
  ] as const) {
    await Bun.sleep(MINUTE);
    const after = stage.activity();
    const used = spent(before, after);
    results.add(wakes, services, name, used.switches);
    results.add(cpu, services, name, milliseconds(used.cpu));
    before = after;
  }
}
