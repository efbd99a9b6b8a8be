/**
 * Waiting for descriptors that no signal can tell of, such as those that stand for processes: the kernel
 * waits for them (io_uring(7)), then writes a byte into a pipe, of which a signal tells.
 */
import { ptr, toArrayBuffer } from "bun:ffi";
import { SystemError } from "./error.ts";
import { close } from "./files.ts";
import { attempt, libc, must } from "./library.ts";
import { onInput } from "./sigio.ts";

// The same on every machine.
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const GET_EVENTS = 1;
const OP_POLL_ADD = 6;
const OP_WRITE = 23;
/** The next request begins when this one has succeeded (IOSQE_IO_LINK). */
const LINK = 4;
const POLLIN = 1;
const OVERFLOWN = 2;
/** One memory for both queues, no completion is dropped, and, with POLL_32BITS, a kernel that can do all this (5.9). */
const NEEDED_FEATURES = 0x1 | 0x2 | 0x40;

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const REQUESTS_OFFSET = 0x1000_0000;
/** No address is higher; mmap(2) returns one that is when it fails. */
const HIGHEST_ADDRESS = 2 ** 56;

const ENOSYS = 38;
const ENOMEM = 12;
const PARAMETER_BYTES = 120;
const ENTRIES = 4;
const REQUEST_BYTES = 64;
const COMPLETION_BYTES = 16;
const WRITTEN = 0n;

/** The ring and both ends of its pipe. */
export const RING_DESCRIPTORS = 3;

const scratch = new Uint8Array(64);
const scratchAddress = ptr(scratch);

/** Where the kernel has put what (struct io_uring_params). */
interface Layout {
  readonly requests: number;
  readonly completions: number;
  readonly head: number;
  readonly tail: number;
  readonly flags: number;
  readonly indexes: number;
  readonly completedHead: number;
  readonly completedTail: number;
  readonly completed: number;
}

/** A queue of requests to the kernel. */
export class Ring {
  readonly #descriptor: number;
  readonly #input: number;
  readonly #output: number;
  readonly #layout: Layout;
  readonly #queues: DataView;
  readonly #requests: DataView;
  /** What is written into the pipe; the kernel has its address for as long as anybody waits. */
  readonly #byte = new Uint8Array([1]);
  /** Who waits, by a number that is never used again. */
  readonly #waiting = new Map<number, () => void>();
  #last = 0;

