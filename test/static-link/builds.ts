/** The fixture, compiled and linked, in a directory that goes away with it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchedBunExecutable } from "../../src/build/bun-executable.ts";
import { staticLink } from "../../src/static-link/link.ts";
import { MACHINES, isHost } from "../../src/static-link/machines.ts";

export const HOST = Object.values(MACHINES).find(isHost) ?? MACHINES["x86-64"];
export const OTHER =
  HOST === MACHINES.aarch64 ? MACHINES["x86-64"] : MACHINES.aarch64;

/** Bun's executable for the other machine, if a build for it has fetched it or a variable says where it is. */
const otherBun =
  process.env["SYSMGR_TEST_OTHER_BUN"] ?? fetchedBunExecutable(OTHER);

/** Why nothing can be compiled for the other machine; false when it can. */
export const notCompilable =
  otherBun === undefined &&
  `Bun for ${OTHER.name} was not fetched; run: bun run build --target=linux-${OTHER.hostArch}`;

/** Milliseconds that a test may take when others use the machine as well. */
export const SLOW_MACHINE = 120_000;

export class Builds implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "sysmgr-link-"));
  #compiled: string | undefined;
  #linked: string | undefined;

  at(name: string): string {
    return join(this.directory, name);
  }

  /** The dynamic program. */
  get compiled(): string {
    this.#compiled ??= this.compile("compiled");
    return this.#compiled;
  }

  /** The static program. */
  get linked(): string {
    this.#linked ??= this.link("linked", ["-Wall", "-Wextra", "-Werror"]);
    return this.#linked;
  }

  compile(name: string, flags: readonly string[] = []): string {
    const command = "build --compile --minify --bytecode --format=esm";
    const source = join(import.meta.dir, "fixture.ts");
    const { exitCode, stderr } = Bun.spawnSync([
      process.execPath,
      ...command.split(" "),
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      ...flags,
      source,
      `--outfile=${this.at(name)}`,
    ]);
    if (exitCode !== 0) throw new Error(stderr.toString());
    return this.at(name);
  }

  /** The dynamic program for the other machine. */
  compileOther(name: string): string {
    return this.compile(name, [
      `--target=bun-linux-${OTHER.hostArch}`,
      `--compile-executable-path=${otherBun}`,
    ]);
  }

  link(name: string, shimFlags: readonly string[] = []): string {
    staticLink({
      input: this.compiled,
      output: this.at(name),
      workDirectory: this.directory,
      shimFlags,
      tryWith: ["--version"],
    });
    return this.at(name);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The end of a test's name that says why it is skipped, or nothing if it is not. */
export function because(reason: string | false): string {
  return reason ? ` (skipped: ${reason})` : "";
}

/** Runs a command; what it wrote comes without the last newline. */
export function run(
  command: readonly string[],
  env: Record<string, string | undefined> = process.env,
): { code: number; out: string; err: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { env });
  const text = (bytes: Buffer) => bytes.toString().replace(/\n$/, "");
  return { code: exitCode, out: text(stdout), err: text(stderr) };
}
