#!/usr/bin/env bun
/** Builds dist/sysmgr and its links. See README.md, "Building". */
import { mkdirSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { version } from "./package.json";
import { staticLink } from "./src/static-link/link.ts";

const ROOT = import.meta.dir;
const DIST = join(ROOT, "dist");
const APPLET_LINKS = ["svctl", "sysmgr-depends"];

class BuildError extends Error {}

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
  mkdirSync(DIST, { recursive: true });
  const temporary = join(DIST, `.build.${process.pid}`);
  mkdirSync(temporary);
  try {
    const compiled = join(temporary, "compiled");
    const binary = join(temporary, "sysmgr");
    await compile(compiled, { sysdir, rundir });
    if (values.dynamic) renameSync(compiled, binary);
    else
      staticLink({
        input: compiled,
        output: binary,
        workDirectory: temporary,
      });
    await check(binary);
    renameSync(binary, join(DIST, "sysmgr"));
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  for (const name of APPLET_LINKS) makeLink(name);
  const size = statSync(join(DIST, "sysmgr")).size;
  console.log(
    `dist/sysmgr ${version}, ${values.dynamic ? "dynamic" : "static"}: ${(size / 1e6).toFixed(1)} MB, Bun ${Bun.version}, SYSDIR ${sysdir}, RUNDIR ${rundir}`,
  );
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        sysdir: { type: "string" },
        rundir: { type: "string" },
        dynamic: { type: "boolean" },
      },
      args: process.argv.slice(2),
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new BuildError(
      `${message}\nusage: bun run build [--sysdir=DIR] [--rundir=DIR] [--dynamic]`,
    );
  }
}

function absolute(option: string, path: string): string {
  if (path.startsWith("/")) return path;
  throw new BuildError(`${option}: '${path}' is not an absolute path`);
}

async function compile(
  outfile: string,
  defaults: { sysdir: string; rundir: string },
): Promise<void> {
  const constants = {
    BUILD_VERSION: version,
    BUILD_SYSDIR: defaults.sysdir,
    BUILD_RUNDIR: defaults.rundir,
  };
  await run([
    process.execPath,
    "build",
    "--compile",
    "--production",
    "--minify",
    "--bytecode",
    "--format=esm",
    "--splitting",
    // No file is read for configuration, wherever the program is started from.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--no-compile-autoload-tsconfig",
    "--no-compile-autoload-package-json",
    // Keeps BUN_OPTIONS=--preload from running code that is not in the binary.
    "--compile-exec-argv=--disallow-code-generation-from-strings=strict",
    ...Object.entries(constants).map(
      ([name, value]) => `--define=${name}=${JSON.stringify(value)}`,
    ),
    join(ROOT, "src/main.ts"),
    `--outfile=${outfile}`,
  ]);
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

async function run(command: string[]): Promise<string> {
  const child = Bun.spawn(command, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [output, errors, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (code === 0) return output;
  throw new BuildError(
    `${command.slice(0, 2).join(" ")} failed with exit code ${code}\n${errors.trim()}`,
  );
}
