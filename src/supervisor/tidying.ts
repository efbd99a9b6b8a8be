/**
 * Gives memory back when a burst of work is over. The engine's own timers for that are off (static-link/shim.c),
 * as they would wake the program for ever; here the last wake-up comes soon after the last event.
 */

/** What was done since memory was last given back, in events, to make it worth while. */
export const BURST = 200;
/** Milliseconds without an event after which a burst is over. */
export const QUIET_AFTER_BURST = 250;
/** Milliseconds after which code that has not run since the first collection is old enough to go. */
export const AGE_OF_CODE = 50;

/** Counts events, and tidies up in the quiet after many. */
export class Tidying {
  /** The start of the program is a burst of its own. */
  #events = BURST;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param collect collects garbage, and marks or drops code that does not run.
   * @param release gives the system what is free then.
   */
  constructor(
    readonly collect: () => void,
    readonly release: () => void,
  ) {}

  /** Something was done. */
  note(): void {
    this.#events += 1;
    if (this.#events >= BURST && this.#timer === undefined) this.#begin();
  }

  #begin(): void {
    this.#afterQuiet(QUIET_AFTER_BURST, () => {
      this.collect();
      this.#afterQuiet(AGE_OF_CODE, () => {
        this.collect();
        this.release();
        this.#events = 0;
      });
    });
  }

  /** Begins again when something was done meanwhile. */
  #afterQuiet(wait: number, work: () => void): void {
    const seen = this.#events;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#events === seen) work();
      else this.#begin();
    }, wait);
  }
}
