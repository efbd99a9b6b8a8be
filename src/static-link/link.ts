/**
 * Makes a static executable of a dynamic one that `bun build --compile` wrote. It needs no loader and no
 * library, and is the same program: its segments are linked, unchanged and at their addresses, with the
 * archives of the build host's C library.
 */
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { assemblerText } from "./assembler.ts";
import { LayoutError } from "./bytes.ts";
import { readBunImage } from "./image.ts";
import { readImports } from "./imports.ts";
import { linkerScript } from "./linker-script.ts";
import { MACHINES, type MachineName, isHost } from "./machines.ts";
import { ToolchainError, findToolchain, runTool } from "./toolchain.ts";
import { verifyLinked } from "./verify.ts";

export interface StaticLinkOptions {
  /** The compiled program. */
  readonly input: string;
  /** The static program. */
  readonly output: string;
  /** An existing directory for some 110 MB of temporary files, which are removed at the end. */
  readonly workDirectory: string;
  /** The C source of what must differ from a dynamic program; the one next to this file unless given. */
  readonly shim?: string;
  /** Further options for compiling it. */
  readonly shimFlags?: readonly string[];
  /** The machine that the program must be for; any known one unless given. */
  readonly machine?: MachineName;
  /** Arguments with which the result must exit with 0, tried where this host can run it. */
  readonly tryWith?: readonly string[];
}

const COMPILER_FLAGS =
  "-O2 -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables";
// A section that a newer libc brings has to be placed on purpose, hence the orphan handling.
const LINKER_FLAGS =
  "-static -nostdlib --build-id=none --strip-all --eh-frame-hdr --orphan-handling=error " +
  "-z noexecstack -z relro";
const TRY_TIMEOUT = 60_000;

/**
 * Links a compiled program statically. The output is replaced by a complete and checked one or not at all.
 * @throws LayoutError if the input is not the kind of program that is known here, or the result is not
 *   what it has to be.
 * @throws ToolchainError if a tool or an archive of the build host is missing, or a tool fails.
 */
export function staticLink(options: StaticLinkOptions): void {
  const work = mkdtempSync(join(options.workDirectory, "static-link-"));
  const unfinished = `${options.output}.unfinished`;
  try {
    link(options, work, unfinished);
    renameSync(unfinished, options.output);
  } finally {
    rmSync(unfinished, { force: true });
    rmSync(work, { recursive: true, force: true });
  }
}

function link(options: StaticLinkOptions, work: string, output: string): void {
  const { input, machine, shim, shimFlags = [] } = options;
  const [image, imports] = about(input, () => {
    const expected = machine && MACHINES[machine];
    const read = readBunImage(readFileSync(input), expected);
    return [read, readImports(read)] as const;
  });
  const tools = findToolchain(image.machine);

  // The tools run in the work directory and get plain names. So nothing has to be quoted in the texts,
  // and the result does not depend on where it was made.
  const source = shim ?? join(import.meta.dir, "shim.c");
  symlinkSync(resolve(input), join(work, "program"));
  symlinkSync(resolve(source), join(work, "shim.c"));
  writeFileSync(join(work, "bun.s"), assemblerText(image, imports, "program"));
  writeFileSync(join(work, "bun.ld"), linkerScript(image, "bun.o"));

  const { pageSize } = image.machine;
  const run = (tool: string, flags: string, ...more: string[]) =>
    runTool([tool, ...flags.split(" "), ...more], work);
  run(tools.compiler, COMPILER_FLAGS, ...shimFlags, "-c", "shim.c");
  run(tools.assembler, "bun.s -o bun.o");
  const warnings = run(
    tools.linker,
    `${LINKER_FLAGS} -z max-page-size=${pageSize} -z common-page-size=${pageSize}`,
    ...["-T", "bun.ld", "bun.o", "shim.o"],
    ...["--start-group", ...tools.archives, "--end-group"],
    ...["-o", resolve(output)],
  );
  checkWarnings(warnings);

  chmodSync(output, 0o755);
  about(options.output, () => {
    verifyLinked(readFileSync(output), image, imports);
    if (options.tryWith && isHost(image.machine))
      tryResult(resolve(output), basename(options.output), options.tryWith);
  });
}

/** Puts the file's name before what is wrong with it. */
function about<Result>(file: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof LayoutError)) throw error;
    throw new LayoutError(`${file}: ${error.message}`);
  }
}

/** ld warns that name services need shared libraries. The shim answers for those; anything else is new. */
function checkWarnings(warnings: string): void {
  const expected =
    /in statically linked applications requires at runtime the shared libraries|: in function `[^']*':$/;
  const unexpected = warnings
    .split("\n")
    .filter((line) => line !== "" && !expected.test(line));
  if (unexpected.length > 0)
    throw new ToolchainError(`ld warns:\n${unexpected.join("\n")}`);
}

function tryResult(file: string, name: string, args: readonly string[]): void {
  const { exitCode, signalCode, stderr } = Bun.spawnSync([file, ...args], {
    argv0: name,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: TRY_TIMEOUT,
  });
  if (exitCode === 0) return;
  const end = signalCode ?? `exit code ${exitCode}`;
  const command = [name, ...args].join(" ");
  throw new LayoutError(`'${command}' ends with ${end}: ${stderr}`.trim());
}
