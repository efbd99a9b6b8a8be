/** Programs of Debian that must not be installed here, because they would replace this machine's own init. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Packages unpacked into a directory of their own, which is removed when it is disposed of. */
export interface Unpacked extends Disposable {
  readonly path: string;
  /** Why they are not there; undefined where they are. */
  readonly problem: string | undefined;
}

/** Downloads packages and unpacks them, so that nothing of them is installed. */
export function unpack(...names: readonly string[]): Unpacked {
  const path = mkdtempSync(join(tmpdir(), "sysmgr-packages-"));
  const problem =
    Bun.which("apt-get") === null || Bun.which("dpkg") === null
      ? `${names[0]} is only tested on Debian`
      : download(names, path);
  return {
    path,
    problem,
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

function download(names: readonly string[], path: string): string | undefined {
  const command = ["apt-get", "-qq", "download", ...names];
  // A machine that has installed nothing yet does not know what there is.
  const update = ["apt-get", "-qq", "update"];
  if (!runs(command, path) && !(runs(update, path) && runs(command, path)))
    return `${names[0]} cannot be downloaded with apt-get`;
  for (const name of readdirSync(path).filter((each) => each.endsWith(".deb")))
    if (!runs(["dpkg", "--extract", name, "."], path))
      return `${name} cannot be unpacked`;
  return undefined;
}

function runs(command: readonly string[], cwd: string): boolean {
  const { success } = Bun.spawnSync([...command], {
    cwd,
    stdio: ["ignore", "ignore", "ignore"],
  });
  return success;
}

/** Why a program cannot be used here; undefined where it can. */
export function lacks(...programs: readonly string[]): string | undefined {
  const missing = programs.filter(
    (name) => Bun.which(name) === null && !existsSync(name),
  );
  return missing.length > 0 ? `${missing.join(", ")} not installed` : undefined;
}
