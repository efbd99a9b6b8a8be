/** Writes Bun's segments as one assembler file: unchanged, with relocations for what they need of libc. */
import { hex } from "./bytes.ts";
import type { Segment } from "./elf.ts";
import { type BunImage, locate } from "./image.ts";
import { type Imports, ENVIRONMENT_NAMES, STREAMS } from "./imports.ts";

/**
 * The text for the assembler. `input` is the name under which it finds the compiled program, and is
 * written without any escaping.
 */
export function assemblerText(
  image: BunImage,
  imports: Imports,
  input: string,
): string {
  return [
    ...loadSections(image, input),
    ...boundWords(image, imports),
    ...ownVariables(image, imports),
    ...[...imports.weak].sort().map((name) => `.weak ${name}`),
    ...threadLocalSection(image, input),
    ...functionArray(image, ".init_array", image.constructors),
    ...functionArray(image, ".fini_array", image.destructors),
    ...define("_init", at(image, image.dynamic.init)),
    ...define("_fini", at(image, image.dynamic.fini)),
    ...define("_start", at(image, image.elf.entry)),
    ...relocateNothing(image),
    `.section .note.GNU-stack,"",${image.machine.typePrefix}progbits`,
    "",
  ].join("\n");
}

function loadSections(image: BunImage, input: string): string[] {
  const flags = ["a", "ax", "aw"];
  return image.loads.flatMap((load, index) => [
    `.section .bun${index},"${flags[index]}",${image.machine.typePrefix}progbits`,
    `bun${index}:`,
    ...content(load, input, load.memorySize),
  ]);
}

function boundWords(image: BunImage, imports: Imports): string[] {
  return imports.bindings.map(({ place, symbol, addend }) =>
    relocate(
      image,
      place,
      symbol === undefined
        ? at(image, addend)
        : addend === 0
          ? symbol
          : `${symbol}+(${addend})`,
    ),
  );
}

/** libc's start code sets the variables of the environment; where the streams point to is set here. */
function ownVariables(image: BunImage, imports: Imports): string[] {
  return [...imports.variables].flatMap(([name, address]) => {
    const stream = STREAMS.get(name);
    if (stream === undefined)
      return ENVIRONMENT_NAMES.flatMap((alias) =>
        define(alias, at(image, address)),
      );
    return [
      ...define(name, at(image, address)),
      relocate(image, address, stream),
    ];
  });
}

/** Bun's block of thread-local storage, as long as it is in memory. Where it goes is the linker script's matter. */
function threadLocalSection(image: BunImage, input: string): string[] {
  const { machine, threadLocal, threadLocalSize } = image;
  const align =
    machine.threadLocal.fixedEnd === "start"
      ? [`.balign ${machine.threadLocal.alignment}`]
      : [];
  return [
    `.section .tdata.bun,"awT",${machine.typePrefix}progbits`,
    ...align,
    ...content(threadLocal, input, threadLocalSize),
  ];
}

/** libc runs Bun's constructors and destructors; it does not look at Bun's own arrays. */
function functionArray(
  image: BunImage,
  section: string,
  functions: readonly number[],
): string[] {
  return [
    `.section ${section},"aw"`,
    ...functions.map((address) => `.quad ${at(image, address)}`),
  ];
}

/** Normally in crt1.o, which is not linked, since Bun brings its own start code. */
function relocateNothing(image: BunImage): string[] {
  const name = "_dl_relocate_static_pie";
  return [
    ".text",
    `.globl ${name}`,
    `${name}: ${image.machine.returnInstruction}`,
  ];
}

function content(
  { offset, fileSize }: Segment,
  input: string,
  size: number,
): string[] {
  return [
    `.incbin "${input}",${offset},${fileSize}`,
    `.zero ${size - fileSize}`,
  ];
}

function define(name: string, place: string): string[] {
  return [`.globl ${name}`, `.set ${name}, ${place}`];
}

function relocate(image: BunImage, place: number, value: string): string {
  return `.reloc ${at(image, place)}, ${image.machine.relocationName}, ${value}`;
}

function at(image: BunImage, address: number): string {
  const { index, offset } = locate(image, address);
  return `bun${index}+${hex(offset)}`;
}
