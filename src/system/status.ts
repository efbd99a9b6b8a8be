/** What statx(2) tells of a file. Its structure is the same on every machine. */
import { type Pointer, ptr } from "bun:ffi";
import { libc, pathArgument } from "./library.ts";

const BYTES = 256;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
/** STATX_BASIC_STATS and STATX_BTIME. */
const MASK = 0xfff;

const TYPE = 0o170000;
const DIRECTORY = 0o040000;
const CHARACTER_DEVICE = 0o020000;
const FIFO = 0o010000;
const REGULAR = 0o100000;
const LINK = 0o120000;
const PERMISSIONS = 0o7777;

const fields = new DataView(new ArrayBuffer(BYTES));
const address = ptr(fields);

/** Where the kernel writes its answer. */
export const StatusBuffer = {
  fill(path: Pointer, follow: boolean): number {
    const flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
    return libc().statx(AT_FDCWD, path, flags, MASK, address);
  },
  fillFromDescriptor(descriptor: number): number {
    const path = pathArgument("");
    return libc().statx(descriptor, path, AT_EMPTY_PATH, MASK, address);
  },
};

/** One file at one moment: takes the kernel's last answer out of the buffer. */
export class FileStatus {
  readonly owner = fields.getUint32(20, true);
  readonly #mode = fields.getUint16(28, true);
  readonly #inodeLow = fields.getUint32(32, true);
  readonly #inodeHigh = fields.getUint32(36, true);
  readonly #bornAt = fields.getUint32(80, true);
  readonly #bornNanoseconds = fields.getUint32(88, true);
  readonly #changed = milliseconds(96);
  readonly #modifiedSeconds = fields.getInt32(112, true);
  readonly #modifiedHigh = fields.getInt32(116, true);
  readonly #modifiedNanoseconds = fields.getUint32(120, true);
  readonly #nodeMajor = fields.getUint32(128, true);
  readonly #nodeMinor = fields.getUint32(132, true);
  readonly #deviceMajor = fields.getUint32(136, true);
  readonly #deviceMinor = fields.getUint32(140, true);

  /** Permission bits. */
  get mode(): number {
    return this.#mode & PERMISSIONS;
  }
  get isFile(): boolean {
    return this.#is(REGULAR);
  }
  get isDirectory(): boolean {
    return this.#is(DIRECTORY);
  }
  get isLink(): boolean {
    return this.#is(LINK);
  }
  get isFifo(): boolean {
    return this.#is(FIFO);
  }
  get isCharacterDevice(): boolean {
    return this.#is(CHARACTER_DEVICE);
  }
  /** Which device a device file stands for. */
  get node(): { readonly major: number; readonly minor: number } {
    return { major: this.#nodeMajor, minor: this.#nodeMinor };
  }
  get inode(): bigint {
    return (BigInt(this.#inodeHigh) << 32n) | BigInt(this.#inodeLow);
  }
  /** When its content was changed last, in nanoseconds since 1970. */
  get modified(): bigint {
    const seconds =
      BigInt(this.#modifiedHigh) * 0x1_0000_0000n +
      BigInt(this.#modifiedSeconds >>> 0);
    return seconds * 1_000_000_000n + BigInt(this.#modifiedNanoseconds);
  }
  /** The same in milliseconds. */
  get modifiedAt(): number {
    const seconds =
      this.#modifiedHigh * 0x1_0000_0000 + (this.#modifiedSeconds >>> 0);
    return seconds * 1000 + this.#modifiedNanoseconds / 1_000_000;
  }
  /** When anything about it was changed last, in milliseconds since 1970. */
  get changedAt(): number {
    return this.#changed;
  }
  /** What tells it from any other file, also from one that was made in its place and got its inode. */
  get identity(): string {
    return `${this.#deviceMajor}:${this.#deviceMinor}:${this.#inodeHigh}:${this.#inodeLow}:${this.#bornAt}:${this.#bornNanoseconds}`;
  }

  #is(type: number): boolean {
    return (this.#mode & TYPE) === type;
  }
}

/** A time of the structure: seconds (64 bits) and nanoseconds, as milliseconds. */
function milliseconds(offset: number): number {
  const seconds =
    fields.getInt32(offset + 4, true) * 0x1_0000_0000 +
    fields.getUint32(offset, true);
  return seconds * 1000 + fields.getUint32(offset + 8, true) / 1_000_000;
}
