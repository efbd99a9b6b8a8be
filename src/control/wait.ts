/** Waiting for conditions, many side by side, with one timer. */
import { monotonicNow } from "../clock.ts";

/** Milliseconds between two looks: short at first, because most things happen at once. */
const SHORTEST_LOOK = 1;
const LONGEST_LOOK = 20;
const GROWTH = 1.3;
/** Looking at a thousand services takes its time, which sysmgr and they need, too: it is a fraction of the waiting. */
const REST = 4;

let interval = SHORTEST_LOOK;
/** How long all the looks took the last time. */
let looking = 0;
let tick: Promise<void> | undefined;

/**
 * Waits until a condition holds.
 * @param deadline on monotonicNow(), in milliseconds.
 * @returns false when the deadline came first.
 */
export async function until(
  condition: () => boolean,
  deadline: number,
): Promise<boolean> {
  for (;;) {
    if (condition()) return true;
    if (monotonicNow() >= deadline) return false;
    await nextTick();
  }
}

function nextTick(): Promise<void> {
  tick ??= new Promise((resolve) => {
    setTimeout(
      () => {
        tick = undefined;
        interval = Math.min(interval * GROWTH, LONGEST_LOOK);
        resolve();
        const began = monotonicNow();
        setImmediate(() => (looking = monotonicNow() - began));
      },
      Math.max(interval, REST * looking),
    );
  });
  return tick;
}
