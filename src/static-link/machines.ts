/**
 * Everything that differs between the machines a static executable can be linked for.
 *
 * Numbers are from the processor supplements of the System V ABI (x86-64 psABI, AAELF64); packages and
 * compiler names are those of the common distributions.
 */
export interface Machine {
  readonly name: MachineName;
  /** `process.arch` of a host that can run the result. */
  readonly hostArch: "x64" | "arm64";
  /** The npm package with Bun's own executable, which a compiled program is made of. */
  readonly bunPackage: string;
  /** e_machine of the ELF header. */
  readonly number: number;
  /** Bytes; the largest page size that a kernel for this machine uses. */
  readonly pageSize: number;
  readonly relocation: {
    /** A word that gets the address of a symbol. */
    readonly absolute: number;
    /** The same in the global offset table. */
    readonly globalData: number;
    /** The same for a function called through the procedure linkage table. */
    readonly jumpSlot: number;
    /** An object of a library for which the executable has room of its own. */
    readonly copy: number;
    /** A word that gets what a resolver function answers at start. */
    readonly indirect: number;
  };
  /** What the assembler calls the absolute relocation. */
  readonly relocationName: string;
  /** The sign before a section type in assembler text. */
  readonly typePrefix: "@" | "%";
  readonly returnInstruction: string;
  readonly threadLocal: {
    /** Which end of the executable's block lies at a fixed distance from the thread pointer. */
    readonly fixedEnd: "start" | "end";
    /** Bytes; p_align that the whole block may have without moving that end. */
    readonly alignment: number;
  };
  /** Prefix of the cross tools' names. */
  readonly crossPrefix: string;
  /** What to install on a host of the same machine, and on another one. */
  readonly packages: { readonly native: string; readonly cross: string };
}

export type MachineName = "x86-64" | "aarch64";

export const MACHINES: Readonly<Record<MachineName, Machine>> = {
  "x86-64": {
    name: "x86-64",
    hostArch: "x64",
    bunPackage: "@oven/bun-linux-x64",
    number: 62,
    pageSize: 0x1000,
    relocation: {
      absolute: 1,
      globalData: 6,
      jumpSlot: 7,
      copy: 5,
      indirect: 37,
    },
    relocationName: "R_X86_64_64",
    typePrefix: "@",
    returnInstruction: "ret",
    threadLocal: { fixedEnd: "end", alignment: 64 },
    crossPrefix: "x86_64-linux-gnu-",
    packages: {
      native: "Debian: gcc libc6-dev; Fedora: gcc glibc-static",
      cross: "Debian: gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
    },
  },
  aarch64: {
    name: "aarch64",
    hostArch: "arm64",
    bunPackage: "@oven/bun-linux-aarch64",
    number: 183,
    pageSize: 0x10000,
    relocation: {
      absolute: 257,
      globalData: 1025,
      jumpSlot: 1026,
      copy: 1024,
      indirect: 1032,
    },
    relocationName: "R_AARCH64_ABS64",
    typePrefix: "%",
    returnInstruction: "ret",
    threadLocal: { fixedEnd: "start", alignment: 16 },
    crossPrefix: "aarch64-linux-gnu-",
    packages: {
      native: "Debian: gcc libc6-dev; Fedora: gcc glibc-static",
      cross: "Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    },
  },
};

/** The machine with this e_machine, if it is a known one. */
export function machineByNumber(number: number): Machine | undefined {
  return Object.values(MACHINES).find((machine) => machine.number === number);
}

/** Whether this host can run programs for the machine. */
export function isHost(machine: Machine): boolean {
  return process.platform === "linux" && process.arch === machine.hostArch;
}
