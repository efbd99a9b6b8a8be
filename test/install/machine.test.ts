/** Which binary install.sh takes on which machine, under both shells that it is for. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { layOut } from "../../src/release/contents.ts";
import { MACHINES } from "../../src/static-link/machines.ts";
import { TemporaryDirectory } from "../temporary.ts";

const ROOT = join(import.meta.dir, "../..");
const SHELLS: Readonly<Record<string, readonly string[]>> = {
  dash: ["dash"],
  "busybox ash": ["busybox", "sh"],
};
/** By a function, as busybox has a uname of its own that it takes before any in PATH. */
const ON_MACHINE = `uname() { [ "$*" = -m ] && echo "$MACHINE"; }; . "$0"`;
/** Neither, so it runs on whatever machine has these tests. */
const SCRIPT = "#!/bin/sh\necho sysmgr 1.0.0\n";
const LINUX_ABI = 3;

let directory: TemporaryDirectory;
let archive: string;
let binary: string;
let prefix: string;

beforeEach(() => {
  directory = new TemporaryDirectory();
  archive = directory.at("sysmgr 1.0.0");
  binary = join(archive, "sysmgr");
  prefix = directory.at("prefix");
  layOut(ROOT, directory.file("binary", SCRIPT, 0o755), "x64", archive);
});

afterEach(() => directory[Symbol.dispose]());

describe.each(Object.entries(SHELLS))("under %s, install.sh", (_, shell) => {
  function installOn(machine: string, ...parameters: readonly string[]) {
    const places = ["--prefix", prefix, "--sysdir", directory.at("sv")];
    const { exitCode, stderr } = Bun.spawnSync(
      [
        ...[...shell, "-c", ON_MACHINE, join(archive, "install.sh")],
        ...[...places, ...parameters],
      ],
      { env: { PATH: process.env["PATH"] ?? "/bin", MACHINE: machine } },
    );
    return { code: exitCode, err: stderr.toString() };
  }

  test.each(["riscv64", "armv7l", "i686"])(
    "says on %s that there is none for it, and does nothing",
    (machine) => {
      expect(installOn(machine)).toEqual({
        code: 1,
        err: `install.sh: this machine is '${machine}': there is sysmgr for x86_64 and aarch64 only; nothing has been done\n`,
      });
      expect(existsSync(prefix)).toBe(false);
    },
  );

  test.each([
    ["x86_64", MACHINES.aarch64.number, "linux-arm64", "linux-x64"],
    ["aarch64", MACHINES["x86-64"].number, "linux-x64", "linux-arm64"],
  ])(
    "refuses on %s what is for the other one",
    (machine, number, its, wanted) => {
      writeFileSync(binary, program(number));
      expect(installOn(machine)).toEqual({
        code: 1,
        err: `install.sh: ${binary}: for ${its}, and this machine is '${machine}': take the one for ${wanted}; nothing has been done\n`,
      });
      expect(existsSync(prefix)).toBe(false);
    },
  );

  test.each([
    ["x86_64", MACHINES.aarch64.number, "linux-x64"],
    ["aarch64", MACHINES["x86-64"].number, "linux-arm64"],
    ["arm64", MACHINES["x86-64"].number, "linux-arm64"],
  ])("takes on %s the one with its name", (machine, number, name) => {
    const named = `${binary}-${name}`;
    writeFileSync(named, SCRIPT);
    writeFileSync(binary, program(number));
    expect(installOn(machine)).toEqual({ code: 0, err: "" });
    expect(readFileSync(join(prefix, "bin/sysmgr"), "utf8")).toBe(SCRIPT);
    rmSync(binary);
    expect(installOn(machine)).toEqual({ code: 0, err: "" });
  });

  test("takes the one without a name where that is for the machine", () => {
    writeFileSync(`${binary}-linux-arm64`, SCRIPT);
    const own = program(MACHINES.aarch64.number);
    writeFileSync(binary, own);
    // It is a program only to look at.
    expect(installOn("aarch64").err).toContain("does not run");
    expect(readFileSync(join(prefix, "bin/sysmgr")).equals(own)).toBe(true);
  });

  test("fills a root for any machine on any machine", () => {
    writeFileSync(binary, program(MACHINES.aarch64.number));
    for (const machine of ["x86_64", "riscv64"])
      expect(installOn(machine, "--destdir", directory.at(machine))).toEqual({
        code: 0,
        err: "",
      });
  });
});

/** Looks like the beginning of a program for a machine, of those that name the ABI of Linux as well. */
function program(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write("\u007fELF\u0002\u0001\u0001", "latin1");
  header[7] = LINUX_ABI;
  header[16] = 2;
  header.writeUInt16LE(machine, 18);
  return header;
}
