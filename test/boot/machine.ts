/** A computer in qemu, whose processor is emulated too: it needs no rights and disturbs nobody. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { readExecutable } from "../../src/release/machine.ts";
import { unpack } from "../init/packages.ts";
import { DIST } from "../integration/sandbox.ts";
import { packTree } from "./cpio.ts";

const QEMU = "qemu-system-x86_64";
const BUSYBOX = "/bin/busybox";
const GUEST = join(import.meta.dir, "guest");
const SOURCES = join(import.meta.dir, "../../src");
/** Everybody's kernel for virtual machines; it depends on the package of the current version. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const MODULES = [
  "virtio",
  "virtio_blk",
  "virtio_pci",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_ring",
];
const OWN_USER = process.geteuid?.() ?? 0;
const KEPT = join(tmpdir(), `sysmgr-kernel-${OWN_USER}`);
/** Debian's mke2fs lies where ordinary users do not look. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
/** What a root needs beside the binary, in 1 MiB blocks. */
const ROOM = 24;
const MIB = 2 ** 20;
const MILLISECONDS = 1000;

/** Where the root lies. */
export type Medium = "memory" | "disk";

/** How a machine has fared, from power on to power off. */
export interface Life {
  /** What came out of its serial port. */
  readonly console: string;
  /** What came out of the other, on which there is a login. */
  readonly terminal: string;
  /** Qemu's exit code; null when it had to be killed. */
  readonly exitCode: number | null;
  readonly seconds: number;
}

interface Kernel {
  readonly image: string;
  readonly modules: readonly string[];
}

/** Why nothing can be booted here; undefined when it can. It may have to download a kernel first. */
export function obstacle(): string | undefined {
  if (process.arch !== "x64") return "only x86-64 is booted";
  for (const program of [QEMU, "mke2fs", "setpriv", "apt-get", "dpkg-deb"])
    if (Bun.which(program, { PATH }) === null)
      return `${program} is not installed`;
  for (const file of [BUSYBOX, join(DIST, "sysmgr")]) {
    const executable = existsSync(file) ? readExecutable(file) : undefined;
    if (executable === undefined) return `there is no ${file}`;
    if (executable.dynamic) return `${file} is not static`;
  }
  return fetchKernel();
}

