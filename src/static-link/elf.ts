/**
 * The parts of an ELF64 little-endian file that a static link has to know, read from its bytes.
 *
 * Names and numbers are those of the System V ABI (gABI, chapters 4 and 5). Nothing here trusts the file:
 * whatever lies outside of it, or is cut off, is a {@link LayoutError}.
 */

/** The file is not laid out as needed; the message says in one line what differs. */
export class LayoutError extends Error {
  override name = "LayoutError";
}

export const fileType = { executable: 2, shared: 3 } as const;

export const segmentType = {
  load: 1,
  dynamic: 2,
  interpreter: 3,
  note: 4,
  programHeaders: 6,
  threadLocal: 7,
  stack: 0x6474e551,
} as const;

export const segmentFlag = { execute: 1, write: 2, read: 4 } as const;

export const dynamicTag = {
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
  TEXTREL: 22,
  JMPREL: 23,
  INIT_ARRAY: 25,
  FINI_ARRAY: 26,
  INIT_ARRAYSZ: 27,
  FINI_ARRAYSZ: 28,
  PREINIT_ARRAY: 32,
  RELRSZ: 35,
  RELR: 36,
} as const;

export type DynamicTag = keyof typeof dynamicTag;

export type Segment = {
  type: number;
  flags: number;
  /** Where its bytes are in the file. */
  offset: number;
  /** Where they are in memory. */
  address: number;
  fileSize: number;
  memorySize: number;
  alignment: number;
};

export type ElfSymbol = {
  name: string;
  binding: number;
  type: number;
  /** Index of its section, 0 if the file does not define it. */
  section: number;
  value: number;
};

export const symbolBinding = { weak: 2 } as const;
export const symbolType = { threadLocal: 6 } as const;

export type Relocation = {
  place: number;
  type: number;
  symbol: number;
  addend: number;
};

export type Elf = {
  bytes: Uint8Array;
  type: number;
  machine: number;
  entry: number;
  segments: readonly Segment[];
};

const HEADER_SIZE = 64;
const SEGMENT_ENTRY_SIZE = 56;
const SECTION_ENTRY_SIZE = 64;
export const SYMBOL_ENTRY_SIZE = 24;
export const RELOCATION_ENTRY_SIZE = 24;
const relocationSectionTypes = { rela: 4, rel: 9, relr: 19 };

/** Reads the file header and the program headers. Throws LayoutError. */
export function readElf(bytes: Uint8Array): Elf {
  if (bytes.length < HEADER_SIZE)
    throw new LayoutError(`not an ELF file: it has only ${bytes.length} bytes`);
  if (u32(bytes, 0, "magic number") !== 0x464c457f)
    throw new LayoutError("not an ELF file: wrong magic number");
  if (bytes[4] !== 2)
    throw new LayoutError(`ELF class is ${bytes[4]}, expected 2 (64-bit)`);
  if (bytes[5] !== 1)
    throw new LayoutError(
      `byte order is ${bytes[5]}, expected 1 (little endian)`,
    );
  return {
    bytes,
    type: u16(bytes, 16, "file type"),
    machine: u16(bytes, 18, "machine"),
    entry: u64(bytes, 24, "entry point"),
    segments: readSegments(bytes),
  };
}

/** The file offset of `size` bytes at a memory address. Throws LayoutError if they are not all in one segment of the file. */
export function fileOffset(
  elf: Elf,
  address: number,
  size: number,
  what: string,
): number {
  for (const segment of elf.segments) {
    if (segment.type !== segmentType.load || address < segment.address)
      continue;
    if (address - segment.address + size <= segment.fileSize)
      return segment.offset + address - segment.address;
  }
  throw new LayoutError(
    `${what}: ${size} bytes at address ${hex(address)} are not in the file`,
  );
}

/** The dynamic section, tag by tag; of NEEDED, which may come several times, only the last one. Throws LayoutError. */
export function readDynamic(elf: Elf, section: Segment): Map<number, number> {
  const entries = new Map<number, number>();
  for (let at = 0; at + 16 <= section.fileSize; at += 16) {
    const tag = u64(elf.bytes, section.offset + at, "dynamic section");
    if (tag === 0) return entries;
    entries.set(
      tag,
      u64(elf.bytes, section.offset + at + 8, `dynamic entry ${hex(tag)}`),
    );
  }
  throw new LayoutError("the dynamic section has no end");
}

/** A table of Elf64_Rela entries at a memory address; `size` in bytes. Throws LayoutError. */
export function readRelocations(
  elf: Elf,
  address: number,
  size: number,
  what: string,
): Relocation[] {
  return relocationsAt(
    elf.bytes,
    fileOffset(elf, address, size, what),
    size,
    what,
  );
}

