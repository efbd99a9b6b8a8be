/** What a computer needs that is not built here: a kernel, and a busybox where this machine's is not for it. */
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Computer } from "./computers.ts";

/** Of this machine. */
export const BUSYBOX = "/bin/busybox";
const MODULES = [
  "virtio",
  "virtio_blk",
  "virtio_pci",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_ring",
];
const OWN_USER = process.geteuid?.() ?? 0;

export interface Kernel {
  readonly image: string;
  readonly modules: readonly string[];
}

/** What is downloaded is kept for the next time; nothing is installed. */
function keptFor({ machine }: Computer): string {
  return join(tmpdir(), `sysmgr-kernel-${machine}-${OWN_USER}`);
}

/** The kernel that was fetched, or the one that is to be taken instead. */
export function keptKernel(computer: Computer): Kernel {
  const kept = keptFor(computer);
  const modules = MODULES.map((name) => join(kept, `${name}.ko`));
  return {
    image: computer.kernel ?? join(kept, "vmlinuz"),
    modules: modules.filter(existsSync),
  };
}

/** The static busybox for a computer. */
export function busyboxOf(
  computer: Computer,
  kept = keptFor(computer),
): string {
  return isOther(computer) ? join(kept, "busybox") : BUSYBOX;
}

function isOther({ machine }: Computer): boolean {
  return machine !== process.arch;
}

/** Makes sure that there are a kernel and a busybox. @returns why not; undefined when there are. */
export function fetchKernel(computer: Computer): string | undefined {
  const kept = keptFor(computer);
  const status = statSync(kept, { throwIfNoEntry: false });
  if (status !== undefined)
    return status.uid === OWN_USER ? undefined : `${kept} is somebody else's`;
  const { kernelPackage } = computer;
  using newest = computer.unpack(kernelPackage);
  if (newest.problem !== undefined) return newest.problem;
  const [archive] = readdirSync(newest.path).filter((name) =>
    name.endsWith(".deb"),
  );
  const field = ["dpkg-deb", "--field", archive ?? "", "Depends"];
  const depends = Bun.spawnSync(field, { cwd: newest.path }).stdout.toString();
  const [name] = depends.match(/[^ ,]+/) ?? [];
  if (name === undefined) return `${kernelPackage} names no kernel`;
  const busybox = isOther(computer) ? ["busybox-static"] : [];
  using all = computer.unpack(name, ...busybox);
  return all.problem ?? keep(all.path, computer);
}

function keep(unpacked: string, computer: Computer): string | undefined {
  const temporary = mkdtempSync(`${keptFor(computer)}-`);
  try {
    for (const file of new Bun.Glob("**").scanSync(unpacked)) {
      const module = /([^/]+)\.ko(\.xz)?$/.exec(file);
      const from = join(unpacked, file);
      if (basename(file).startsWith("vmlinuz-"))
        cpSync(from, join(temporary, "vmlinuz"));
      else if (/(^|\/)bin\/busybox$/.test(file))
        cpSync(from, join(temporary, "busybox"));
      else if (module?.[1] !== undefined && MODULES.includes(module[1]))
        takeModule(from, join(temporary, `${module[1]}.ko`));
    }
    for (const path of [
      join(temporary, "vmlinuz"),
      busyboxOf(computer, temporary),
    ])
      if (!existsSync(path))
        return `there is no ${basename(path)} in what was downloaded`;
    renameSync(temporary, keptFor(computer));
    return undefined;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Newer kernels have their modules compressed. */
function takeModule(from: string, to: string): void {
  if (from.endsWith(".xz"))
    writeFileSync(to, Bun.spawnSync(["xz", "-dc", from]).stdout);
  else cpSync(from, to);
}
