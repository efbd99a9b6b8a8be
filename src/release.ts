#!/usr/bin/env bun
/**
 * Builds dist/sysmgr, and dist/sysmgr-linux-arm64 where there is one already, makes of every binary in dist
 * dist/sysmgr-VERSION-linux-MACHINE.tar.xz, and dist/SHA256SUMS. The same sources give the same bytes.
 * With --dist, the binaries in that directory are taken as they are.
 */
import {
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../package.json";
import { checkTools, checksumLine, pack, run } from "./release/archive.ts";
import { layOut } from "./release/contents.ts";
import { ReleaseError } from "./release/error.ts";
import { type MachineName, readExecutable } from "./release/machine.ts";

const ROOT = resolve(import.meta.dir, "..");
const USAGE =
  "usage: bun run release [--sysdir=DIR] [--rundir=DIR] [--dist=DIR] [--fast]";
const OWN_DIST = join(ROOT, "dist");
const PRESET = 6;
/** For trying things out: a sixth of the time, a sixth more bytes. */
const FAST_PRESET = 0;
/** Later ones are for the machine in their name, whatever machine this is. */
const BINARIES = ["sysmgr", "sysmgr-linux-x64", "sysmgr-linux-arm64"];

try {
  await release();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  console.error(`release: ${message}`);
  process.exitCode = 1;
}

async function release(): Promise<void> {
  const { dist, preset, defaults } = readOptions();
  await checkTools();
  const epoch = await timeOfChange();
  if (dist === OWN_DIST) await build(defaults);
  const binaries = await findBinaries(dist);
  const work = mkdtempSync(join(dist, ".release."));
  try {
    const names: string[] = [];
    for (const [machine, binary] of binaries) {
      const name = `sysmgr-${version}-linux-${machine}`;
      const missing = layOut(ROOT, binary, machine, join(work, name));
      for (const each of missing)
        console.error(`release: ${name} comes without ${each}`);
      await pack(join(work, name), join(work, `${name}.tar.xz`), {
        epoch,
        preset,
      });
      names.push(`${name}.tar.xz`);
    }
    const sums = names.map((name) => checksumLine(join(work, name), name));
    writeFileSync(join(work, "SHA256SUMS"), sums.join(""));
    // Only when all of them are complete any of them gets its place.
    for (const name of [...names, "SHA256SUMS"])
      renameSync(join(work, name), join(dist, name));
    console.log(sums.join("").trimEnd());
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

interface Options {
  readonly dist: string;
  readonly preset: number;
  /** Options of the build that set defaults. */
  readonly defaults: readonly string[];
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        sysdir: { type: "string" },
        rundir: { type: "string" },
        dist: { type: "string" },
        fast: { type: "boolean", default: false },
      },
      args: process.argv.slice(2),
    });
    return {
      dist: resolve(values.dist ?? OWN_DIST),
      preset: values.fast ? FAST_PRESET : PRESET,
      defaults: [
        ...(values.sysdir === undefined ? [] : [`--sysdir=${values.sysdir}`]),
        ...(values.rundir === undefined ? [] : [`--rundir=${values.rundir}`]),
      ],
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ReleaseError(`${message}\n${USAGE}`);
  }
}

/** What lies in dist may come from other sources, or have other defaults. */
async function build(defaults: readonly string[]): Promise<void> {
  const script = [process.execPath, join(ROOT, "build.ts"), ...defaults];
  await run(script);
  if (existsSync(join(OWN_DIST, "sysmgr-linux-arm64")))
    await run([...script, "--target=linux-arm64"]);
}

/** When the sources changed last: what is said, otherwise the last commit. */
async function timeOfChange(): Promise<number> {
  const given = process.env["SOURCE_DATE_EPOCH"];
  const text = given || (await lastCommit());
  const epoch = Number(text);
  if (/^\d+\s*$/.test(text) && Number.isSafeInteger(epoch)) return epoch;
  throw new ReleaseError(
    `SOURCE_DATE_EPOCH: '${text}' is not a number of seconds`,
  );
}

async function lastCommit(): Promise<string> {
  try {
    return await run(["git", "-C", ROOT, "log", "-1", "--format=%ct"]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ReleaseError(
      `when the sources changed is not known; set SOURCE_DATE_EPOCH (${message})`,
    );
  }
}

async function findBinaries(dist: string): Promise<Map<MachineName, string>> {
  const found = new Map<MachineName, string>();
  for (const name of BINARIES) {
    const path = join(dist, name);
    if (!existsSync(path)) continue;
    const executable = readExecutable(path);
    if (executable === undefined)
      throw new ReleaseError(`${path}: not a program for x64 or arm64`);
    if (executable.dynamic)
      throw new ReleaseError(
        `${path}: needs libraries of the system that it runs on; only a static one is released`,
      );
    if (executable.machine === process.arch) await checkVersion(path);
    found.set(executable.machine, path);
  }
  if (found.size === 0)
    throw new ReleaseError(`${dist}/sysmgr: not there; run: bun run build`);
  return found;
}

async function checkVersion(binary: string): Promise<void> {
  const said = await run([binary, "--version"]);
  if (said !== `sysmgr ${version}\n`)
    throw new ReleaseError(
      `${binary}: calls itself '${said.trim()}', not 'sysmgr ${version}'; build it again`,
    );
}
