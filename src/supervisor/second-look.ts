/**
 * Looks again at what an event was about, once things are quiet: who removes a file may be about to remove
 * its directory, or to make it again, and nothing is set right in the midst of that. The directory's time
 * of change tells whether there was more.
 */
import { monotonicNow } from "../clock.ts";
import { errorCode } from "../errors.ts";
import { status } from "../system/files.ts";

/** Milliseconds without a change after which somebody has finished, in most cases. */
export const QUIET = 10;
/** A directory that never is quiet is looked at all the same after so many milliseconds. */
const LONGEST_WAIT = 60;

/** Names that are to be looked at a second time. */
export class SecondLook {
  /** Each with the time of its first event. */
  readonly #names = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param quiet milliseconds without a change after which somebody has finished.
   * @param directoryOf the directory whose changes concern a name.
   * @param look is called once for each name, when that directory has been quiet.
   */
  constructor(
    readonly quiet: number,
    readonly directoryOf: (name: string) => string,
    readonly look: (name: string) => void,
  ) {}

  /** Something happened to a name. */
  note(name: string): void {
    if (!this.#names.has(name)) this.#names.set(name, monotonicNow());
    this.#timer ??= setTimeout(() => this.#pass(), this.quiet);
  }

  /** Whether a name is still to be looked at. */
  isPending(name: string): boolean {
    return this.#names.has(name);
  }

  #pass(): void {
    this.#timer = undefined;
    for (const [name, since] of [...this.#names]) {
      const patient = monotonicNow() - since < LONGEST_WAIT;
      if (patient && this.#isBusy(this.directoryOf(name))) continue;
      this.#names.delete(name);
      this.look(name);
    }
    if (this.#names.size > 0)
      this.#timer ??= setTimeout(() => this.#pass(), this.quiet);
  }

  #isBusy(directory: string): boolean {
    try {
      const found = status(directory);
      if (found === undefined) return false;
      // A time in the future is one of before the clock was set back: it says nothing.
      return Math.abs(Date.now() - found.modifiedAt) < this.quiet;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return false;
    }
  }
}
