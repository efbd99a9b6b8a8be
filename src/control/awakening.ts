/** Waking up when something changes in the run directory, without looking all the time. */
import { type FSWatcher, watch } from "node:fs";
import { errorCode } from "../errors.ts";
import { stateDirectory } from "../rundir.ts";

/** Milliseconds between two looks where a directory cannot be watched or is not there yet. */
const POLL_INTERVAL = 90;
/** A directory that was replaced in the same moment gives no event: look once in a while anyway. */
const SAFETY_INTERVAL = 2000;
/** Milliseconds after an event in which others may have been dropped. */
const UNREST = 200;

/** Watches the directories of some services. */
export class Awakening {
  readonly #watchers = new Map<string, FSWatcher>();
  #wake: () => void = () => undefined;
  #pending = false;
  #lastEvent = Number.NEGATIVE_INFINITY;

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
    // Of events that come close together some are dropped, so for a while it is looked often.
    const calm = complete && performance.now() - this.#lastEvent > UNREST;
    const wait = Math.min(longest, calm ? SAFETY_INTERVAL : POLL_INTERVAL);
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
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watchAll(services: readonly string[]): boolean {
    const wanted = [
      this.rundir,
      ...services.map((name) => stateDirectory(this.rundir, name)),
    ];
    for (const [path, watcher] of this.#watchers) {
      if (wanted.includes(path)) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
    return wanted.filter((path) => !this.#watch(path)).length === 0;
  }

  #watch(path: string): boolean {
    if (this.#watchers.has(path)) return true;
    try {
      const watcher = watch(path, (_type, name) => this.#event(path, name));
      watcher.on("error", () => this.#forget(path));
      this.#watchers.set(path, watcher);
      // What happened before the watch was there has not been seen.
      this.#pending = true;
      return true;
    } catch (error) {
      // Not there yet, or no watches left: it is looked at instead.
      if (errorCode(error) === undefined) throw error;
      return false;
    }
  }

  #event(path: string, name: string | null | undefined): void {
    // The directory itself has gone, or another may have come in its place: the watch is worth nothing.
    if (!name || path.endsWith(`/${name}`)) this.#forget(path);
    this.#pending = true;
    this.#lastEvent = performance.now();
    this.#wake();
  }

  #forget(path: string): void {
    this.#watchers.get(path)?.close();
    this.#watchers.delete(path);
  }
}
