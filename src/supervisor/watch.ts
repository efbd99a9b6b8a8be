/**
 * Learns of changes in a directory, and of its going and coming: a watch follows the directory's inode
 * and not its name, events may be lost when there are too many, and watches may not be to be had at all.
 */
import { errorCode, reasonOf } from "../errors.ts";
import { directoryIdentity, isAbsence } from "../files.ts";
import { list } from "../system/files.ts";
import {
  type DirectoryEvent,
  inotify,
  type Watcher,
} from "../system/inotify.ts";

/** What a watch tells. */
export interface Listener {
  /**
   * Something happened to this name, or (undefined) to any. Names below are `directory/name`.
   * @param movedAway it is not there any more, and has not been removed.
   */
  changed(name: string | undefined, movedAway: boolean): void;
  /** The directory is not there any more, is another one than before, or is there again. */
  replaced(present: boolean): void;
  /** Watching does not work, so changes are looked for now and then instead. */
  degraded(reason: string): void;
}

/** Milliseconds between two looks for a directory that has gone, or that cannot be watched. */
const POLL_INTERVAL = 1000;

/** A watched directory. */
export class DirectoryWatch implements Watcher {
  #watch: number | undefined;
  /** The directories in it, by the numbers of their watches and by name. */
  readonly #names = new Map<number, string>();
  readonly #below = new Map<string, number>();
  #identity: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #degraded = false;
  #closed = false;

  /** @param deep the directories in it are watched, too, but none below these. */
  constructor(
    readonly path: string,
    readonly deep: boolean,
    readonly listener: Listener,
  ) {}

  /** Begins to watch; does not call `changed` for what is there already. */
  open(): void {
    this.#identity = directoryIdentity(this.path);
    this.#begin();
  }

  /**
   * Makes sure that the directory of that name is the one being watched. Cheap, so that it can be done
   * at every occasion: a file system mounted over the directory gives no event.
   */
  check(): void {
    // What cannot be watched is tried once a second, not at every occasion, and is looked at then.
    this.#check(this.#watch === undefined && !this.#degraded);
  }

  /** Whether the kernel tells of every change, but for those behind links and in other mounts. */
  get isComplete(): boolean {
    return this.#watch !== undefined && !this.#degraded;
  }

  #check(again: boolean): void {
    if (this.#closed) return;
    const identity = directoryIdentity(this.path);
    const replaced = identity !== this.#identity;
    if (!replaced && !again) return;
    this.#identity = identity;
    this.#begin();
    if (replaced) this.listener.replaced(identity !== undefined);
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #begin(): void {
    this.#stop();
    if (this.#closed) return;
    if (this.#identity === undefined) {
      this.#lookAgain();
      return;
    }
    try {
      this.#watch = inotify.watch(this.path, this);
      if (this.deep)
        for (const { name, is } of list(this.path))
          if (is !== "other") this.#beginBelow(name, false);
      this.#degraded = false;
      if (directoryIdentity(this.path) !== this.#identity) this.check();
    } catch (error) {
      this.#failed(error);
    }
  }

  happened(watch: number, event: DirectoryEvent): void {
    const directory = this.#names.get(watch);
    if (directory !== undefined) this.#happenedBelow(directory, event);
    if (watch === this.#watch) this.#happenedHere(event);
  }

  #happenedBelow(directory: string, event: DirectoryEvent): void {
    const { name, movedAway, over } = event;
    if (over) this.#endBelow(directory);
    const file = name === undefined ? "" : `/${name}`;
    this.listener.changed(`${directory}${file}`, movedAway);
  }

  #happenedHere(event: DirectoryEvent): void {
    const { name, appeared, vanished, isDirectory, over } = event;
    if (over) {
      this.#stop();
      this.check();
      this.listener.changed(undefined, false);
      return;
    }
    if (this.deep && name !== undefined && isDirectory) {
      if (appeared || vanished) this.#endBelow(name);
      // One that could not be looked into may be one that can by now.
      const unwatched = !vanished && !this.#below.has(name);
      if (unwatched) this.#guard(() => this.#beginBelow(name, true));
    }
    this.listener.changed(name, event.movedAway);
  }

  /**
   * @param tell says what was put into it before it was watched.
   * @throws SystemError when there are no watches left.
   */
  #beginBelow(name: string, tell: boolean): void {
    const path = `${this.path}/${name}`;
    try {
      const watch = inotify.watch(path, this);
      this.#below.set(name, watch);
      this.#names.set(watch, name);
      if (!tell) return;
      for (const entry of list(path))
        this.listener.changed(`${name}/${entry.name}`, false);
    } catch (error) {
      // It has gone again, or it is none, or nobody may look into it.
      if (!isAbsence(error) && errorCode(error) !== "EACCES") throw error;
    }
  }

  #endBelow(name: string): void {
    const watch = this.#below.get(name);
    if (watch === undefined) return;
    inotify.unwatch(watch, this);
    this.#below.delete(name);
    this.#names.delete(watch);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (errorCode(error) === undefined) throw error;
    this.#stop();
    if (!isAbsence(error) && !this.#degraded) {
      this.#degraded = true;
      this.listener.degraded(reasonOf(error));
    }
    this.#lookAgain();
  }

  #lookAgain(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const degraded = this.#degraded;
      this.#check(true);
      if (degraded) this.listener.changed(undefined, false);
    }, POLL_INTERVAL);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const name of [...this.#below.keys()]) this.#endBelow(name);
    if (this.#watch !== undefined) inotify.unwatch(this.#watch, this);
    this.#watch = undefined;
  }
}
