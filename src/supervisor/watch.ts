/**
 * Learns of changes in a directory by inotify, through fs.watch, whose hazards are dealt with here: a
 * watch follows the directory's inode and not its name; a second watch on the same name is dead while
 * the first is open; a null name means that events were lost; watches may not be to be had at all.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { errorCode, reasonOf } from "../errors.ts";

/** What a watch tells. */
export interface Listener {
  /** Something happened to this name, or (undefined) to any. Names below are `directory/name`. */
  changed(name: string | undefined): void;
  /** The directory is not there any more, is another one than before, or is there again. */
  replaced(present: boolean): void;
  /** Watching does not work, so changes are looked for now and then instead. */
  degraded(reason: string): void;
}

/** Milliseconds between two looks for a directory that has gone, or that cannot be watched. */
const POLL_INTERVAL = 1000;

/** A watched directory. */
export class DirectoryWatch {
  #watcher: FSWatcher | undefined;
  #identity: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #degraded = false;
  #closed = false;

  constructor(
    readonly path: string,
    readonly recursive: boolean,
    readonly listener: Listener,
  ) {}

  /** Begins to watch; does not call `changed` for what is there already. */
  open(): void {
    this.#identity = identityOf(this.path);
    this.#watch();
  }

  /**
   * Makes sure that the directory of that name is the one being watched. Cheap, so that it can be done
   * at every occasion: a file system mounted over the directory gives no event.
   * @param doubtful the watch may be dead, whatever the directory looks like.
   */
  check(doubtful = false): void {
    const identity = identityOf(this.path);
    const replaced = identity !== this.#identity;
    if (!replaced && !doubtful && this.#watcher !== undefined) return;
    this.#identity = identity;
    this.#watch();
    if (replaced) this.listener.replaced(identity !== undefined);
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #watch(): void {
    this.#stop();
    if (this.#closed) return;
    if (this.#identity === undefined) {
      this.#lookAgain();
      return;
    }
    try {
      const watcher = watch(
        this.path,
        { recursive: this.recursive, persistent: true },
        (type, name) => this.#event(watcher, type, name),
      );
      watcher.on("error", (error) => this.#failed(error));
      this.#watcher = watcher;
      if (identityOf(this.path) !== this.#identity) this.check();
    } catch (error) {
      this.#failed(error);
    }
  }

  #event(
    watcher: FSWatcher,
    type: string,
    name: string | null | undefined,
  ): void {
    if (watcher !== this.#watcher) return;
    // A recursive watch that cannot be had fails only later: it works once it has told something.
    this.#degraded = false;
    const lost = name === null || name === undefined;
    // Events were lost, or the directory itself was moved or removed.
    if (lost || (type === "rename" && name === ownName(this.path))) {
      this.#stop();
      // Bun shares watches by name, and one that is opened in the callback of another on the same name
      // gets that one's dead inode.
      setImmediate(() => {
        this.check(true);
        this.listener.changed(undefined);
      });
    } else {
      this.listener.changed(name);
    }
  }

  #failed(error: unknown): void {
    this.#stop();
    if (errorCode(error) !== "ENOENT" && !this.#degraded) {
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
      this.check();
      if (degraded) this.listener.changed(undefined);
    }, POLL_INTERVAL);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}

function ownName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * What tells a directory from any other, also from one that was made in its place and got its inode;
 * undefined when there is none, or it cannot be told.
 */
function identityOf(path: string): string | undefined {
  try {
    const status = statSync(path, { bigint: true, throwIfNoEntry: false });
    return status?.isDirectory()
      ? `${status.dev}:${status.ino}:${status.birthtimeNs}`
      : undefined;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}
