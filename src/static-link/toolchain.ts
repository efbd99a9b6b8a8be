/** Finds and runs the tools and archives of the build host that a static link needs. */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { type Machine, isHost } from "./machines.ts";

/** A tool or an archive is missing, or a tool has failed. */
export class ToolchainError extends Error {
  override name = "ToolchainError";
}

export interface Toolchain {
  readonly compiler: string;
  readonly assembler: string;
  readonly linker: string;
  /** libm, libc and the compiler's own archives. */
  readonly archives: readonly string[];
}

/** Milliseconds, far more than the slowest host needs: a tool that hangs must not stop a build for ever. */
const TOOL_TIMEOUT = 10 * 60_000;

const ARCHIVES = ["libm.a", "libc.a", "libgcc.a", "libgcc_eh.a"];

/**
 * Finds everything for a machine through its gcc.
 * @throws ToolchainError whose message is one line and says what to install.
 */
export function findToolchain(machine: Machine): Toolchain {
  const compiler = isHost(machine) ? "gcc" : `${machine.crossPrefix}gcc`;
  const target = answer(machine, compiler, "-dumpmachine");
  if (target.includes("musl"))
    throw new ToolchainError(
      `${compiler} makes programs for musl, but Bun needs glibc: build on another system or with --dynamic`,
    );
  const linker = answer(machine, compiler, "-print-prog-name=ld");
  if (!answer(machine, linker, "--version").startsWith("GNU ld"))
    throw new ToolchainError(
      `${linker} is not GNU ld, which a static build needs: install binutils or build with --dynamic`,
    );
  return {
    compiler,
    assembler: answer(machine, compiler, "-print-prog-name=as"),
    linker,
    archives: ARCHIVES.map((name) => findArchive(machine, compiler, name)),
  };
}

/**
 * Runs a tool in a directory and returns what it wrote to standard error.
 * @throws ToolchainError with that text if it fails.
 */
export function runTool(command: string[], directory: string): string {
  const { exitCode, stderr } = run(command, directory);
  if (exitCode !== 0)
    throw new ToolchainError(`${command.join(" ")}: failed\n${stderr}`);
  return stderr;
}

/** gcc answers the bare name when it does not know a file. */
function findArchive(machine: Machine, compiler: string, name: string): string {
  const path = answer(machine, compiler, `-print-file-name=${name}`);
  if (!isAbsolute(path) || !existsSync(path)) throw missing(machine, name);
  return path;
}

function answer(machine: Machine, tool: string, question: string): string {
  if (!Bun.which(tool)) throw missing(machine, tool);
  const { exitCode, stdout } = run([tool, question]);
  if (exitCode !== 0) throw new ToolchainError(`${tool} ${question}: failed`);
  return stdout.trim();
}

function missing(machine: Machine, what: string): ToolchainError {
  const packages = isHost(machine)
    ? machine.packages.native
    : machine.packages.cross;
  return new ToolchainError(
    `static build for ${machine.name} needs gcc, GNU ld and libc.a of glibc, but ${what} was not found: ` +
      `install them (${packages}) or build with --dynamic`,
  );
}

function run(
  command: string[],
  directory = ".",
): { exitCode: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    cwd: directory,
    // The linker's warnings are compared with English text.
    env: { ...process.env, LC_ALL: "C" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: TOOL_TIMEOUT,
  });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}
