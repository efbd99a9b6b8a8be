/** Programs of Debian that must not be installed here, because they would replace this machine's own init. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
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
  return unpackWith((path) => download(names, path, process.env), names);
}

/**
 * The same for another architecture, as Debian calls it, of which this machine learns nothing: what there
 * is for it is only known in a directory that is removed again.
 */
export function unpackFor(
  architecture: string,
  ...names: readonly string[]
): Unpacked {
  const state = mkdtempSync(join(tmpdir(), "sysmgr-apt-"));
  try {
    for (const name of ["lists/partial", "cache/archives/partial"])
      mkdirSync(join(state, name), { recursive: true });
    writeFileSync(join(state, "status"), "");
    const configuration = join(state, "apt.conf");
    writeFileSync(
      configuration,
      [
        `APT::Architecture "${architecture}";`,
        `#clear APT::Architectures;`,
        `APT::Architectures { "${architecture}"; };`,
        `Dir::State "${state}";`,
        `Dir::State::Lists "${state}/lists";`,
        `Dir::State::status "${state}/status";`,
        `Dir::Cache "${state}/cache";\n`,
      ].join("\n"),
    );
    const env = { ...process.env, APT_CONFIG: configuration };
    return unpackWith((path) => download(names, path, env), names);
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

function unpackWith(
  downloadTo: (path: string) => string | undefined,
  names: readonly string[],
): Unpacked {
  const path = mkdtempSync(join(tmpdir(), "sysmgr-packages-"));
  const problem =
    Bun.which("apt-get") === null || Bun.which("dpkg") === null
      ? `${names[0]} is only tested on Debian`
      : downloadTo(path);
  return {
    path,
    problem,
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

type Environment = Readonly<Record<string, string | undefined>>;

function download(
  names: readonly string[],
  path: string,
  env: Environment,
): string | undefined {
  const command = ["apt-get", "-qq", "download", ...names];
  // A machine that has installed nothing yet does not know what there is.
  const update = ["apt-get", "-qq", "update"];
  if (
    !runs(command, path, env) &&
    !(runs(update, path, env) && runs(command, path, env))
  )
    return `${names[0]} cannot be downloaded with apt-get`;
  for (const name of readdirSync(path).filter((each) => each.endsWith(".deb")))
    if (!runs(["dpkg", "--extract", name, "."], path, env))
      return `${name} cannot be unpacked`;
  return undefined;
}

function runs(
  command: readonly string[],
  cwd: string,
  env: Environment,
): boolean {
  const { success } = Bun.spawnSync([...command], {
    cwd,
    env,
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