/** A function that reads the dynamic symbol of a given index. Both addresses are those of the dynamic section. */
export function symbolReader(
  elf: Elf,
  symbols: number,
  strings: number,
  stringsSize: number,
): (index: number) => ElfSymbol {
  const start = fileOffset(elf, strings, stringsSize, "DT_STRTAB");
  const names = elf.bytes.subarray(start, start + stringsSize);
  return (index) => {
    const what = `symbol ${index}`;
    const at = fileOffset(
      elf,
      symbols + index * SYMBOL_ENTRY_SIZE,
      SYMBOL_ENTRY_SIZE,
      what,
    );
    const info = u8(elf.bytes, at + 4, what);
    return {
      name: stringAt(names, u32(elf.bytes, at, what), `name of ${what}`),
      binding: info >> 4,
      type: info & 15,
      section: u16(elf.bytes, at + 6, what),
      value: u64(elf.bytes, at + 8, `value of ${what}`),
    };
  };
}

/** All relocations in the section headers' relocation sections. Throws LayoutError, too, for kinds other than RELA. */
export function readSectionRelocations(elf: Elf): Relocation[] {
  const table = u64(elf.bytes, 40, "section header offset");
  const count = u16(elf.bytes, 60, "section header count");
  const relocations: Relocation[] = [];
  for (let i = 0; i < count; i++) {
    const what = `section ${i}`;
    const at = table + i * SECTION_ENTRY_SIZE;
    const type = u32(elf.bytes, at + 4, what);
    if (
      type === relocationSectionTypes.rel ||
      type === relocationSectionTypes.relr
    )
      throw new LayoutError(
        `${what} holds relocations of another kind than RELA`,
      );
    if (type !== relocationSectionTypes.rela) continue;
    const offset = u64(elf.bytes, at + 24, what);
    const size = u64(elf.bytes, at + 32, what);
    relocations.push(...relocationsAt(elf.bytes, offset, size, what));
  }
  return relocations;
}

/** An unsigned 64-bit number as a bigint. Throws LayoutError if it is not in the file. */
export function word(bytes: Uint8Array, offset: number, what: string): bigint {
  return view(bytes, offset, 8, what).getBigUint64(0, true);
}

/** An unsigned 64-bit number that is to be an address, an offset or a size. Throws LayoutError if it cannot be one. */
export function u64(bytes: Uint8Array, offset: number, what: string): number {
  return exact(word(bytes, offset, what), what);
}

/** A number as it stands in messages and in assembler text. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function readSegments(bytes: Uint8Array): Segment[] {
  const table = u64(bytes, 32, "program header offset");
  const size = u16(bytes, 54, "program header size");
  const count = u16(bytes, 56, "program header count");
  if (size !== SEGMENT_ENTRY_SIZE)
    throw new LayoutError(
      `a program header has ${size} bytes, expected ${SEGMENT_ENTRY_SIZE}`,
    );
  return Array.from({ length: count }, (_, i) =>
    readSegment(bytes, table + i * SEGMENT_ENTRY_SIZE, `program header ${i}`),
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
      `${what} ends at ${hex(end)}, but the file has only ${hex(bytes.length)} bytes`,
    );
  if (
    segment.type === segmentType.load &&
    segment.memorySize < segment.fileSize
  )
    throw new LayoutError(`${what} is smaller in memory than in the file`);
  return segment;
}

function relocationsAt(
  bytes: Uint8Array,
  offset: number,
  size: number,
  what: string,
): Relocation[] {
  if (size % RELOCATION_ENTRY_SIZE !== 0)
    throw new LayoutError(
      `${what}: ${size} bytes are not a whole number of relocations`,
    );
  if (offset + size > bytes.length)
    throw new LayoutError(`${what} ends beyond the end of the file`);
  const relocations: Relocation[] = [];
  for (let at = offset; at < offset + size; at += RELOCATION_ENTRY_SIZE)
    relocations.push({
      place: u64(bytes, at, what),
      type: u32(bytes, at + 8, what),
      symbol: u32(bytes, at + 12, what),
      addend: exact(
        BigInt.asIntN(64, word(bytes, at + 16, what)),
        `addend in ${what}`,
      ),
    });
  return relocations;
}

function stringAt(table: Uint8Array, offset: number, what: string): string {
  const end = offset < table.length ? table.indexOf(0, offset) : -1;
  if (end < 0) throw new LayoutError(`${what} is not in the string table`);
  return new TextDecoder("latin1").decode(table.subarray(offset, end));
}

function u8(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 1, what).getUint8(0);
}

function u16(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 2, what).getUint16(0, true);
}

function u32(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 4, what).getUint32(0, true);
}

function view(
  bytes: Uint8Array,
  offset: number,
  size: number,
  what: string,
): DataView {
  if (offset < 0 || offset + size > bytes.length)
    throw new LayoutError(
      `${what}: offset ${hex(offset)} is beyond the end of the file (${hex(bytes.length)} bytes)`,
    );
  return new DataView(bytes.buffer, bytes.byteOffset + offset, size);
}

/** Addresses and sizes of real programs are far below 2^53; what is not, is damage. */
function exact(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number))
    throw new LayoutError(`${what} is impossible: 0x${value.toString(16)}`);
  return number;
}
