/** Archives whose bytes depend on nothing but what is in them: made by the system's tar and xz. */
import { readFileSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { ReleaseError } from "./error.ts";

/** How an archive is made. */
export interface Packing {
  /** The time of last change of everything in it, in seconds since 1970. */
  readonly epoch: number;
  /**
   * How hard xz tries, 0 to 9. 6 is what a release has: 9 would save 4 % and take 65 MB of memory to unpack,
   * which small machines do not have.
   */
  readonly preset: number;
}

/**
 * Blocks are compressed side by side, which takes half the time and makes an archive 1 % larger. They are the
 * same whatever the number of processors, as long as there is more than one thread.
 */
const BLOCK_SIZE = "32MiB";

/** Settings of the caller's, and his language, must not find their way into an archive. */
const NEUTRAL = {
  TAR_OPTIONS: "",
  XZ_DEFAULTS: "",
  XZ_OPT: "",
  LC_ALL: "C",
  TZ: "UTC",
};

/** @throws ReleaseError where a tool is missing, or not the one whose options are used. */
export async function checkTools(): Promise<void> {
  for (const tool of ["tar", "xz"])
    if (Bun.which(tool) === null)
      throw new ReleaseError(`needs ${tool}, which is not installed`);
  const version = await run(["tar", "--version"]);
  if (!version.includes("GNU tar"))
    throw new ReleaseError("needs GNU tar, for --sort and --mtime");
}

/**
 * Packs a directory as it is called, from `directory` to `output`, which is a .tar.xz.
 * @throws ReleaseError
 */
export async function pack(
  directory: string,
  output: string,
  { epoch, preset }: Packing,
): Promise<void> {
  const plain = output.replace(/\.xz$/, "");
  try {
    await run([
      "tar",
      "--create",
      `--file=${plain}`,
      `--directory=${dirname(directory)}`,
      "--format=ustar",
      "--sort=name",
      `--mtime=@${epoch}`,
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      basename(directory),
    ]);
    // Blocks of a size that is said, so that it does not depend on the number of threads. Busybox checks
    // only CRC32.
    const blocks = ["--threads=2", `--block-size=${BLOCK_SIZE}`];
    await run(["xz", `-${preset}`, ...blocks, "--check=crc32", plain]);
  } finally {
    rmSync(plain, { force: true });
  }
}

/** The line of a file for `sha256sum --check`. */
export function checksumLine(path: string, name: string): string {
  const hash = new Bun.CryptoHasher("sha256").update(readFileSync(path));
  return `${hash.digest("hex")}  ${name}\n`;
}

/**
 * Runs a command and gives what it prints.
 * @throws ReleaseError with what it says where it fails.
 */
export async function run(command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], {
    env: { ...process.env, ...NEUTRAL },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [output, errors, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (code === 0) return output;
  throw new ReleaseError(
    `${command[0]} failed with exit code ${code}: ${errors.trim()}`,
  );
}
