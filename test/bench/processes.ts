/** What the supervising processes of a stage have cost. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { errorCode } from "../../src/errors.ts";

/** Bytes, the sum of all processes. */
export interface Memory {
  /** What is in no file: nobody else has it, and the kernel cannot drop it. */
  readonly private: number;
  /** What is shared counts in parts. */
  readonly proportional: number;
  /** Everything that is mapped and in memory, text of programs included. */
  readonly resident: number;
  /** What the kernel needs to map it. */
  readonly pageTables: number;
}

/** What they have used so far, thread by thread. */
export type Activity = ReadonlyMap<string, Thread>;

interface Thread {
  readonly switches: number;
  /** Nanoseconds. */
  readonly cpu: number;
}

const KIBI = 1024;
const STAGE_PID = "1";

/**
 * The processes in a namespace that are neither its process 1 nor services.
 * @param proc the namespace's /proc.
 * @param service the program that all services run.
 */
export function supervisors(proc: string, service: string): string[] {
  return readdirSync(proc).filter((name) => {
    if (!/^\d+$/.test(name) || name === STAGE_PID) return false;
    const program = unlessGone(() => readlinkSync(`${proc}/${name}/exe`));
    return program !== undefined && program !== service;
  });
}

/** The memory that processes have together. */
export function memoryOf(proc: string, pids: readonly string[]): Memory {
  const sum = { private: 0, proportional: 0, resident: 0, pageTables: 0 };
  for (const pid of pids) {
    const rollup = unlessGone(() => read(`${proc}/${pid}/smaps_rollup`));
    const status = unlessGone(() => read(`${proc}/${pid}/status`));
    if (rollup === undefined || status === undefined) continue;
    sum.private += field(rollup, "Pss_Anon") * KIBI;
    sum.proportional += field(rollup, "Pss") * KIBI;
    sum.resident += field(rollup, "Rss") * KIBI;
    sum.pageTables += field(status, "VmPTE") * KIBI;
  }
  return sum;
}

/** How often the threads of processes have run and for how long. */
export function activityOf(proc: string, pids: readonly string[]): Activity {
  const threads = new Map<string, Thread>();
  for (const pid of pids) {
    const tasks = `${proc}/${pid}/task`;
    for (const id of unlessGone(() => readdirSync(tasks)) ?? []) {
      const status = unlessGone(() => read(`${tasks}/${id}/status`));
      const schedule = unlessGone(() => read(`${tasks}/${id}/schedstat`));
      if (status === undefined || schedule === undefined) continue;
      threads.set(id, {
        switches:
          field(status, "voluntary_ctxt_switches") +
          field(status, "nonvoluntary_ctxt_switches"),
        cpu: Number(schedule.split(" ")[0]),
      });
    }
  }
  return threads;
}

/** What was used between two looks; a thread that ended between them does not count. */
export function spent(before: Activity, after: Activity): Thread {
  let switches = 0;
  let cpu = 0;
  for (const [id, now] of after) {
    const then = before.get(id);
    switches += now.switches - (then?.switches ?? 0);
    cpu += now.cpu - (then?.cpu ?? 0);
  }
  return { switches, cpu };
}

/** The number in a line "name: number" of a file in /proc; 0 where there is none. */
export function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}

function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
