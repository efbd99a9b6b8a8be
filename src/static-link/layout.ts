/** Where Bun's segments are, checked line by line: another layout must not be linked by guessing. */
import { LayoutError, hex } from "./bytes.ts";
import {
  type Elf,
  FILE_TYPE,
  SEGMENT_FLAG,
  SEGMENT_TYPE,
  type Segment,
  segmentsOf,
} from "./elf.ts";
import { type Machine, machineByNumber } from "./machines.ts";

/** The segments that are loaded: read-only, code, data. */
export type Loads = readonly [Segment, Segment, Segment];

/** No process may map memory below this address (vm.mmap_min_addr). */
const LOWEST_ADDRESS = 0x10000;

/** The machine that a program is for. Throws LayoutError if it is another one or unknown, or the program has no fixed addresses. */
export function checkMachine(elf: Elf, expected: Machine | undefined): Machine {
  const machine = machineByNumber(elf.machine);
  if (!machine)
    throw new LayoutError(`machine ${elf.machine} is not supported`);
  if (expected && machine !== expected)
    throw new LayoutError(
      `it is for ${machine.name}, expected ${expected.name}`,
    );
  if (elf.type === FILE_TYPE.shared)
    throw new LayoutError(
      "it is position independent (ET_DYN), expected fixed addresses (ET_EXEC)",
    );
  if (elf.type !== FILE_TYPE.executable)
    throw new LayoutError(`ELF file type is ${elf.type}, expected ET_EXEC`);
  return machine;
}

/** Throws LayoutError if the program has segments of unknown purpose, or another loader than glibc's. */
export function checkSegmentTypes(elf: Elf): void {
  const known: readonly number[] = Object.values(SEGMENT_TYPE);
  for (const { type } of elf.segments)
    if (!known.includes(type))
      throw new LayoutError(`unknown program header type ${hex(type)}`);
  const { offset, fileSize } = onlySegment(elf, "interpreter");
  const path = Buffer.from(elf.bytes.subarray(offset, offset + fileSize))
    .toString("latin1")
    .replace(/\0$/, "");
  if (!/^\/[\w./-]*\/ld-linux[\w.-]*$/.test(path))
    throw new LayoutError(
      `its loader is ${JSON.stringify(path)}, expected that of glibc`,
    );
}

/** The one segment of a type. Throws LayoutError if there is none or another one. */
export function onlySegment(
  elf: Elf,
  type: "dynamic" | "interpreter" | "threadLocal",
): Segment {
  const [segment, ...more] = segmentsOf(elf, type);
  if (!segment || more.length > 0)
    throw new LayoutError(
      `${segment ? "several" : "no"} ${type} segments, expected one`,
    );
  return segment;
}

/** The three loaded segments. Throws LayoutError if there are others, or they are out of order. */
export function checkLoads(elf: Elf, { pageSize }: Machine): Loads {
  const [constants, code, data, ...more] = segmentsOf(elf, "load");
  if (!constants || !code || !data || more.length > 0)
    throw new LayoutError("it has not exactly three loaded segments");
  const { read, write, execute } = SEGMENT_FLAG;
  if (
    constants.flags !== read ||
    code.flags !== (read | execute) ||
    data.flags !== (read | write)
  )
    throw new LayoutError("its loaded segments are not R, RX, RW");
  // One page more is needed below the first one.
  let free = LOWEST_ADDRESS + pageSize;
  for (const { address, offset, memorySize } of [constants, code, data]) {
    if (address < free)
      throw new LayoutError(
        `the segment at ${hex(address)} is below ${hex(free)}`,
      );
    if ((address - offset) % pageSize !== 0)
      throw new LayoutError(
        `address ${hex(address)} and offset ${hex(offset)} of a segment are not congruent`,
      );
    free = address + memorySize;
  }
  return [constants, code, data];
}

/** The thread-local segment. Throws LayoutError if its alignment is beyond what the linked one can have. */
export function checkThreadLocal(elf: Elf, machine: Machine): Segment {
  const segment = onlySegment(elf, "threadLocal");
  const most = machine.threadLocal.alignment;
  if (segment.alignment < 1 || most % segment.alignment !== 0)
    throw new LayoutError(
      `the thread-local segment has alignment ${segment.alignment}, expected a divisor of ${most}`,
    );
  return segment;
}
