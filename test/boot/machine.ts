/** A computer in qemu, whose processor is emulated too: it needs no rights and disturbs nobody. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { readExecutable } from "../../src/release/machine.ts";
import { DIST } from "../integration/sandbox.ts";
import type { Computer } from "./computers.ts";
import { packTree } from "./cpio.ts";
import {
  BUSYBOX,
  type Kernel,
  busyboxOf,
  fetchKernel,
  keptKernel,
} from "./kernel.ts";

const GUEST = join(import.meta.dir, "guest");
const SOURCES = join(import.meta.dir, "../../src");
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

/** Why nothing can be booted here; undefined when it can. It may have to download a kernel first. */
export function obstacle(computer: Computer): string | undefined {
  if (process.arch !== "x64") return "only x86-64 boots others";
  const { qemu, binary } = computer;
  for (const program of [qemu, "mke2fs", "setpriv", "apt-get", "dpkg-deb"])
    if (Bun.which(program, { PATH }) === null)
      return `${program} is not installed`;
  for (const file of [BUSYBOX, join(DIST, binary)]) {
    const executable = existsSync(file) ? readExecutable(file) : undefined;
    if (executable === undefined) return `there is no ${file}`;
    if (executable.dynamic) return `${file} is not static`;
  }
  return fetchKernel(computer);
}

/** Boots a root that lies in memory or on a disk that cannot be written, and waits until it is off. */
export async function live(
  computer: Computer,
  medium: Medium,
  patience: number,
): Promise<Life> {
  const directory = mkdtempSync(join(tmpdir(), "sysmgr-boot-"));
  try {
    const kernel = keptKernel(computer);
    const root = join(directory, "root");
    furnish(root, computer);
    const first = join(directory, "initrd");
    const terminal = join(directory, "terminal");
    const devices = ["-serial", "stdio", ...computer.secondPort(terminal)];
    if (medium === "memory") writeFileSync(first, packTree(root));
    else {
      const disk = join(directory, "disk");
      await makeDisk(root, disk);
      const firstRoot = furnishFirstRoot(directory, computer, kernel);
      writeFileSync(first, packTree(firstRoot));
      devices.push("-drive", `file=${disk},format=raw,if=virtio,readonly=on`);
    }
    rmSync(root, { recursive: true });
    const { console, exitCode, seconds } = await run(
      [
        ...[computer.qemu, "-accel", "tcg", ...computer.options],
        ...["-display", "none", "-monitor", "none", "-nodefaults"],
        ...["-no-reboot", "-kernel", kernel.image, "-initrd", first],
        "-append",
        `${computer.kernelOptions} quiet panic=-1`,
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
function furnish(root: string, computer: Computer): void {
  for (const name of ["dev", "proc", "run", "etc", "srv/www", "var/sysmgr"])
    mkdirSync(join(root, name), { recursive: true });
  furnishBusybox(root, computer);
  symlinkSync("sbin/init", join(root, "init"));
  const put = (from: string, to: string): void => {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(from, join(root, to));
  };
  put(join(DIST, computer.binary), "usr/bin/sysmgr");
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
function furnishFirstRoot(
  directory: string,
  computer: Computer,
  kernel: Kernel,
): string {
  const root = join(directory, "first");
  for (const name of ["dev", "disk", "modules"])
    mkdirSync(join(root, name), { recursive: true });
  furnishBusybox(root, computer);
  cpSync(join(GUEST, "switch"), join(root, "init"));
  for (const module of kernel.modules)
    cpSync(module, join(root, "modules", basename(module)));
  return root;
}

function furnishBusybox(root: string, computer: Computer): void {
  mkdirSync(join(root, "bin"), { recursive: true });
  cpSync(busyboxOf(computer), join(root, "bin/busybox"));
  // The one of this machine says what there is, as it can be run.
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
