/** From the death of a service to its successor's first instruction. */
import { monotonic } from "../clock.ts";
import type { Stage } from "../stage.ts";

/** Nanoseconds for which a service has to have run, so that nobody makes it wait. */
export const LONG_ENOUGH = 1.3e9;
const MILLISECOND = 1e6;
/** Milliseconds between two kills, for a supervisor to finish what it does. */
const PAUSE = 15;

/**
 * Kills services one after the other.
 * @returns nanoseconds from each kill to its successor's exec.
 */
export async function killInTurn(
  stage: Stage,
  services: readonly string[],
  enough: (done: number) => boolean,
): Promise<number[]> {
  const times: number[] = [];
  for (;;)
    for (const service of services) {
      if (enough(times.length)) return times;
      await ripen(stage, service);
      const killed = await stage.killService(service);
      const [mark] = await stage.started([service], killed);
      if (mark) times.push(mark.time - killed);
      await Bun.sleep(PAUSE);
    }
}

/** Waits until a service has run for so long that its end is not a crash. */
export async function ripen(stage: Stage, service: string): Promise<void> {
  const age = monotonic() - (stage.marks.last(service)?.time ?? 0);
  if (age < LONG_ENOUGH) await Bun.sleep((LONG_ENOUGH - age) / MILLISECOND);
}
