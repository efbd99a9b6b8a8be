/** Runs what a build consists of. */
import { join } from "node:path";

/** The message is what is told to who builds. */
export class BuildError extends Error {}

/** The directory of the whole project. */
export const ROOT = join(import.meta.dir, "../..");

/**
 * Runs a command to its end and returns what it wrote to standard output.
 * @throws BuildError with what it wrote to standard error if it fails.
 */
export async function run(command: string[], cwd = ROOT): Promise<string> {
  const child = Bun.spawn(command, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [output, errors, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (code === 0) return output;
  throw new BuildError(
    `${command.slice(0, 2).join(" ")} failed with exit code ${code}\n${errors.trim()}`,
  );
}
