/** Which contenders there are on this machine. */
import { accessSync, constants, existsSync } from "node:fs";
import { basename, join } from "node:path";
import type { Contender } from "./contender.ts";
import { nitro } from "./nitro.ts";
import { runit } from "./runit.ts";
import { s6 } from "./s6.ts";
import { sysmgr } from "./sysmgr.ts";

export interface Found {
  readonly contenders: readonly Contender[];
  /** Who is missing, and why. */
  readonly leftOut: readonly string[];
}

/** Names of contenders that are always there. */
const RESERVED = ["sysmgr", "bun-loop"];
const C_SYSMGR_SCAN_INTERVAL = 1000;

/** @param more directories with further binaries, joined by colons. */
export function findContenders(more: string | undefined): Found {
  const contenders: Contender[] = [];
  const leftOut: string[] = [];
  const directories = (more ?? "").split(":").filter((each) => each !== "");

  if (isThere("runsvdir", "runsv", "sv"))
    contenders.push(runit("runit", packageVersion("runit")));
  else leftOut.push("runit is not installed (Debian: apt-get install runit)");

  if (isThere("s6-svscan", "s6-svscanctl", "s6-svc", "s6-svstat")) {
    const usage = output(["s6-svscan", "-h"]);
    const option = usage.includes("-C") ? "-C" : "-c";
    contenders.push(s6(packageVersion("s6"), option));
  } else leftOut.push("s6 is not installed (Debian: apt-get install s6)");

  const busybox = [Bun.which("busybox"), ...directories.map(withBusybox)].find(
    (path) => path !== null && hasRunit(path),
  );
  if (busybox)
    contenders.push(runit("busybox", busyboxVersion(busybox), busybox));
  else
    leftOut.push(
      Bun.which("busybox") === null
        ? "busybox is not installed (Debian: apt-get install busybox-static)"
        : "busybox is left out: the one that is installed has no runsvdir, runsv and sv",
    );

  for (const directory of directories) {
    const taken = [...RESERVED, ...contenders.map(({ name }) => name)];
    const found = further(directory, freeName(basename(directory), taken));
    if (found) contenders.push(found);
    else if (withBusybox(directory) !== busybox)
      leftOut.push(
        `${directory} has neither sysmgr and svctl nor nitro and nitroctl`,
      );
  }
  return { contenders, leftOut };
}

function freeName(wanted: string, taken: readonly string[]): string {
  let name = wanted;
  for (let number = 2; taken.includes(name); number++)
    name = `${wanted}-${number}`;
  return name;
}

function further(directory: string, name: string): Contender | undefined {
  const has = (program: string) => isExecutable(join(directory, program));
  if (has("sysmgr") && has("svctl")) {
    // The C program says its version in the usage message that every argument makes it print.
    const said = output([join(directory, "sysmgr"), "--version"]);
    const version = /\d+(\.\d+)+/.exec(said)?.[0] ?? "unknown";
    if (/^sysmgr \d/.test(said)) return sysmgr(name, version, directory);
    return {
      ...sysmgr(name, version, directory, true),
      scanInterval: C_SYSMGR_SCAN_INTERVAL,
    };
  }
  if (has("nitro") && has("nitroctl")) return nitro(name, "unknown", directory);
  return undefined;
}

function withBusybox(directory: string): string {
  return join(directory, "busybox");
}

function hasRunit(busybox: string): boolean {
  if (!existsSync(busybox)) return false;
  const applets = output([busybox, "--list"]).split("\n");
  return ["runsvdir", "runsv", "sv"].every((each) => applets.includes(each));
}

function busyboxVersion(busybox: string): string {
  return /v(\d[\d.]*)/.exec(output([busybox]))?.[1] ?? "unknown";
}

/** The programs have no option that says it. */
function packageVersion(name: string): string {
  if (!isThere("dpkg-query")) return "unknown";
  const said = output(["dpkg-query", "--status", name]);
  return /^Version: (\S+)/m.exec(said)?.[1] ?? "unknown";
}

function isThere(...programs: readonly string[]): boolean {
  return programs.every((program) => Bun.which(program) !== null);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What a program says on stdout and stderr, whatever it thinks of its arguments. */
function output(command: readonly string[]): string {
  const { stdout, stderr } = Bun.spawnSync([...command], {
    stdout: "pipe",
    stderr: "pipe",
  });
  return `${stdout}${stderr}`;
}
