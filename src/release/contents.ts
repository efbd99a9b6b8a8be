/** What is in a release archive, and where it comes from. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { checksumLine } from "./archive.ts";
import { ReleaseError } from "./error.ts";
import { type MachineName, PACKAGED_AS } from "./machine.ts";

/** A file or directory of the archive, and what it is a copy of. */
interface Item {
  readonly name: string;
  readonly source: string;
}

const EXECUTABLE = 0o755;
const PLAIN = 0o644;

/** Text that packages bring along, by its name in the archive. */
const LICENSES: Readonly<Record<string, string>> = {
  citty: "node_modules/citty/LICENSE",
  consola: "node_modules/consola/LICENSE",
  "bun.md": "node_modules/bun-types/docs/project/license.mdx",
};

/**
 * Copies everything that an archive has into a new directory, whoever's umask and whatever modes in the
 * sources.
 * @param root the top of the source tree.
 * @returns what should be there and could not be found on this machine.
 * @throws ReleaseError where something is missing that the sources or their packages have.
 */
export function layOut(
  root: string,
  binary: string,
  machine: MachineName,
  directory: string,
): string[] {
  makeDirectory(directory);
  const items: Item[] = [
    { name: "sysmgr", source: binary },
    { name: "install.sh", source: join(root, "install.sh") },
    { name: "README.md", source: join(root, "README.md") },
    { name: "LICENSE", source: join(root, "LICENSE") },
    { name: "NOTICES", source: join(root, "src/release/NOTICES") },
    { name: "man", source: join(root, "src/man") },
    { name: "completions", source: join(root, "src/completions") },
    { name: "init", source: join(root, "src/init") },
    { name: "cookbook", source: join(root, "src/cookbook") },
    { name: "licenses", source: join(root, "src/release/licenses") },
    ...Object.entries(LICENSES).map(([name, path]) => ({
      name: `licenses/${name}`,
      source: join(root, path),
    })),
  ];
  // The notices of the library that was linked in, not of some other version of it.
  const glibc = PACKAGED_AS[machine].map((each) => `/usr/share/doc/${each}`);
  const notices = glibc.find((each) => existsSync(`${each}/copyright`));
  if (notices !== undefined)
    items.push({ name: "licenses/glibc", source: `${notices}/copyright` });
  for (const { name, source } of items) {
    if (!existsSync(source)) throw new ReleaseError(`${source}: not there`);
    copy(source, join(directory, name));
  }
  chmodSync(join(directory, "sysmgr"), EXECUTABLE);
  chmodSync(join(directory, "install.sh"), EXECUTABLE);
  writeSums(directory);
  return notices === undefined
    ? [`the notices of the C library (${glibc.join(" or ")})`]
    : [];
}

/** So that what was unpacked from a bad stick or disk can be checked: SHA256SUMS, of every file. */
function writeSums(directory: string): void {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(directory, name)).isFile())
    .sort();
  const lines = names.map((name) => checksumLine(join(directory, name), name));
  const sums = join(directory, "SHA256SUMS");
  writeFileSync(sums, lines.join(""));
  chmodSync(sums, PLAIN);
}

function copy(source: string, target: string): void {
  const status = statSync(source);
  if (status.isDirectory()) {
    makeDirectory(target);
    for (const name of readdirSync(source))
      copy(join(source, name), join(target, name));
    return;
  }
  makeDirectory(dirname(target));
  copyFileSync(source, target);
  chmodSync(target, status.mode & 0o100 ? EXECUTABLE : PLAIN);
}

function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(path);
  chmodSync(path, EXECUTABLE);
}
