/** Bun's executable as `bun build --compile` writes it. */
import { LayoutError, hex, u64, word } from "./bytes.ts";
import { type Dynamic, type Table, readDynamic } from "./dynamic.ts";
import { type Elf, type Segment, fileOffset, readElf } from "./elf.ts";
import {
  type Loads,
  checkLoads,
  checkMachine,
  checkSegmentTypes,
  checkThreadLocal,
  onlySegment,
} from "./layout.ts";
import type { Machine } from "./machines.ts";

export interface BunImage {
  readonly elf: Elf;
  readonly machine: Machine;
  readonly loads: Loads;
  readonly threadLocal: Segment;
  /** Bytes of the thread-local block, rounded up to its alignment. */
  readonly threadLocalSize: number;
  readonly dynamic: Dynamic;
  /** Functions that run before and after the program. */
  readonly constructors: readonly number[];
  readonly destructors: readonly number[];
}

const TRAILER = "\n---- Bun! ----\n";
const NO_FUNCTION = [0n, 0xffff_ffff_ffff_ffffn];

/**
 * Reads and checks a compiled program.
 * @throws LayoutError which names the first thing that is not as expected.
 */
export function readBunImage(bytes: Uint8Array, expected?: Machine): BunImage {
  const elf = readElf(bytes);
  const machine = checkMachine(elf, expected);
  checkSegmentTypes(elf);
  const loads = checkLoads(elf, machine);
  checkProgram(elf, loads[2]);
  const threadLocal = checkThreadLocal(elf, machine);
  const dynamic = readDynamic(elf, onlySegment(elf, "dynamic"));
  const code = loads[1];
  checkCode(code, elf.entry, "the entry point");
  checkCode(code, dynamic.init, "DT_INIT");
  checkCode(code, dynamic.fini, "DT_FINI");
  const { alignment, memorySize } = threadLocal;
  return {
    elf,
    machine,
    loads,
    threadLocal,
    threadLocalSize: Math.ceil(memorySize / alignment) * alignment,
    dynamic,
    constructors: readFunctions(elf, code, dynamic.initArray, "DT_INIT_ARRAY"),
    destructors: readFunctions(elf, code, dynamic.finiArray, "DT_FINI_ARRAY"),
  };
}

/**
 * Which of the three loaded segments has an address, and how far from its start it is.
 * @throws LayoutError if none has it.
 */
export function locate(
  { loads }: BunImage,
  address: number,
): { index: number; offset: number } {
  for (const [index, load] of loads.entries()) {
    const offset = address - load.address;
    if (offset >= 0 && offset < load.memorySize) return { index, offset };
  }
  throw new LayoutError(`address ${hex(address)} is outside of the program`);
}

/**
 * What was compiled is behind Bun's data: its size, then its modules, which end with a fixed trailer. A
 * pointer in Bun's data leads to it. `strip` breaks this, and what it leaves runs as the bun command line.
 */
function checkProgram({ bytes }: Elf, data: Segment): void {
  const start = bytes.byteOffset + data.offset;
  const image = Buffer.from(bytes.buffer, start, data.fileSize);
  const trailer = image.lastIndexOf(TRAILER);
  if (trailer < 0)
    throw new LayoutError(
      "no program is in it: not an output of `bun build --compile`, or stripped",
    );
  const end = trailer + TRAILER.length;
  for (let at = -data.address & 7; at + 8 <= end; at += 8) {
    // The pointer is page-aligned. Testing that first keeps the search over megabytes quick.
    if ((image.readUInt16LE(at) & 0xfff) !== 0) continue;
    const payload = Number(image.readBigUInt64LE(at)) - data.address;
    if (payload < 0 || payload + 8 > end) continue;
    if (payload + 8 + Number(image.readBigUInt64LE(payload)) === end) return;
  }
  throw new LayoutError(
    "the pointer to the program is not in it: Bun's layout has changed, or it was stripped",
  );
}

function readFunctions(
  elf: Elf,
  code: Segment,
  { address, size }: Table,
  what: string,
): number[] {
  const start = fileOffset(elf, address, size, what);
  const functions: number[] = [];
  for (let at = start; at + 8 <= start + size; at += 8) {
    if (NO_FUNCTION.includes(word(elf.bytes, at, what))) continue;
    functions.push(u64(elf.bytes, at, what));
    checkCode(code, u64(elf.bytes, at, what), `an entry of ${what}`);
  }
  return functions;
}

function checkCode(code: Segment, address: number, what: string): void {
  if (address < code.address || address >= code.address + code.fileSize)
    throw new LayoutError(`${what}, ${hex(address)}, is outside of the code`);
}
