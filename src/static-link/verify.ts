/** Checks that a linked file is static and still contains Bun as it was. */
import { LayoutError, hex, word } from "./bytes.ts";
import {
  type Elf,
  SEGMENT_FLAG,
  SEGMENT_TYPE,
  type Segment,
  readElf,
  readSectionRelocations,
  segmentsOf,
} from "./elf.ts";
import type { BunImage } from "./image.ts";
import type { Imports } from "./imports.ts";
import { onlySegment } from "./layout.ts";
import type { Machine } from "./machines.ts";

/** PT_GNU_RELRO: what libc's start code protects from being written when it has done its relocations. */
const PROTECTED_AFTER_START = 0x6474e552;

/**
 * Checks a linked executable against what it was linked from.
 * @throws LayoutError which names the first thing that is not as it has to be.
 */
export function verifyLinked(
  linked: Uint8Array,
  image: BunImage,
  imports: Imports,
): void {
  const elf = readElf(linked);
  if (elf.machine !== image.machine.number)
    throw new LayoutError(`the result is for machine ${elf.machine}`);
  if (elf.entry !== image.elf.entry)
    throw new LayoutError(`the entry point has moved to ${hex(elf.entry)}`);
  checkSegments(elf, image);
  checkPages(elf, image.machine);
  for (const load of image.loads) checkUnchanged(elf, image, load);
  checkBindings(elf, image, imports);
  checkThreadLocal(elf, image);
}

function checkSegments(elf: Elf, image: BunImage): void {
  const { write, execute } = SEGMENT_FLAG;
  for (const { type, flags, address } of elf.segments) {
    if (type === SEGMENT_TYPE.interpreter || type === SEGMENT_TYPE.dynamic)
      throw new LayoutError("the result is not static");
    // A segment without execute permission for the stack is what keeps the stack from being executable.
    const forbidden = type === SEGMENT_TYPE.stack ? execute : write | execute;
    if ((flags & forbidden) === forbidden)
      throw new LayoutError(
        `the segment at ${hex(address)} is writable and executable`,
      );
  }
  if (!elf.segments.some(({ type }) => type === SEGMENT_TYPE.stack))
    throw new LayoutError("the stack is executable");
  const lowest = Math.min(
    ...segmentsOf(elf, "load").map(({ address }) => address),
  );
  const expected = image.loads[0].address - image.machine.pageSize;
  if (lowest !== expected)
    throw new LayoutError(
      `the lowest address is ${hex(lowest)}, expected ${hex(expected)}`,
    );
}

/**
 * A kernel with the largest pages maps each segment, and libc protects its part, page by page. Where two
 * of them shared one, bytes would be missing or could not be written.
 */
function checkPages(elf: Elf, { pageSize }: Machine): void {
  const loads = segmentsOf(elf, "load");
  let free = 0;
  for (const load of loads.toSorted((a, b) => a.address - b.address)) {
    const { address, offset, memorySize, alignment } = load;
    if (alignment % pageSize !== 0 || (address - offset) % pageSize !== 0)
      throw new LayoutError(
        `the segment at ${hex(address)} is not aligned to pages of ${hex(pageSize)} bytes`,
      );
    if (address < free)
      throw new LayoutError(
        `the segment at ${hex(address)} shares a page with the one below`,
      );
    free = Math.ceil((address + memorySize) / pageSize) * pageSize;
  }
  const isWhole = ({ address, memorySize }: Segment) =>
    (address + memorySize) % pageSize === 0 &&
    loads.some((load) => load.address === address);
  const parts = elf.segments.filter(
    ({ type }) => type === PROTECTED_AFTER_START,
  );
  if (parts.length !== 1 || !parts.every(isWhole))
    throw new LayoutError(
      "what is protected after the start is not whole pages from the start of a segment",
    );
}

/** Only relocated words may differ, and those are in the data. */
function checkUnchanged(elf: Elf, image: BunImage, load: Segment): void {
  const before = content(image.elf, load);
  const after = content(elf, linkedLoad(elf, load));
  const places = image.dynamic.relocations
    .map(({ place }) => place - load.address)
    .filter((offset) => offset >= 0 && offset < load.memorySize)
    .sort((a, b) => a - b);
  let from = 0;
  for (const place of [...places, load.memorySize]) {
    if (!before.subarray(from, place).equals(after.subarray(from, place)))
      throw new LayoutError(
        `Bun's segment at ${hex(load.address)} was changed after offset ${hex(from)}`,
      );
    from = place + 8;
  }
}

/**
 * Every imported function has an address, or gets one from libc's start code; only those that may be
 * missing can be 0. Nobody would carry out any other relocation that is left.
 */
function checkBindings(elf: Elf, image: BunImage, imports: Imports): void {
  const indirect = new Set<number>();
  for (const { place, type } of readSectionRelocations(elf)) {
    if (type !== image.machine.relocation.indirect)
      throw new LayoutError(
        `relocation ${type} at ${hex(place)} is left for run time`,
      );
    indirect.add(place);
  }
  const data = linkedLoad(elf, image.loads[2]);
  for (const { place, symbol } of imports.bindings) {
    if (symbol === undefined || imports.weak.has(symbol)) continue;
    const at = data.offset + place - data.address;
    if (!indirect.has(place) && word(elf.bytes, at, symbol) === 0n)
      throw new LayoutError(`${symbol} is bound to address 0`);
  }
}

function checkThreadLocal(elf: Elf, image: BunImage): void {
  const block = onlySegment(elf, "threadLocal");
  const { alignment, fixedEnd } = image.machine.threadLocal;
  const atEnd = fixedEnd === "end";
  if (block.alignment > alignment || block.memorySize !== block.fileSize)
    throw new LayoutError("the thread-local segment is not as it was laid out");
  if (atEnd && block.memorySize % alignment !== 0)
    throw new LayoutError(
      `the thread-local segment has ${block.memorySize} bytes, expected a multiple of ${alignment}`,
    );
  const own = { ...image.threadLocal, memorySize: image.threadLocalSize };
  const start = atEnd ? block.fileSize - own.memorySize : 0;
  const found = content(elf, block).subarray(start, start + own.memorySize);
  if (start < 0 || !found.equals(content(image.elf, own)))
    throw new LayoutError(
      `Bun's thread-local block is not at the ${fixedEnd} of the segment`,
    );
}

function linkedLoad(elf: Elf, { address, flags, memorySize }: Segment) {
  const load = segmentsOf(elf, "load").find(
    (candidate) => candidate.address === address,
  );
  if (load?.flags !== flags || load.fileSize !== memorySize)
    throw new LayoutError(`Bun's segment at ${hex(address)} is not there`);
  return load;
}

/** A segment's bytes in memory. They are copied only where zeros follow, because segments are large. */
function content(
  { bytes }: Elf,
  { offset, fileSize, memorySize }: Segment,
): Buffer {
  if (memorySize === fileSize)
    return Buffer.from(bytes.buffer, bytes.byteOffset + offset, fileSize);
  const copy = Buffer.alloc(memorySize);
  copy.set(bytes.subarray(offset, offset + fileSize));
  return copy;
}
