/** Waking up when something changes in the run directory, without looking all the time. */
import { errorCode } from "../errors.ts";
import { stateDirectory } from "../rundir.ts";
import {
  type DirectoryEvent,
  inotify,
  type Watcher,
} from "../system/inotify.ts";

/** Milliseconds between two looks where a directory cannot be watched or is not there yet. */
const POLL_INTERVAL = 90;
/** A directory that was replaced in the same moment gives no event: look once in a while anyway. */
const SAFETY_INTERVAL = 2000;

/** Watches the directories of some services. */
export class Awakening implements Watcher {
  readonly #watches = new Map<string, number>();
  #wake: () => void = () => undefined;
  #pending = false;

  constructor(readonly rundir: string) {}

  /**
   * Waits until something may have changed since the last call, or `longest` milliseconds have passed.
   * @param services whose directories matter.
   * @param quiet whether something matters that gives no event.
   */
  async next(
    services: readonly string[],
    longest: number,
    quiet: boolean,
  ): Promise<void> {
    const complete = this.#watchAll(services) && !quiet;
    const wait = Math.min(longest, complete ? SAFETY_INTERVAL : POLL_INTERVAL);
    if (!this.#pending) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#pending = false;
  }

  close(): void {
    for (const path of [...this.#watches.keys()]) this.#forget(path);
  }

  #watchAll(services: readonly string[]): boolean {
    const wanted = [
      this.rundir,
      ...services.map((name) => stateDirectory(this.rundir, name)),
    ];
    for (const path of [...this.#watches.keys()])
      if (!wanted.includes(path)) this.#forget(path);
    return wanted.filter((path) => !this.#watch(path)).length === 0;
  }

  #watch(path: string): boolean {
    if (this.#watches.has(path)) return true;
    try {
      this.#watches.set(path, inotify.watch(path, this));
      // What happened before the watch was there has not been seen.
      this.#pending = true;
      return true;
    } catch (error) {
      // Not there yet, or no watches left: it is looked at instead.
      if (errorCode(error) === undefined) throw error;
      return false;
    }
  }

  happened(watch: number, event: DirectoryEvent): void {
    const { name, over, appeared, vanished } = event;
    for (const [path, number] of this.#watches)
      if (number === watch && over) this.#watches.delete(path);
    // Another directory may have come in the place of one that is watched: that watch is worth nothing.
    const here = this.#watches.get(this.rundir) === watch;
    if (here && name !== undefined && (appeared || vanished))
      this.#forget(stateDirectory(this.rundir, name));
    this.#pending = true;
    this.#wake();
  }

  #forget(path: string): void {
    const watch = this.#watches.get(path);
    if (watch !== undefined) inotify.unwatch(watch, this);
    this.#watches.delete(path);
  }
}
