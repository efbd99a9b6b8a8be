/** What Bun takes from the C library, and where each of it is to come from in the static program. */
import { LayoutError, hex } from "./bytes.ts";
import { type ElfSymbol, THREAD_LOCAL_TYPE, WEAK_BINDING } from "./dynamic.ts";
import type { Relocation } from "./elf.ts";
import { type BunImage, locate } from "./image.ts";

/** A word in Bun's data that gets the address of a function or object, or of a place in Bun itself. */
export interface Binding {
  readonly place: number;
  /** Without a symbol, the addend is the address. */
  readonly symbol?: string;
  readonly addend: number;
}

export interface Imports {
  readonly bindings: readonly Binding[];
  /** Variables of the C library that Bun has in its own data; the library has to use those. */
  readonly variables: ReadonlyMap<string, number>;
  /** Functions that may be missing: Bun tests their address before it calls them. */
  readonly weak: ReadonlySet<string>;
}

/** Functions that shim.c replaces for Bun only, as libc and the shim need the real ones. */
const REPLACED = new Map([
  ["execve", "shim_execve"],
  ["open", "shim_open"],
  ["open64", "shim_open"],
  ["openat", "shim_openat"],
  ["pthread_getattr_np", "shim_pthread_getattr_np"],
  ["setrlimit", "shim_setrlimit"],
]);

/** Without these the shim would have no effect. */
const NECESSARY =
  "__libc_start_main dlopen dlsym execve openat pthread_getattr_np setrlimit";

/** With one of these Bun could do behind the shim's back what the shim is there for. */
const BYPASSING =
  "dlmopen dlvsym execl execle execlp execv execveat execvp execvpe fexecve " +
  "openat64 popen posix_spawn posix_spawnp prlimit prlimit64 setrlimit64 system";

/** Standard streams, and the object that each points to at start. */
export const STREAMS = new Map([
  ["stdin", "_IO_2_1_stdin_"],
  ["stdout", "_IO_2_1_stdout_"],
  ["stderr", "_IO_2_1_stderr_"],
]);

/** The names under which libc knows the environment. */
export const ENVIRONMENT_NAMES = ["environ", "__environ", "_environ"];

const HARMLESS_WEAK =
  /^(__gmon_start__|__cxa_finalize|_ITM_\w+|ZSTD_trace_\w+)$/;

/**
 * Decides for every relocation what its word is bound to.
 * @throws LayoutError for whatever is not known to work, such as a new kind of relocation.
 */
export function readImports(image: BunImage): Imports {
  const bindings: Binding[] = [];
  const variables = new Map<string, number>();
  const weak = new Set<string>();
  const names = new Set<string>();
  checkPlaces(image);
  for (const relocation of image.dynamic.relocations) {
    const symbol = image.dynamic.symbol(relocation.symbol);
    checkSymbol(symbol);
    if (relocation.type === image.machine.relocation.copy) {
      checkVariable(relocation, symbol);
      variables.set(symbol.name, relocation.place);
      continue;
    }
    const binding = bind(image, relocation, symbol);
    bindings.push(binding);
    if (binding.symbol === undefined) continue;
    names.add(symbol.name);
    if (symbol.binding === WEAK_BINDING) weak.add(symbol.name);
  }
  checkNames(names, weak);
  return { bindings, variables, weak };
}

function bind(
  image: BunImage,
  relocation: Relocation,
  symbol: ElfSymbol,
): Binding {
  const { absolute, globalData, jumpSlot } = image.machine.relocation;
  const { type, place, addend } = relocation;
  if (type !== absolute && type !== globalData && type !== jumpSlot)
    throw new LayoutError(
      `unknown relocation type ${type} against ${symbol.name}`,
    );
  // An undefined function with a value has its address taken: its entry in Bun's linkage table is its
  // address everywhere, so that comparisons hold. Only that entry's slot is bound to the function itself.
  if (symbol.section !== 0 || (symbol.value !== 0 && type !== jumpSlot)) {
    locate(image, symbol.value + addend);
    return { place, addend: symbol.value + addend };
  }
  return { place, symbol: REPLACED.get(symbol.name) ?? symbol.name, addend };
}

/** Only words in the data segment are relocated, and each once. */
function checkPlaces({ dynamic, loads: [, , data] }: BunImage): void {
  const places = dynamic.relocations.map(({ place }) => place);
  let free = data.address;
  for (const place of places.sort((a, b) => a - b)) {
    if (place < free || place + 8 > data.address + data.memorySize)
      throw new LayoutError(
        `the relocated word at ${hex(place)} is outside of the data or overlaps another one`,
      );
    free = place + 8;
  }
}

/** The names go into assembler text, so nothing but a name may be in them. */
function checkSymbol(symbol: ElfSymbol): void {
  if (!/^[A-Za-z_]\w*$/.test(symbol.name))
    throw new LayoutError(
      `${JSON.stringify(symbol.name)} is not the name of a symbol`,
    );
  if (symbol.type === THREAD_LOCAL_TYPE)
    throw new LayoutError(
      `${symbol.name} is a thread-local variable of another library`,
    );
}

function checkVariable(
  { place }: Relocation,
  { name, value }: ElfSymbol,
): void {
  if (!STREAMS.has(name) && !ENVIRONMENT_NAMES.includes(name))
    throw new LayoutError(
      `Bun has a copy of the variable ${name}, whose initial value is not known`,
    );
  if (value !== place)
    throw new LayoutError(
      `the variable ${name} is at ${hex(value)}, but copied to ${hex(place)}`,
    );
}

function checkNames(
  names: ReadonlySet<string>,
  weak: ReadonlySet<string>,
): void {
  for (const name of weak)
    if (!HARMLESS_WEAK.test(name))
      throw new LayoutError(
        `${name} is a weak import, so it would silently be missing`,
      );
  for (const name of NECESSARY.split(" "))
    if (!names.has(name))
      throw new LayoutError(
        `${name} is not imported, which the shim has to replace`,
      );
  for (const name of BYPASSING.split(" "))
    if (names.has(name))
      throw new LayoutError(
        `${name} is imported, with which Bun would bypass the shim`,
      );
}
