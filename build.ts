#!/usr/bin/env bun
/**
 * Builds dist/sysmgr and its links, or for another machine than this one dist/sysmgr-TARGET; for this one,
 * where it is named, that is a link. See README.md, "Building".
 */
import { mkdirSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { version } from "./package.json";
import { bunExecutable } from "./src/build/bun-executable.ts";
import { BuildError, run } from "./src/build/command.ts";
import { compile } from "./src/build/compile.ts";
import { staticLink } from "./src/static-link/link.ts";
import { MACHINES, type Machine, isHost } from "./src/static-link/machines.ts";
import { findToolchain } from "./src/static-link/toolchain.ts";

const DIST = join(import.meta.dir, "dist");
const APPLET_LINKS = ["svctl", "sysmgr-depends"];

try {
  await build();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  console.error(`build: ${message}`);
  process.exitCode = 1;
}

async function build(): Promise<void> {
  const { values } = readOptions();
  const sysdir = absolute("--sysdir", values.sysdir ?? "/var/sysmgr");
  const rundir = absolute("--rundir", values.rundir ?? "/run/sysmgr");
  const machine = machineFor(values.target ?? `linux-${process.arch}`);
  // What is missing is better said before anything is fetched and compiled.
  if (!values.dynamic) findToolchain(machine);
  mkdirSync(DIST, { recursive: true });
  const temporary = join(DIST, `.build.${process.pid}`);
  const name = isHost(machine) ? "sysmgr" : `sysmgr-${targetOf(machine)}`;
  mkdirSync(temporary);
  try {
    const compiled = join(temporary, "compiled");
    const binary = join(temporary, name);
    await compile({
      outfile: compiled,
      constants: {
        BUILD_VERSION: version,
        BUILD_SYSDIR: sysdir,
        BUILD_RUNDIR: rundir,
      },
      ...(isHost(machine)
        ? {}
        : {
            foreign: {
              target: `bun-${targetOf(machine)}`,
              executable: await bunExecutable(machine),
            },
          }),
    });
    if (values.dynamic) renameSync(compiled, binary);
    else
      staticLink({
        input: compiled,
        output: binary,
        workDirectory: temporary,
        machine: machine.name,
      });
    if (isHost(machine)) await check(binary);
    renameSync(binary, join(DIST, name));
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  if (isHost(machine)) {
    for (const link of APPLET_LINKS) makeLink(link);
    if (values.target !== undefined) makeLink(`sysmgr-${values.target}`);
  }
  const size = statSync(join(DIST, name)).size;
  console.log(
    `dist/${name} ${version}, ${values.dynamic ? "dynamic" : "static"}: ${(size / 1e6).toFixed(1)} MB, Bun ${Bun.version}, SYSDIR ${sysdir}, RUNDIR ${rundir}`,
  );
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        sysdir: { type: "string" },
        rundir: { type: "string" },
        target: { type: "string" },
        dynamic: { type: "boolean" },
      },
      args: process.argv.slice(2),
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new BuildError(
      `${message}\nusage: bun run build [--sysdir=DIR] [--rundir=DIR] [--target=${targets("|")}] [--dynamic]`,
    );
  }
}

function absolute(option: string, path: string): string {
  if (path.startsWith("/")) return path;
  throw new BuildError(`${option}: '${path}' is not an absolute path`);
}

function machineFor(target: string): Machine {
  const all = Object.values(MACHINES);
  const machine = all.find((each) => targetOf(each) === target);
  if (machine !== undefined) return machine;
  throw new BuildError(`--target: '${target}' is not one of ${targets(", ")}`);
}

function targetOf(machine: Machine): `linux-${Machine["hostArch"]}` {
  return `linux-${machine.hostArch}`;
}

function targets(separator: string): string {
  return Object.values(MACHINES).map(targetOf).join(separator);
}

/** A binary that does not run is never given its final name. */
async function check(binary: string): Promise<void> {
  const output = await run([binary, "--version"]);
  if (output.trim() !== `sysmgr ${version}`)
    throw new BuildError(`the binary calls itself '${output.trim()}'`);
}

function makeLink(name: string): void {
  const path = join(DIST, name);
  rmSync(path, { force: true });
  symlinkSync("sysmgr", path);
}
