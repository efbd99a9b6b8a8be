/** Where the benchmark has its programs and its stages, and how all of it goes away. */
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { staticLink } from "../../src/static-link/link.ts";

const SOURCES = join(import.meta.dir, "programs");
/** A file system in memory, as /run is one. */
const MEMORY = "/dev/shm";
const LINKS = ["svctl", "sysmgr-depends"];

export class Workshop implements AsyncDisposable {
  readonly #programs = mkdtempSync(join(tmpdir(), "sysmgr-bench-"));
  readonly #stages = mkdtempSync(join(stageParent(), "sysmgr-bench-"));
  readonly #open = new Set<AsyncDisposable>();

  /** Compiles a C program of the benchmark. */
  async compile(name: string): Promise<string> {
    const output = join(this.#programs, name);
    const flags = ["-O2", "-static", "-o", output];
    await run(["cc", ...flags, join(SOURCES, `${name}.c`)]);
    return output;
  }

  /** Compiles a program of the benchmark in the way sysmgr is compiled. */
  async compileForBun(
    name: string,
    form: "static" | "dynamic",
  ): Promise<string> {
    const output = join(this.#programs, `${name}-${form}`);
    const compiled = form === "static" ? `${output}.compiled` : output;
    await run([
      process.execPath,
      "build",
      "--compile",
      "--production",
      "--minify",
      "--bytecode",
      "--format=esm",
      "--splitting",
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      "--no-compile-autoload-tsconfig",
      "--no-compile-autoload-package-json",
      "--compile-exec-argv=--disallow-code-generation-from-strings=strict",
      join(SOURCES, `${name}.ts`),
      `--outfile=${compiled}`,
    ]);
    if (form === "static") {
      staticLink({ input: compiled, output, workDirectory: this.#programs });
      rmSync(compiled);
    }
    return output;
  }

  /**
   * Copies a binary that is sysmgr under all its names, so that it shares no memory with one that is used
   * elsewhere and is not replaced meanwhile.
   * @returns the directory of the copy.
   */
  copySysmgr(binary: string): string {
    const directory = join(this.#programs, "dist");
    mkdirSync(directory);
    copyFileSync(binary, join(directory, "sysmgr"));
    for (const link of LINKS) symlinkSync("sysmgr", join(directory, link));
    return directory;
  }

  /** A new directory for a stage. */
  directory(): string {
    return mkdtempSync(join(this.#stages, "stage-"));
  }

  /** What has to be closed before the directories can go. */
  adopt(stage: AsyncDisposable): void {
    this.#open.add(stage);
  }

  release(stage: AsyncDisposable): void {
    this.#open.delete(stage);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.#open].map((stage) => stage[Symbol.asyncDispose]()),
    );
    for (const directory of [this.#programs, this.#stages])
      rmSync(directory, { recursive: true, force: true });
  }
}

/** Where services and state files are: in memory, where there is such a place. */
export function stageParent(): string {
  try {
    accessSync(MEMORY, constants.W_OK);
    return MEMORY;
  } catch {
    return tmpdir();
  }
}

async function run(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0)
    throw new Error(`${command.join(" ")} failed:\n${output.join("")}`);
}
