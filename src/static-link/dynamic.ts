/** The dynamic section of a program: what a loader would read, and its symbols (gABI, chapter 5). */
import { LayoutError, hex, text, u16, u32, u64, u8 } from "./bytes.ts";
import {
  type Elf,
  RELOCATION_SIZE,
  type Relocation,
  type Segment,
  fileOffset,
  readRelocations,
} from "./elf.ts";

export interface Dynamic {
  readonly relocations: readonly Relocation[];
  /** Reads the symbol of an index. Throws LayoutError. */
  readonly symbol: (index: number) => ElfSymbol;
  /** Addresses of functions, and of arrays of such addresses with their size in bytes. */
  readonly init: number;
  readonly fini: number;
  readonly initArray: Table;
  readonly finiArray: Table;
}

export interface Table {
  readonly address: number;
  readonly size: number;
}

export interface ElfSymbol {
  readonly name: string;
  readonly binding: number;
  readonly type: number;
  /** Index of its section, 0 if the program does not define it. */
  readonly section: number;
  readonly value: number;
}

export const WEAK_BINDING = 2;
export const THREAD_LOCAL_TYPE = 6;

const TAG = {
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
type Tag = keyof typeof TAG;

const SYMBOL_SIZE = 24;
/** Kinds of relocations and start code that a static link would have to treat in another way. */
const UNHANDLED = [
  "REL",
  "RELR",
  "RELRSZ",
  "TEXTREL",
  "PREINIT_ARRAY",
] as const;

/** Reads what PT_DYNAMIC leads to. Throws LayoutError. */
export function readDynamic(elf: Elf, section: Segment): Dynamic {
  const entries = readEntries(elf, section);
  const get = (tag: Tag) => required(entries, tag);
  const relocations = (table: Tag, sizeTag: Tag) => {
    const size = get(sizeTag);
    const offset = fileOffset(elf, get(table), size, `DT_${table}`);
    return readRelocations(elf.bytes, offset, size, `DT_${table}`);
  };
  for (const tag of UNHANDLED)
    if (entries.has(TAG[tag]))
      throw new LayoutError(`DT_${tag} is present, which is not handled`);
  expect("RELAENT", get("RELAENT"), RELOCATION_SIZE);
  expect("PLTREL", get("PLTREL"), TAG.RELA);
  expect("SYMENT", get("SYMENT"), SYMBOL_SIZE);
  return {
    relocations: [
      ...relocations("RELA", "RELASZ"),
      ...relocations("JMPREL", "PLTRELSZ"),
    ],
    symbol: symbolReader(elf, get("SYMTAB"), {
      address: get("STRTAB"),
      size: get("STRSZ"),
    }),
    init: get("INIT"),
    fini: get("FINI"),
    initArray: { address: get("INIT_ARRAY"), size: get("INIT_ARRAYSZ") },
    finiArray: { address: get("FINI_ARRAY"), size: get("FINI_ARRAYSZ") },
  };
}

/** The entries by tag. Some tags may come several times, but none of those that matter here. */
function readEntries(elf: Elf, section: Segment): Map<number, number> {
  const entries = new Map<number, number>();
  const end = section.offset + section.fileSize;
  for (let at = section.offset; at + 16 <= end; at += 16) {
    const tag = u64(elf.bytes, at, "a dynamic tag");
    if (tag === 0) return entries;
    entries.set(tag, u64(elf.bytes, at + 8, `dynamic entry ${hex(tag)}`));
  }
  throw new LayoutError("the dynamic section has no end");
}

function required(entries: Map<number, number>, tag: Tag): number {
  const value = entries.get(TAG[tag]);
  if (value === undefined) throw new LayoutError(`DT_${tag} is missing`);
  return value;
}

function expect(tag: Tag, value: number, expected: number): void {
  if (value !== expected)
    throw new LayoutError(`DT_${tag} is ${value}, expected ${expected}`);
}

function symbolReader(
  elf: Elf,
  symbols: number,
  strings: Table,
): Dynamic["symbol"] {
  const start = fileOffset(elf, strings.address, strings.size, "DT_STRTAB");
  const names = elf.bytes.subarray(start, start + strings.size);
  return (index) => {
    const what = `symbol ${index}`;
    const address = symbols + index * SYMBOL_SIZE;
    const at = fileOffset(elf, address, SYMBOL_SIZE, what);
    const info = u8(elf.bytes, at + 4, what);
    return {
      name: text(names, u32(elf.bytes, at, what), `the name of ${what}`),
      binding: info >> 4,
      type: info & 15,
      section: u16(elf.bytes, at + 6, what),
      value: u64(elf.bytes, at + 8, `the value of ${what}`),
    };
  };
}
