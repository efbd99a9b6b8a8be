/** Bun's own executable for another machine, as the npm registry has it. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import lock from "../../bun.lock";
import type { Machine } from "../static-link/machines.ts";
import { BuildError, ROOT, run } from "./command.ts";

const CACHE = join(ROOT, "node_modules/.cache/sysmgr");

/**
 * Where Bun's executable for a machine lies, of the version that builds; it is fetched if it was not before.
 * @param cache where it is kept.
 * @throws BuildError whose message is one line if it cannot be had.
 */
export async function bunExecutable(
  machine: Machine,
  cache = CACHE,
): Promise<string> {
  const executable = placeOf(machine, cache);
  if (existsSync(executable)) return executable;

  const directory = directoryOf(machine, cache);
  mkdirSync(cache, { recursive: true });
  const unfinished = mkdtempSync(join(cache, "unfinished-"));
  try {
    await fetchInto(unfinished, machine);
    rmSync(directory, { recursive: true, force: true });
    renameSync(unfinished, directory);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  if (existsSync(executable)) return executable;
  throw unavailable(machine, "bin/bun is not in the package");
}

/** Where it lies if it was fetched before. */
export function fetchedBunExecutable(machine: Machine): string | undefined {
  const executable = placeOf(machine, CACHE);
  return existsSync(executable) ? executable : undefined;
}

function placeOf(machine: Machine, cache: string): string {
  const modules = join(directoryOf(machine, cache), "node_modules");
  return join(modules, machine.bunPackage, "bin/bun");
}

function directoryOf(machine: Machine, cache: string): string {
  return join(cache, `bun-${Bun.version}-${machine.name}`);
}

/**
 * Installs the package alone into a project of its own, which says of it what the lock file of this one
 * says: so what comes is compared with a checksum that is in the repository.
 */
async function fetchInto(directory: string, machine: Machine): Promise<void> {
  const { bunPackage } = machine;
  const locked = lock.packages[bunPackage];
  if (locked?.[0] !== `${bunPackage}@${Bun.version}`)
    throw unavailable(machine, `bun.lock has ${locked?.[0] ?? "none"}`);
  const dependencies = { [bunPackage]: Bun.version };
  const { lockfileVersion } = lock;
  const files = {
    "package.json": { dependencies },
    "bun.lock": {
      lockfileVersion,
      workspaces: { "": { dependencies } },
      packages: { [bunPackage]: locked },
    },
  };
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(directory, name), JSON.stringify(content));
  const flags = "install --frozen-lockfile --ignore-scripts --no-progress";
  const platform = ["--os=linux", `--cpu=${machine.hostArch}`];
  try {
    await run([process.execPath, ...flags.split(" "), ...platform], directory);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    const lines = error.message.split("\n");
    const reason = lines.find((line) => line.startsWith("error: "));
    throw unavailable(machine, reason ?? lines.at(-1) ?? "");
  }
}

function unavailable({ name, bunPackage }: Machine, reason: string): Error {
  return new BuildError(
    `Bun for ${name} cannot be had (npm package ${bunPackage}@${Bun.version}): ${reason}`,
  );
}
