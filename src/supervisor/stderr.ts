/**
 * Writes log lines to stderr without ever waiting for whoever reads them. The services share stderr and
 * want it blocking, so O_NONBLOCK must not be set on it: a pipe or terminal is opened a second time
 * instead, with a flag of its own. What cannot be written at once is dropped and counted.
 */
import { errorCode } from "../errors.ts";
import { APPEND, open, statusOf, writeSome } from "../system/files.ts";
import { isWritable } from "../system/processes.ts";

const STDERR = 2;
/** A pipe takes this much in one piece or not at all (PIPE_BUF, pipe(7)). */
const LONGEST_LINE = 4096;
/** Milliseconds after which the number of dropped lines is tried to be said, at first and at most. */
const FIRST_RETRY = 5000;
const LONGEST_RETRY = 60_000;

const NEWLINE = 0x0a;
const NOTHING = new Uint8Array(0);
/** How often a write is tried again that was refused although there is room. */
const ATTEMPTS = 3;

/** The log's way out. */
export class StderrLog {
  #descriptor: number;
  /** Where there is no second way to open it, each write is preceded by a look whether it would wait. */
  readonly #look: boolean;
  #dropped = 0;
  /** The end of a line whose beginning is written. */
  #rest: Uint8Array = NOTHING;
  #retryAfter = FIRST_RETRY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly applet: string) {
    const kind = statusOf(STDERR);
    const reopened = kind.isFifo || kind.isCharacterDevice;
    const descriptor = reopened ? reopen() : undefined;
    this.#descriptor = descriptor ?? STDERR;
    this.#look = descriptor === undefined && !kind.isFile;
  }

  /** Writes one line, or drops it. */
  write(line: string): void {
    if (this.#dropped > 0 && !this.#sayDropped()) {
      this.#drop();
      return;
    }
    if (!this.#put(line)) this.#drop();
  }

  #drop(): void {
    this.#dropped += 1;
    this.#retryLater();
  }

  #sayDropped(): boolean {
    const lines = this.#dropped === 1 ? "line" : "lines";
    const text = `${this.applet}: ${this.#dropped} log ${lines} could not be written and ${this.#dropped === 1 ? "was" : "were"} dropped`;
    if (!this.#put(text)) return false;
    this.#dropped = 0;
    this.#retryAfter = FIRST_RETRY;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return true;
  }

  /** A stalled reader may come back when nothing else is to be logged. */
  #retryLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#retryAfter = Math.min(this.#retryAfter * 2, LONGEST_RETRY);
      if (this.#dropped > 0 && !this.#sayDropped()) this.#retryLater();
    }, this.#retryAfter).unref();
  }

  #put(line: string): boolean {
    let bytes = Buffer.from(`${line}\n`);
    if (bytes.length > LONGEST_LINE) {
      bytes = bytes.subarray(0, LONGEST_LINE);
      bytes[LONGEST_LINE - 1] = NEWLINE;
    }
    if (this.#look && !isWritable(STDERR)) return false;
    // A terminal may have had room for half of the line before, which comes to its end first.
    this.#rest = this.#writeSome(this.#rest);
    if (this.#rest.length > 0) return false;
    const left = this.#writeSome(bytes);
    if (left.length === bytes.length) return false;
    this.#rest = left;
    return true;
  }

  /** @returns what there was no room for. */
  #writeSome(bytes: Uint8Array): Uint8Array {
    let left = bytes;
    for (let attempt = 0; left.length > 0 && attempt < ATTEMPTS; attempt++) {
      // A terminal also refuses while somebody else is just writing to it: then there is room.
      if (attempt > 0 && !isWritable(this.#descriptor)) break;
      left = left.subarray(this.#write(left));
    }
    return left;
  }

  #write(bytes: Uint8Array): number {
    try {
      return writeSome(this.#descriptor, bytes);
    } catch (error) {
      // EAGAIN: nobody reads; EPIPE, EIO: nobody will; ENOSPC: the log's disk is full. The count of
      // dropped lines is all that can be done about any of them.
      if (errorCode(error) === undefined) throw error;
      return 0;
    }
  }
}

function reopen(): number | undefined {
  try {
    return open("/proc/self/fd/2", APPEND);
  } catch (error) {
    // No /proc, or stderr belongs to somebody else: then looking before each write has to do.
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}
