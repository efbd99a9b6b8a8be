/** Changes to a program's bytes that are taken back: a copy of a hundred megabytes for each would be slow. */
import type { Elf, Segment } from "../../src/static-link/elf.ts";
import {
  SEGMENT_TYPE,
  fileOffset,
  segmentsOf,
} from "../../src/static-link/elf.ts";
import { type BunImage, readBunImage } from "../../src/static-link/image.ts";

const PROGRAM_HEADERS = 64;
const PROGRAM_HEADER_SIZE = 56;
/** Where a program header has what. */
const FIELD = {
  type: 0,
  flags: 4,
  offset: 8,
  address: 16,
  fileSize: 32,
  memorySize: 40,
  alignment: 48,
} as const;

export class Damage {
  readonly image: BunImage;
  readonly elf: Elf;
  readonly #bytes: Buffer;
  #undo: (() => void)[] = [];

  /** The bytes are those of a sound program. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.image = readBunImage(bytes);
    this.elf = this.image.elf;
  }

  get size(): number {
    return this.#bytes.length;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  undo(): void {
    for (const step of this.#undo.reverse()) step();
    this.#undo = [];
  }

  put(offset: number, bytes: Uint8Array): void {
    const before = Uint8Array.from(
      this.#bytes.subarray(offset, offset + bytes.length),
    );
    this.#undo.push(() => this.#bytes.set(before, offset));
    this.#bytes.set(bytes, offset);
  }

  text(offset: number, text: string): void {
    this.put(offset, Buffer.from(text, "latin1"));
  }

  number(offset: number, value: number | bigint, size: 1 | 2 | 4 | 8): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.put(offset, bytes.subarray(0, size));
  }

  /** Changes a field of the program header of a type; of the nth one, if there are several. */
  header(
    type: keyof typeof SEGMENT_TYPE,
    field: keyof typeof FIELD,
    value: number | bigint,
    nth = 0,
  ): void {
    const wanted = this.elf.segments.filter(
      (segment) => segment.type === SEGMENT_TYPE[type],
    )[nth];
    const index = this.elf.segments.indexOf(present(wanted));
    const at = PROGRAM_HEADERS + index * PROGRAM_HEADER_SIZE + FIELD[field];
    this.number(at, value, field === "type" || field === "flags" ? 4 : 8);
  }

  get dynamicSection(): Segment {
    return present(segmentsOf(this.elf, "dynamic")[0]);
  }

  /** The file offset of the dynamic section's entry with a tag. */
  dynamicEntry(tag: number): number {
    const { offset, fileSize } = this.dynamicSection;
    for (let at = offset; at < offset + fileSize; at += 16)
      if (this.#bytes.readBigUInt64LE(at) === BigInt(tag)) return at;
    throw new Error(`no dynamic entry ${tag}`);
  }

  dynamicValue(tag: number): number {
    return Number(this.#bytes.readBigUInt64LE(this.dynamicEntry(tag) + 8));
  }

  /** The file offset of a place in memory. */
  offsetOf(address: number): number {
    return fileOffset(this.elf, address, 1, "a test");
  }

  /** The file offset of the relocation entry of a type against a symbol. */
  relocation(type: number, name?: string): number {
    const { relocations, symbol } = this.image.dynamic;
    const index = relocations.findIndex(
      (entry) =>
        entry.type === type &&
        (name === undefined || symbol(entry.symbol).name === name),
    );
    const inTable = this.dynamicValue(TAG.RELASZ) / 24;
    const [table, row] =
      index < inTable ? [TAG.RELA, index] : [TAG.JMPREL, index - inTable];
    return this.offsetOf(this.dynamicValue(table)) + row * 24;
  }

  /** The file offset of the entry of a symbol. */
  symbol(name: string): number {
    const { relocations, symbol } = this.image.dynamic;
    const index = present(
      relocations.find((entry) => symbol(entry.symbol).name === name),
    ).symbol;
    return this.offsetOf(this.dynamicValue(TAG.SYMTAB)) + index * 24;
  }

  /** Gives a symbol another name, which must not be longer. */
  rename(name: string, other: string): void {
    const strings = this.offsetOf(this.dynamicValue(TAG.STRTAB));
    const at = this.#bytes.readUInt32LE(this.symbol(name));
    this.text(strings + at, `${other}\0`);
  }
}

/** Tags of the dynamic section (gABI, chapter 5). */
export const TAG = {
  PLTRELSZ: 2,
  STRTAB: 5,
  SYMTAB: 6,
  RELA: 7,
  RELASZ: 8,
  RELAENT: 9,
  STRSZ: 10,
  SYMENT: 11,
  INIT: 12,
  FINI: 13,
  REL: 17,
  PLTREL: 20,
  DEBUG: 21,
  TEXTREL: 22,
  JMPREL: 23,
  INIT_ARRAY: 25,
  FINI_ARRAY: 26,
  INIT_ARRAYSZ: 27,
  FINI_ARRAYSZ: 28,
  PREINIT_ARRAY: 32,
  RELR: 36,
} as const;

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the program has no such part");
  return value;
}