  /** @throws SystemError where the kernel cannot do this, or does not let this process do it. */
  constructor() {
    const parameters = new DataView(new ArrayBuffer(PARAMETER_BYTES));
    const place = Number(ptr(parameters));
    this.#descriptor = call(SYS_IO_URING_SETUP, ENTRIES, place);
    try {
      this.#layout = layoutFrom(parameters);
      const { requests } = this.#layout;
      this.#queues = map(this.#descriptor, 0, sizeOf(this.#layout));
      const bytes = requests * REQUEST_BYTES;
      this.#requests = map(this.#descriptor, REQUESTS_OFFSET, bytes);
      [this.#input, this.#output] = makePipe();
    } catch (error) {
      close(this.#descriptor);
      throw error;
    }
    onInput(this.#input, () => this.#collect());
  }

  /**
   * Calls back once when a descriptor becomes readable.
   * @throws SystemError when it cannot be waited for.
   */
  whenReadable(descriptor: number, readable: () => void): void {
    const { tail, head } = this.#layout;
    const mark = ++this.#last;
    this.#waiting.set(mark, readable);
    this.#put(0, OP_POLL_ADD, LINK, descriptor, 0, 0, POLLIN, mark);
    this.#put(1, OP_WRITE, 0, this.#output, Number(ptr(this.#byte)), 1, 0, 0);
    const first = this.#queues.getUint32(tail, true);
    this.#queues.setUint32(tail, first + 2, true);
    const taken = attempt(() => enter(this.#descriptor, 2, 0));
    if (taken !== 2) {
      this.#queues.setUint32(tail, this.#queues.getUint32(head, true), true);
      this.#waiting.delete(mark);
      throw new SystemError("io_uring_enter", taken < 0 ? -taken : ENOMEM);
    }
  }

  #put(
    index: number,
    operation: number,
    flags: number,
    descriptor: number,
    address: number,
    length: number,
    events: number,
    mark: number,
  ): void {
    const { tail, requests, indexes } = this.#layout;
    const slot = (this.#queues.getUint32(tail, true) + index) % requests;
    const at = slot * REQUEST_BYTES;
    const request = this.#requests;
    new Uint8Array(request.buffer, at, REQUEST_BYTES).fill(0);
    request.setUint8(at, operation);
    request.setUint8(at + 1, flags);
    request.setInt32(at + 4, descriptor, true);
    request.setBigUint64(at + 16, BigInt(address), true);
    request.setUint32(at + 24, length, true);
    request.setUint32(at + 28, events, true);
    request.setBigUint64(at + 32, BigInt(mark), true);
    this.#queues.setUint32(indexes + 4 * slot, slot, true);
  }

  #collect(): void {
    while (
      attempt(() =>
        libc().read(this.#input, scratchAddress, scratch.length),
      ) === scratch.length
    );
    const ended: number[] = [];
    do this.#take(ended);
    while (this.#refill());
    for (const mark of ended) {
      const readable = this.#waiting.get(mark);
      this.#waiting.delete(mark);
      // Each by itself, so that an error of one does not concern the others.
      if (readable !== undefined) setImmediate(readable);
    }
  }

  #take(ended: number[]): void {
    const { completedHead, completedTail, completed, completions } =
      this.#layout;
    const queues = this.#queues;
    const end = queues.getUint32(completedTail, true);
    let next = queues.getUint32(completedHead, true);
    for (; next !== end; next = (next + 1) >>> 0) {
      const at = completed + (next % completions) * COMPLETION_BYTES;
      const mark = queues.getBigUint64(at, true);
      if (mark !== WRITTEN) ended.push(Number(mark));
    }
    queues.setUint32(completedHead, next, true);
  }

  /** What there was no room for comes when it is asked for. @returns whether there was any. */
  #refill(): boolean {
    const flags = this.#queues.getUint32(this.#layout.flags, true);
    if ((flags & OVERFLOWN) === 0) return false;
    return attempt(() => enter(this.#descriptor, 0, GET_EVENTS)) >= 0;
  }
}

function layoutFrom(parameters: DataView): Layout {
  const at = (offset: number) => parameters.getUint32(offset, true);
  if ((at(20) & NEEDED_FEATURES) !== NEEDED_FEATURES)
    throw new SystemError("io_uring_setup", ENOSYS);
  return {
    requests: at(0),
    completions: at(4),
    head: at(40),
    tail: at(44),
    flags: at(56),
    indexes: at(64),
    completedHead: at(80),
    completedTail: at(84),
    completed: at(100),
  };
}

function sizeOf({ indexes, requests, completed, completions }: Layout): number {
  const end = completed + completions * COMPLETION_BYTES;
  return Math.max(indexes + 4 * requests, end);
}

function call(number: number, first: number, second: number): number {
  return must("io_uring_setup", undefined, () =>
    libc().syscall(number, first, second, 0, 0, 0, 0),
  );
}

function enter(descriptor: number, requests: number, flags: number): number {
  const number = SYS_IO_URING_ENTER;
  return libc().syscall(number, descriptor, requests, 0, flags, 0, 0);
}

function map(descriptor: number, offset: number, bytes: number): DataView {
  const address = libc().mmap(
    null,
    bytes,
    PROT_READ_WRITE,
    MAP_SHARED_POPULATE,
    descriptor,
    offset,
  );
  if (typeof address !== "number" || address > HIGHEST_ADDRESS)
    throw new SystemError("mmap", ENOMEM);
  return new DataView(toArrayBuffer(address, 0, bytes));
}

function makePipe(): [number, number] {
  const ends = new Int32Array(2);
  const place = ptr(ends);
  must("pipe2", undefined, () => libc().pipe2(place, O_CLOEXEC | O_NONBLOCK));
  const [input = -1, output = -1] = ends;
  return [input, output];
}