/** Boots a root that lies in memory or on a disk that cannot be written, and waits until it is off. */
export async function live(medium: Medium, patience: number): Promise<Life> {
  const directory = mkdtempSync(join(tmpdir(), "sysmgr-boot-"));
  try {
    const kernel = keptKernel();
    const root = join(directory, "root");
    furnish(root);
    const first = join(directory, "initrd");
    const terminal = join(directory, "terminal");
    const devices = ["-serial", "stdio", "-serial", `file:${terminal}`];
    if (medium === "memory") writeFileSync(first, packTree(root));
    else {
      const disk = join(directory, "disk");
      await makeDisk(root, disk);
      writeFileSync(first, packTree(furnishFirstRoot(directory, kernel)));
      devices.push("-drive", `file=${disk},format=raw,if=virtio,readonly=on`);
    }
    rmSync(root, { recursive: true });
    const { console, exitCode, seconds } = await run(
      [
        QEMU,
        ...["-accel", "tcg", "-cpu", "max", "-m", "512"],
        ...["-display", "none", "-monitor", "none", "-nodefaults"],
        ...["-no-reboot", "-kernel", kernel.image, "-initrd", first],
        "-append",
        "console=ttyS0 quiet panic=-1 no_timer_check",
        ...devices,
      ],
      patience,
    );
    const login = readFileSync(terminal, "utf8");
    return { console, terminal: login, exitCode, seconds };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Makes the root as somebody would who installs sysmgr by hand, with what drives the machine. */
function furnish(root: string): void {
  for (const name of ["dev", "proc", "run", "etc", "srv/www", "var/sysmgr"])
    mkdirSync(join(root, name), { recursive: true });
  furnishBusybox(root);
  symlinkSync("sbin/init", join(root, "init"));
  const put = (from: string, to: string): void => {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(from, join(root, to));
  };
  put(join(DIST, "sysmgr"), "usr/bin/sysmgr");
  for (const applet of ["svctl", "sysmgr-depends"])
    symlinkSync("sysmgr", join(root, "usr/bin", applet));
  for (const name of ["drive", "rest"])
    put(join(GUEST, name), `usr/bin/${name}`);
  for (const name of ["polite", "syslogd", "visitor", "web"])
    put(join(GUEST, name), `var/sysmgr/${name}`);
  put(join(SOURCES, "cookbook/getty"), "var/sysmgr/getty-ttyS1");
  put(join(SOURCES, "cookbook/syslogd"), "usr/share/sysmgr/cookbook/syslogd");
  put(join(SOURCES, "init/stop"), "usr/share/sysmgr/init/stop");
  writeFileSync(join(root, "srv/www/index.html"), "hello\n");
  const inittab = [
    readFileSync(join(GUEST, "inittab"), "utf8"),
    readFileSync(join(SOURCES, "init/busybox/inittab"), "utf8"),
    "::shutdown:/usr/bin/rest\n",
  ];
  writeFileSync(join(root, "etc/inittab"), inittab.join("\n"));
}

/** The first root of a machine that has another on a disk: it has no more to do than to find it. */
function furnishFirstRoot(directory: string, kernel: Kernel): string {
  const root = join(directory, "first");
  for (const name of ["dev", "disk", "modules"])
    mkdirSync(join(root, name), { recursive: true });
  furnishBusybox(root);
  cpSync(join(GUEST, "switch"), join(root, "init"));
  for (const module of kernel.modules)
    cpSync(module, join(root, "modules", basename(module)));
  return root;
}

function furnishBusybox(root: string): void {
  mkdirSync(join(root, "bin"), { recursive: true });
  cpSync(BUSYBOX, join(root, "bin/busybox"));
  const list = Bun.spawnSync([BUSYBOX, "--list-full"]).stdout.toString();
  for (const path of list.split("\n").filter(Boolean)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (path !== "bin/busybox") symlinkSync("/bin/busybox", join(root, path));
  }
}

/** Makes the image of a disk with the file system of a directory. */
async function makeDisk(root: string, image: string): Promise<void> {
  const size = Math.ceil(Bun.file(join(DIST, "sysmgr")).size / MIB) + ROOM;
  // Without what the kernel would need a module for, or would write to before it reads.
  const features = ["-O", "^metadata_csum,^has_journal"];
  const tree = ["-q", "-t", "ext4", ...features, "-d", root, image];
  await complete(["mke2fs", ...tree, `${size}M`]);
}

/** The kernel, which is downloaded once and kept for the next time; nothing is installed. */
function keptKernel(): Kernel {
  const modules = MODULES.map((name) => join(KEPT, `${name}.ko`));
  return { image: join(KEPT, "vmlinuz"), modules: modules.filter(existsSync) };
}

/** Makes sure that there is a kernel. @returns why there is none; undefined when there is. */
function fetchKernel(): string | undefined {
  const kept = statSync(KEPT, { throwIfNoEntry: false });
  if (kept !== undefined)
    return kept.uid === OWN_USER ? undefined : `${KEPT} is somebody else's`;
  using newest = unpack(KERNEL_PACKAGE);
  if (newest.problem !== undefined) return newest.problem;
  const [archive] = readdirSync(newest.path).filter((name) =>
    name.endsWith(".deb"),
  );
  const field = ["dpkg-deb", "--field", archive ?? "", "Depends"];
  const depends = Bun.spawnSync(field, { cwd: newest.path }).stdout.toString();
  const [name] = depends.match(/[^ ,]+/) ?? [];
  if (name === undefined) return `${KERNEL_PACKAGE} names no kernel`;
  using kernel = unpack(name);
  return kernel.problem ?? keepKernel(kernel.path);
}

function keepKernel(unpacked: string): string | undefined {
  const temporary = mkdtempSync(`${KEPT}-`);
  try {
    for (const file of new Bun.Glob("**").scanSync(unpacked)) {
      const module = /([^/]+)\.ko(\.xz)?$/.exec(file);
      const from = join(unpacked, file);
      if (basename(file).startsWith("vmlinuz-"))
        cpSync(from, join(temporary, "vmlinuz"));
      else if (module?.[1] !== undefined && MODULES.includes(module[1]))
        takeModule(from, join(temporary, `${module[1]}.ko`));
    }
    if (!existsSync(join(temporary, "vmlinuz")))
      return `there is no kernel in what ${KERNEL_PACKAGE} needs`;
    renameSync(temporary, KEPT);
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

interface Run {
  readonly console: string;
  readonly exitCode: number | null;
  readonly seconds: number;
}

async function run(command: readonly string[], patience: number): Promise<Run> {
  const begin = performance.now();
  const qemu = Bun.spawn(
    // Should the test be killed, so is the machine.
    ["setpriv", "--pdeathsig", "KILL", ...command],
    { stdio: ["ignore", "pipe", "pipe"], timeout: patience },
  );
  const [out, errors] = await Promise.all([
    qemu.stdout.text(),
    qemu.stderr.text(),
    qemu.exited,
  ]);
  return {
    console: `${out}${errors}`.replaceAll("\r", ""),
    exitCode: qemu.exitCode,
    seconds: (performance.now() - begin) / MILLISECONDS,
  };
}

async function complete(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], {
    env: { ...process.env, PATH },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const problem = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(problem);
}
