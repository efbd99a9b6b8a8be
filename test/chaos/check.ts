/**
 * Whether everything is as it should be. What should be is derived from the files in SYSDIR and the
 * locks alone, what is from /proc and the files in RUNDIR.
 */
import { lstatSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Arena, DECOY } from "./arena.ts";
import {
  allProcesses,
  attempt,
  changedAt,
  descriptors,
  listDirectory,
  type Marked,
  markedProcesses,
  readText,
  startTime,
} from "./system.ts";
import type { Plan } from "./tempers.ts";

/** Something that is not as it should be. */
export interface Problem {
  /** Undefined where sysmgr as a whole is meant. */
  readonly service: string | undefined;
  readonly expected: string;
  readonly found: string;
  /** It may be a moment between two states, seen by chance. */
  readonly passing: boolean;
}

/** What sysmgr is to do with a service. */
export type Wanted = "up" | "left alone" | "down" | "gone";

/** Milliseconds in which a service that ends by itself must have been started last. */
const RECENTLY = 6000;
/** Milliseconds by which the time of a pid file may miss the start, under load. */
const START_TOLERANCE = 2000;
const STATE_FILES: Readonly<Record<string, RegExp>> = {
  pid: /^[1-9][0-9]*\n$/,
  exit: /^(0|[1-9][0-9]{0,2}|SIG[A-Z0-9+]+|unknown)\n$/,
  starts: /^(0|[1-9][0-9]*)\n$/,
  lock: /^(0|once|[1-9][0-9]?|(SIG)?[A-Z]{2,}[0-9]?)?\s*$/,
  waiting: /^[^\0]+\n$/,
};

/** What is wanted of a service, from its files. */
export function wanted(arena: Arena, name: string): Wanted {
  const entry = attempt(() => statSync(arena.entry(name)));
  if (entry === undefined) return "gone";
  const lock = readText(arena.state(name, "lock"))?.trim();
  if (lock !== undefined)
    return /^(0|once|)$/.test(lock) ? "left alone" : "down";
  return (entry.mode & 0o111) === 0 ? "left alone" : "up";
}

/** Looks at everything once. */
export class Check {
  readonly problems: Problem[] = [];
  readonly #processes: readonly Marked[];

  constructor(
    readonly arena: Arena,
    readonly daemon: number,
    readonly usual: Descriptors | undefined,
  ) {
    const logged = readText(arena.logFile) ?? "";
    this.#processes = markedProcesses(arena.rundir);
    for (const plan of arena.plans) this.#checkService(plan);
    this.#checkRundir();
    this.#checkDaemon();
    this.#checkLog(logged);
  }

