/** The kinds of computers that are booted: everything that differs between them. */
import type { MachineName } from "../../src/release/machine.ts";
import { type Unpacked, unpack, unpackFor } from "../init/packages.ts";

/** For arm64, to try one with larger pages, which Debian's for virtual machines does not have. */
const OTHER_KERNEL = process.env["SYSMGR_TEST_ARM64_KERNEL"];

/** A kind of computer. */
export interface Computer {
  readonly machine: MachineName;
  readonly qemu: string;
  /** What it is made of, as qemu's options. */
  readonly options: readonly string[];
  /** The options for a second serial port, which the kernel calls ttyS1, that writes to a file. */
  readonly secondPort: (file: string) => readonly string[];
  /** What else the kernel is told, in the first place where its console is. */
  readonly kernelOptions: string;
  /** Everybody's kernel for virtual machines; it depends on the package of the current version. */
  readonly kernelPackage: string;
  /** A kernel to take instead. */
  readonly kernel?: string | undefined;
  /** In dist. */
  readonly binary: string;
  /** Unpacks packages for it. */
  readonly unpack: (...names: readonly string[]) => Unpacked;
}

export const X64: Computer = {
  machine: "x64",
  qemu: "qemu-system-x86_64",
  options: ["-cpu", "max", "-m", "512"],
  secondPort: (file) => ["-serial", `file:${file}`],
  kernelOptions: "console=ttyS0 no_timer_check",
  kernelPackage: "linux-image-cloud-amd64",
  binary: "sysmgr",
  unpack,
};

/** With the oldest processor there is; or, with another kernel, with one that has pages of all sizes. */
export const ARM64: Computer = {
  machine: "arm64",
  qemu: "qemu-system-aarch64",
  options: [
    ...["-machine", "virt", "-m", "1024"],
    ...["-cpu", OTHER_KERNEL === undefined ? "cortex-a53" : "cortex-a76"],
  ],
  secondPort: (file) => [
    ...["-chardev", "null,id=first", "-device", "pci-serial,chardev=first"],
    ...["-chardev", `file,id=second,path=${file}`],
    ...["-device", "pci-serial,chardev=second"],
  ],
  kernelOptions: "console=ttyAMA0",
  kernelPackage: "linux-image-cloud-arm64",
  kernel: OTHER_KERNEL,
  binary: "sysmgr-linux-arm64",
  unpack: (...names) => unpackFor("arm64", ...names),
};
