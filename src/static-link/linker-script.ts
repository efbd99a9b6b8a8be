/** Writes the linker script: Bun's segments where they were, the C library above them. */
import { hex } from "./bytes.ts";
import type { BunImage } from "./image.ts";
import type { Machine } from "./machines.ts";

/**
 * The script for GNU ld. `bunObject` is the name under which ld gets the object with Bun's segments.
 *
 * The headers get a page of their own below Bun: without a section in that segment ld would put it at
 * address 0, which only root may map. libc is above Bun, because the heap follows its data and must not
 * run into Bun.
 */
export function linkerScript(image: BunImage, bunObject: string): string {
  const { machine, loads } = image;
  const page = hex(machine.pageSize);
  const addresses = loads.map((load) => hex(load.address));
  return `ENTRY(_start)
PHDRS
{
  headers PT_LOAD FILEHDR PHDRS FLAGS(4);
  bun0 PT_LOAD FLAGS(4);
  bun1 PT_LOAD FLAGS(5);
  bun2 PT_LOAD FLAGS(6);
  code PT_LOAD FLAGS(5);
  constants PT_LOAD FLAGS(4);
  data PT_LOAD FLAGS(6);
  tls PT_TLS FLAGS(4);
  relro PT_GNU_RELRO FLAGS(4);
  unwind PT_GNU_EH_FRAME FLAGS(4);
  stack PT_GNU_STACK FLAGS(6);
}
SECTIONS
{
  . = ${hex(loads[0].address - machine.pageSize)} + SIZEOF_HEADERS;
  .headers : { BYTE(0) } :headers
${addresses.map((address, i) => `  .bun${i} ${address} : { *(.bun${i}) } :bun${i}`).join("\n")}

  . = ALIGN(${page}) + 0x10000;
  .text : { *(.text .text.* __libc_freeres_fn) } :code
  .iplt : { *(.plt .plt.* .iplt) } :code

  . = ALIGN(${page});
  .rodata : { *(.rodata .rodata.*) } :constants
  .rela.iplt : { ${bracketed("__rela_iplt_start", "__rela_iplt_end", "*(.rela.plt .rela.iplt)")} } :constants
  .rela.dyn : { *(.rela.* .rela__libc_*) } :constants
  .eh_frame_hdr : { *(.eh_frame_hdr) } :constants :unwind
  .eh_frame : { KEEP(*(.eh_frame .eh_frame.*)) } :constants
  .gcc_except_table : { *(.gcc_except_table .gcc_except_table.*) } :constants
  .stapsdt.base : { *(.stapsdt.base) } :constants

  . = DATA_SEGMENT_ALIGN(${page}, ${page});
  .tdata : ALIGN(${machine.threadLocal.alignment}) { ${threadLocal(image, bunObject)} } :data :tls :relro
${["preinit_array", "init_array", "fini_array"].map(functionArray).join("\n")}
  .data.rel.ro : { *(.data.rel.ro .data.rel.ro.*) } :data :relro
${["__libc_subfreeres", "__libc_atexit", "__libc_IO_vtables"].map(librarySet).join("\n")}
  .got : { *(.got .igot .got.plt .igot.plt) } :data :relro
  . = DATA_SEGMENT_RELRO_END(0, .);
  .data : { *(.data .data.*) } :data
  .bss : { *(.bss .bss.* COMMON __libc_freeres_ptrs) } :data
  . = DATA_SEGMENT_END(.);
  _end = .;
  PROVIDE(end = .);
  /DISCARD/ : { *(.note.* .comment .gnu.warning.* .gnu.build.attributes* .annobin.* .debug_* .sframe) }
}
${addresses.map((address, i) => `ASSERT(ADDR(.bun${i}) == ${address}, "segment ${i} of Bun has moved")`).join("\n")}
ASSERT(SIZEOF(.rela.dyn) == 0, "relocations are left for run time")
${threadLocalAssertion(machine)}
`;
}

/**
 * Bun reaches its thread-local block by constants from the thread pointer, so one end of it has to stay where it
 * was. The other blocks go to the other side, and take up room in the file even if they are only zeros: zeros
 * behind Bun's block would move it.
 */
function threadLocal(
  { machine, threadLocalSize }: BunImage,
  bunObject: string,
): string {
  const { alignment, fixedEnd } = machine.threadLocal;
  const bun = `${bunObject}(.tdata.bun)`;
  const others = `*(EXCLUDE_FILE(${bunObject}) .tdata EXCLUDE_FILE(${bunObject}) .tdata.*) *(.tbss .tbss.*)`;
  const padding = `. += (${alignment} - (. + ${threadLocalSize}) % ${alignment}) % ${alignment};`;
  return fixedEnd === "end"
    ? `${others} ${padding} ${bun}`
    : `${bun} ${others}`;
}

function threadLocalAssertion({
  threadLocal: { alignment, fixedEnd },
}: Machine): string {
  const aligned = `ALIGNOF(.tdata) <= ${alignment}`;
  return fixedEnd === "end"
    ? `ASSERT(SIZEOF(.tdata) % ${alignment} == 0 && ${aligned}, "Bun's thread-local block does not end at the thread pointer")`
    : `ASSERT(${aligned}, "Bun's thread-local block does not start behind the thread pointer")`;
}

function functionArray(name: string): string {
  const ordered = `KEEP(*(SORT_BY_INIT_PRIORITY(.${name}.*))) KEEP(*(.${name}))`;
  return `  .${name} : { ${bracketed(`__${name}_start`, `__${name}_end`, ordered)} } :data :relro`;
}

/** Sections of libc that it walks itself; stdio aborts if it does not find its tables between these symbols. */
function librarySet(name: string): string {
  return `  ${name} : { PROVIDE(__start_${name} = .); KEEP(*(${name})) PROVIDE(__stop_${name} = .); } :data :relro`;
}

function bracketed(start: string, end: string, content: string): string {
  return `PROVIDE_HIDDEN(${start} = .); ${content} PROVIDE_HIDDEN(${end} = .);`;
}
