/**
 * The headers of an ELF64 little-endian file. Names and numbers are those of the System V ABI (gABI,
 * chapters 4 and 5).
 */
import { LayoutError, hex, i64, u16, u32, u64 } from "./bytes.ts";

export interface Elf {
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly machine: number;
  readonly entry: number;
  readonly segments: readonly Segment[];
}

export interface Segment {
  readonly type: number;
  readonly flags: number;
  /** Where its bytes are in the file. */
  readonly offset: number;
  /** Where they are in memory. */
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

export interface Relocation {
  /** The address of the word to be changed. */
  readonly place: number;
  readonly type: number;
  /** Index of the symbol. */
  readonly symbol: number;
  readonly addend: number;
}

export const FILE_TYPE = { executable: 2, shared: 3 } as const;

export const SEGMENT_TYPE = {
  load: 1,
  dynamic: 2,
  interpreter: 3,
  note: 4,
  programHeaders: 6,
  threadLocal: 7,
  stack: 0x6474e551,
} as const;

export const SEGMENT_FLAG = { execute: 1, write: 2, read: 4 } as const;

export const RELOCATION_SIZE = 24;

const HEADER_SIZE = 64;
const SEGMENT_SIZE = 56;
const SECTION_SIZE = 64;
const RELOCATION_SECTION = { rela: 4, rel: 9, relr: 19 } as const;
/** Bun has some 450. A damaged size must not make millions of them. */
const MOST_RELOCATIONS = 10_000;

/** Reads the file header and the program headers. Throws LayoutError. */
export function readElf(bytes: Uint8Array): Elf {
  if (bytes.length < HEADER_SIZE)
    throw new LayoutError(`not an ELF file: it has only ${bytes.length} bytes`);
  if (u32(bytes, 0, "magic number") !== 0x464c457f)
    throw new LayoutError("not an ELF file: wrong magic number");
  if (bytes[4] !== 2)
    throw new LayoutError(`ELF class is ${bytes[4]}, expected 2 (64-bit)`);
  if (bytes[5] !== 1)
    throw new LayoutError(`byte order is ${bytes[5]}, expected 1 (little)`);
  return {
    bytes,
    type: u16(bytes, 16, "file type"),
    machine: u16(bytes, 18, "machine"),
    entry: u64(bytes, 24, "entry point"),
    segments: readSegments(bytes),
  };
}

/** The segments of one type. */
export function segmentsOf(
  elf: Elf,
  type: keyof typeof SEGMENT_TYPE,
): Segment[] {
  return elf.segments.filter((segment) => segment.type === SEGMENT_TYPE[type]);
}

/**
 * The file offset of `size` bytes at a memory address. Throws LayoutError if they are not all in one
 * segment of the file.
 */
export function fileOffset(
  elf: Elf,
  address: number,
  size: number,
  what: string,
): number {
  for (const segment of segmentsOf(elf, "load")) {
    const distance = address - segment.address;
    if (distance >= 0 && distance + size <= segment.fileSize)
      return segment.offset + distance;
  }
  throw new LayoutError(
    `${what}: ${size} bytes at address ${hex(address)} are not in the file`,
  );
}

/** The Elf64_Rela entries of a table; offset and size are in bytes. Throws LayoutError. */
export function readRelocations(
  bytes: Uint8Array,
  offset: number,
  size: number,
  what: string,
): Relocation[] {
  const count = size / RELOCATION_SIZE;
  if (!Number.isInteger(count) || count > MOST_RELOCATIONS)
    throw new LayoutError(`${what}: ${size} bytes cannot be its size`);
  return Array.from({ length: count }, (_, index) => {
    const at = offset + index * RELOCATION_SIZE;
    return {
      place: u64(bytes, at, what),
      type: u32(bytes, at + 8, what),
      symbol: u32(bytes, at + 12, what),
      addend: i64(bytes, at + 16, what),
    };
  });
}

/** All relocations that the section headers tell of. Throws LayoutError, also for other kinds than RELA. */
export function readSectionRelocations({ bytes }: Elf): Relocation[] {
  const table = u64(bytes, 40, "section header offset");
  const count = u16(bytes, 60, "section header count");
  const relocations: Relocation[] = [];
  for (let index = 0; index < count; index++) {
    const what = `section ${index}`;
    const at = table + index * SECTION_SIZE;
    const type = u32(bytes, at + 4, what);
    if (type === RELOCATION_SECTION.rel || type === RELOCATION_SECTION.relr)
      throw new LayoutError(`${what} holds other relocations than RELA`);
    if (type !== RELOCATION_SECTION.rela) continue;
    const offset = u64(bytes, at + 24, what);
    const size = u64(bytes, at + 32, what);
    relocations.push(...readRelocations(bytes, offset, size, what));
  }
  return relocations;
}

function readSegments(bytes: Uint8Array): Segment[] {
  const table = u64(bytes, 32, "program header offset");
  const size = u16(bytes, 54, "program header size");
  const count = u16(bytes, 56, "program header count");
  if (size !== SEGMENT_SIZE)
    throw new LayoutError(
      `a program header has ${size} bytes, expected ${SEGMENT_SIZE}`,
    );
  return Array.from({ length: count }, (_, index) =>
    readSegment(bytes, table + index * SEGMENT_SIZE, `program header ${index}`),
  );
}

function readSegment(bytes: Uint8Array, at: number, what: string): Segment {
  const segment = {
    type: u32(bytes, at, what),
    flags: u32(bytes, at + 4, what),
    offset: u64(bytes, at + 8, `${what}: offset`),
    address: u64(bytes, at + 16, `${what}: address`),
    fileSize: u64(bytes, at + 32, `${what}: file size`),
    memorySize: u64(bytes, at + 40, `${what}: memory size`),
    alignment: u64(bytes, at + 48, `${what}: alignment`),
  };
  const end = segment.offset + segment.fileSize;
  if (end > bytes.length)
    throw new LayoutError(
      `${what} ends at ${hex(end)}, beyond the file's ${hex(bytes.length)} bytes`,
    );
  if (segment.memorySize < segment.fileSize)
    throw new LayoutError(`${what} is smaller in memory than in the file`);
  return segment;
}
