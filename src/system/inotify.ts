/** What happens in directories, as the kernel tells it (inotify(7)). One queue serves all of a process. */
import { ptr } from "bun:ffi";
import { attempt, libc, must, pathArgument } from "./library.ts";
import { onInput } from "./sigio.ts";

const MODIFY = 0x2;
const ATTRIB = 0x4;
const CLOSE_WRITE = 0x8;
const MOVED_FROM = 0x40;
const MOVED_TO = 0x80;
const CREATE = 0x100;
const DELETE = 0x200;
const DELETE_SELF = 0x400;
const MOVE_SELF = 0x800;
const UNMOUNT = 0x2000;
const OVERFLOW = 0x4000;
const IGNORED = 0x8000;
const ONLYDIR = 0x0100_0000;
const IS_DIRECTORY = 0x4000_0000;
const WATCHED =
  MODIFY |
  ATTRIB |
  CLOSE_WRITE |
  MOVED_FROM |
  MOVED_TO |
  CREATE |
  DELETE |
  DELETE_SELF |
  MOVE_SELF |
  ONLYDIR;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const FLAGS = O_CLOEXEC | O_NONBLOCK;

const BUFFER_BYTES = 16_384;
const HEADER_BYTES = 16;

/** What happened to a directory or to something in it. */
export interface DirectoryEvent {
  /** Undefined: to the directory itself. */
  readonly name: string | undefined;
  /** A name that is there since; it was not, or was something else. */
  readonly appeared: boolean;
  /** A name that is not there any more. */
  readonly vanished: boolean;
  /** It has been given another name, or has gone to another directory. */
  readonly movedAway: boolean;
  readonly isDirectory: boolean;
  /** The directory is not where it was, or events were lost: nothing more will be told of it. */
  readonly over: boolean;
}

/** Who wants to know. An object for many watches, because there is one for each service. */
export interface Watcher {
  /** @param watch the number that `watch` has returned. */
  happened(watch: number, event: DirectoryEvent): void;
}

/** The queue, made when it is first needed. */
class Inotify {
  readonly #buffer = Buffer.from(new ArrayBuffer(BUFFER_BYTES));
  /** Nearly always there is one watcher for a directory. */
  readonly #watchers = new Map<number, Watcher | readonly Watcher[]>();
  #descriptor: number | undefined;

  /**
   * Watches a directory, not what lies in those that are in it.
   * @returns the number of the watch; the kernel gives the same one for the same directory.
   * @throws SystemError ENOENT, ENOTDIR, ENOSPC (no watches left), EMFILE (no queues left), …
   */
  watch(path: string, watcher: Watcher): number {
    const queue = this.#descriptor ?? this.#open(path);
    this.#descriptor = queue;
    const argument = pathArgument(path);
    const number = must("inotify_add_watch", path, () =>
      libc().inotify_add_watch(queue, argument, WATCHED),
    );
    const others = this.#of(number).filter((each) => each !== watcher);
    const all = others.length === 0 ? watcher : [...others, watcher];
    this.#watchers.set(number, all);
    return number;
  }

  /** Ends a watch, for one of its watchers. */
  unwatch(number: number, watcher: Watcher): void {
    const before = this.#of(number);
    const left = before.filter((each) => each !== watcher);
    if (left.length > 0) this.#watchers.set(number, left);
    if (left.length > 0 || before.length === 0) return;
    this.#watchers.delete(number);
    const queue = this.#descriptor;
    if (queue !== undefined) libc().inotify_rm_watch(queue, number);
  }

  /** Tells all that has happened up to now. */
  drain(): void {
    const address = ptr(this.#buffer);
    while (this.#descriptor !== undefined) {
      const queue = this.#descriptor;
      const length = attempt(() => libc().read(queue, address, BUFFER_BYTES));
      // EAGAIN: it is empty.
      if (length <= 0) return;
      this.#dispatch(length);
    }
  }

  #open(path: string): number {
    const queue = must("inotify_init1", path, () =>
      libc().inotify_init1(FLAGS),
    );
    onInput(queue, () => this.drain());
    return queue;
  }

  #of(number: number): readonly Watcher[] {
    const watchers = this.#watchers.get(number);
    if (watchers === undefined) return [];
    return "happened" in watchers ? [watchers] : watchers;
  }

  /** Each event: number of the watch, mask, cookie, length of the name, name. */
  #dispatch(length: number): void {
    const events: [number, number, string | undefined][] = [];
    const buffer = this.#buffer;
    for (let at = 0; at < length;) {
      const size = buffer.readUInt32LE(at + 12);
      const from = at + HEADER_BYTES;
      const end = buffer.indexOf(0, from);
      const name = size === 0 ? undefined : buffer.toString("utf8", from, end);
      events.push([buffer.readInt32LE(at), buffer.readUInt32LE(at + 4), name]);
      at = from + size;
    }
    for (const [number, mask, name] of events) this.#tell(number, mask, name);
  }

  #tell(number: number, mask: number, name: string | undefined): void {
    if (mask & OVERFLOW) {
      for (const each of [...this.#watchers.keys()]) this.#end(each);
      return;
    }
    if (mask & (IGNORED | UNMOUNT | DELETE_SELF | MOVE_SELF)) {
      this.#end(number);
      return;
    }
    const event: DirectoryEvent = {
      name,
      appeared: (mask & (CREATE | MOVED_TO)) !== 0,
      vanished: (mask & (DELETE | MOVED_FROM)) !== 0,
      movedAway: (mask & MOVED_FROM) !== 0,
      isDirectory: (mask & IS_DIRECTORY) !== 0,
      over: false,
    };
    for (const watcher of this.#of(number)) watcher.happened(number, event);
  }

  /** The watch is worth nothing any more: whoever wants one must make it anew. */
  #end(number: number): void {
    for (const watcher of this.#of(number)) {
      this.unwatch(number, watcher);
      watcher.happened(number, OVER);
    }
  }
}

const OVER: DirectoryEvent = {
  name: undefined,
  appeared: false,
  vanished: false,
  movedAway: false,
  isDirectory: true,
  over: true,
};

/** The process's one queue of events. */
export const inotify = new Inotify();
