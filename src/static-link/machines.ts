/**
 * Everything that differs between the MACHINES a static executable can be linked for.
 *
 * Numbers are from the processor supplements of the System V ABI (x86-64 psABI, AAELF64); packages and
 * compiler names are those of the common distributions.
 */
export type Machine = {
  name: MachineName;
  /** `process.arch` of a host that can run the result. */
  hostArch: string;
  /** e_machine of the ELF header. */
  number: number;
  /** Bytes; the largest page size that a kernel for this machine uses. */
  pageSize: number;
  relocation: {
    /** A word that gets the address of a symbol. */
    absolute: number;
    /** The same in the global offset table. */
    globalData: number;
    /** The same for a function called through the procedure linkage table. */
    jumpSlot: number;
    /** An object of a library for which the executable has room of its own. */
    copy: number;
    /** A word that gets what a resolver function answers at start. */
    indirect: number;
  };
  /** What the assembler calls the absolute relocation. */
  relocationName: string;
  /** The sign before a section type in assembler text. */
  typePrefix: "@" | "%";
  returnInstruction: string;
  threadLocal: {
    /** Which end of the executable's block lies at a fixed distance from the thread pointer. */
    fixedEnd: "start" | "end";
    /** Bytes; p_align that the whole block may have without moving that end. */
    alignment: number;
  };
  /** Prefix of the cross tools' names. */
  crossPrefix: string;
  /** What to install: on a host of the same machine, and on another one. */
  packages: { native: string; cross: string };
};

export type MachineName = "x86-64" | "aarch64";

export const MACHINES: Record<MachineName, Machine> = {
  "x86-64": {
    name: "x86-64",
    hostArch: "x64",
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
