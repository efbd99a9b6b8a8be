/**
 * Looks again at what an event was about, once things are quiet: who removes a file may be about to remove
 * its directory, or to make it again, and nothing is set right in the midst of that. The directory's time
 * of change tells whether there was more.
 */
import { errorCode } from "../errors.ts";
import { status } from "../system/files.ts";

/** Milliseconds without a change after which somebody has finished. */
const QUIET = 10;
/** A directory that never is quiet is looked at all the same after so many milliseconds. */
const LONGEST_WAIT = 100;

/** Names that are to be looked at a second time. */
export class SecondLook {
  /** Each with the time of its first event. */
  readonly #names = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param directoryOf the directory whose changes concern a name.
   * @param look is called once for each name, when that directory has been quiet.
   */
  constructor(
    readonly directoryOf: (name: string) => string,
    readonly look: (name: string) => void,
  ) {}

  /** Something happened to a name. */
  note(name: string): void {
    if (!this.#names.has(name)) this.#names.set(name, performance.now());
    this.#timer ??= setTimeout(() => this.#pass(), QUIET);
  }

  #pass(): void {
    this.#timer = undefined;
    for (const [name, since] of [...this.#names]) {
      const patient = performance.now() - since < LONGEST_WAIT;
      if (patient && changedJustNow(this.directoryOf(name))) continue;
      this.#names.delete(name);
      this.look(name);
    }
    if (this.#names.size > 0)
      this.#timer ??= setTimeout(() => this.#pass(), QUIET);
  }
}

function changedJustNow(directory: string): boolean {
  try {
    const found = status(directory);
    // A time in the future is one of before the clock was set back: it says nothing.
    return (
      found !== undefined && Math.abs(Date.now() - found.modifiedAt) < QUIET
    );
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}