  /** Processes that lead a session for a service. */
  leaders(name: string): Marked[] {
    return this.#processes.filter(
      ({ service, pid, session }) => service === name && pid === session,
    );
  }

  #checkService(plan: Plan): void {
    const { name } = plan;
    const want = wanted(this.arena, name);
    const leaders = this.leaders(name);
    const [leader] = leaders;
    const passing = isRestless(plan, want);
    const pids = leaders.map(({ pid }) => pid).join(", ");
    if (leaders.length > 1)
      this.#blame(name, "runs once at most", `it runs as ${pids}`, passing);
    if (want === "up") this.#checkUp(plan, leader, passing);
    if (want === "down" || want === "gone") {
      const left = this.#processes.filter(({ service }) => service === name);
      if (left.length > 0)
        this.#blame(name, "nothing of it runs", describeAll(left), false);
    }
    for (const stray of this.#processes)
      if (stray.service === name && stray.session !== leader?.pid)
        this.#blame(
          name,
          `no process outside of the session of ${leader?.pid ?? "none"}`,
          describeAll([stray]),
          passing,
        );
    this.#checkPidFile(plan, leader, passing);
    this.#checkFiles(plan, want);
  }

  #checkUp(plan: Plan, leader: Marked | undefined, passing: boolean): void {
    if (leader !== undefined) return;
    const { name, life } = plan;
    if (life === "never") return;
    if (life === "steady" && !passing) {
      this.#blame(name, "runs", "it does not run", false);
      return;
    }
    const birth = changedAt(join(this.arena.born, name));
    const age = Date.now() - (birth ?? 0);
    if (age > RECENTLY)
      this.#blame(
        name,
        "runs, or has been started lately",
        birth === undefined ? "never started" : `last started ${age} ms ago`,
        true,
      );
  }

  #checkPidFile(plan: Plan, leader: Marked | undefined, passing: boolean) {
    const { name } = plan;
    const path = this.arena.state(name, "pid");
    const said = readText(path);
    const expected = leader === undefined ? undefined : `${leader.pid}\n`;
    if (said !== expected) {
      this.#blame(
        name,
        `pid file: ${JSON.stringify(expected) ?? "none"}`,
        JSON.stringify(said) ?? "none",
        passing,
      );
      return;
    }
    const modified = changedAt(path);
    if (leader === undefined || modified === undefined) return;
    const error = modified - startTime(leader.start);
    if (Math.abs(error) > START_TOLERANCE)
      this.#blame(
        name,
        "the time of the pid file is the start of the process",
        `it is ${Math.round(error)} ms later`,
        passing,
      );
  }

  #checkFiles(plan: Plan, want: Wanted): void {
    const { name } = plan;
    const names = listDirectory(this.arena.state(name));
    // A lock may be there before its service.
    if (want === "gone") {
      const left = names.filter((file) => file !== "lock");
      const exists = changedAt(this.arena.state(name)) !== undefined;
      if (left.length > 0 || (exists && names.length === 0))
        this.#blame(name, "no state directory", `it has ${names}`, false);
      return;
    }
    for (const file of names) this.#checkFile(name, file);
    if (names.includes("waiting") && !names.includes("pid"))
      this.#blame(name, "waits only while it runs", "waiting", true);
  }

  #checkFile(name: string, file: string): void {
    const pattern = STATE_FILES[file];
    if (pattern === undefined) {
      this.#blame(name, "no other file than the known ones", file, true);
      return;
    }
    const path = this.arena.state(name, file);
    const kind = attempt(() => lstatSync(path));
    if (kind === undefined) return;
    const text = readText(path) ?? "";
    if (!kind.isFile() || !pattern.test(text))
      this.#blame(
        name,
        `${file} is well-formed`,
        kind.isFile() ? JSON.stringify(text.slice(0, 80)) : "not a file",
        true,
      );
  }

  #checkRundir(): void {
    const known = new Set(["pid", ...this.arena.plans.map(({ name }) => name)]);
    for (const name of listDirectory(this.arena.rundir))
      if (!known.has(name))
        this.#blame(undefined, "nothing strange in RUNDIR", name, true);
    const said = readText(join(this.arena.rundir, "pid"));
    if (said !== `${this.daemon}\n`)
      this.#blame(
        undefined,
        `RUNDIR/pid: ${this.daemon}`,
        JSON.stringify(said) ?? "none",
        false,
      );
    const decoy = readText(this.arena.decoy);
    if (decoy !== DECOY)
      this.#blame(undefined, "no link is written through", `${decoy}`, false);
  }

  #checkDaemon(): void {
    const children = allProcesses().filter(
      ({ parent }) => parent === this.daemon,
    );
    for (const { pid, state } of children)
      if (state === "Z")
        this.#blame(undefined, "no zombie child", `pid ${pid}`, true);
    const count = this.arena.plans.reduce(
      (sum, { name }) => sum + this.leaders(name).length,
      0,
    );
    const now = countDescriptors(this.daemon);
    const watched = now.get(PROCESS) ?? 0;
    if (watched !== count)
      this.#blame(
        undefined,
        `a descriptor for each of ${count} processes`,
        `${watched} descriptors`,
        true,
      );
    if (this.usual === undefined) return;
    for (const [kind, number] of now) {
      if (kind === PROCESS) continue;
      const most = (this.usual.get(kind) ?? 0) + (ADOPTERS.get(kind) ?? 0);
      if (number > most)
        this.#blame(
          undefined,
          `descriptors of kind '${kind}': ${most}`,
          `${number}`,
          true,
        );
    }
  }

  #checkLog(log: string): void {
    const strange = log
      .split("\n")
      .find((line) => /internal error|^\s+at |panic|Bun v|^error:/i.test(line));
    if (strange !== undefined)
      this.#blame(undefined, "no error of its own in the log", strange, false);
  }

  #blame(
    service: string | undefined,
    expected: string,
    found: string,
    passing: boolean,
  ): void {
    this.problems.push({ service, expected, found, passing });
  }
}

/** How many descriptors of which kind a process has. */
export type Descriptors = ReadonlyMap<string, number>;

const PROCESS = "anon_inode:[pidfd]";
/** What only a sysmgr has open that has taken over processes, to learn of their ends. */
const ADOPTERS: Descriptors = new Map([
  ["anon_inode:[io_uring]", 1],
  ["pipe:", 2],
]);

export function countDescriptors(pid: number): Descriptors {
  const counts = new Map<string, number>();
  for (const target of descriptors(pid)) {
    const kind = target.replace(/\[\d+\]$/, "");
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** Takes in what a daemon has open for good, and what others before it had. */
export function mostDescriptors(
  one: Descriptors,
  other: Descriptors | undefined,
): Descriptors {
  const most = new Map(one);
  for (const [kind, number] of other ?? [])
    most.set(kind, Math.max(number, most.get(kind) ?? 0));
  return most;
}

/** It may be just about to end or to begin, whenever one looks. */
function isRestless(plan: Plan, want: Wanted): boolean {
  if (want === "down" || want === "gone") return false;
  return plan.life === "ending" || plan.dependsOn !== undefined;
}

function describeAll(processes: readonly Marked[]): string {
  return processes
    .map(
      ({ pid, parent, group, session, state }) =>
        `pid ${pid} (state ${state}, parent ${parent}, group ${group}, session ${session})`,
    )
    .join("; ");
}
