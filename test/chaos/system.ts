/**
 * What /proc and the file system show. It is read here in a way of its own, so that a mistake in how
 * sysmgr reads it does not hide itself.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** A process that carries a mark: it belongs to the service of that name in that run directory. */
export interface Marked {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly state: string;
  /** In clock ticks since boot. */
  readonly start: number;
  readonly service: string;
}

type Status = Omit<Marked, "service">;

const TICKS_PER_SECOND = 100;

/** Does something that may find its object gone, or not as expected. */
export function attempt<T>(
  work: () => T,
  codes: readonly string[] = ["ENOENT", "ENOTDIR", "ESRCH"],
): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!codes.includes(codeOf(error))) throw error;
    return undefined;
  }
}

/** The code of a failed system call; empty for any other error. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** Reads a file; undefined when it is not there, or not a file. */
export function readText(path: string): string | undefined {
  return attempt(
    () => readFileSync(path, "utf8"),
    ["ENOENT", "ENOTDIR", "EISDIR", "ESRCH", "EACCES"],
  );
}

/** The names in a directory; none when it is not there. */
export function listDirectory(path: string): string[] {
  return attempt(() => readdirSync(path)) ?? [];
}

export function status(pid: number): Status | undefined {
  const line = readText(`/proc/${pid}/stat`);
  if (line === undefined) return undefined;
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const [state = "", parent, group, session] = fields;
  return {
    pid,
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    start: Number(fields[19]),
  };
}

/** All processes, those that have ended and were not waited for included. */
export function allProcesses(): Status[] {
  return listDirectory("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => status(Number(name)) ?? []);
}

/** What a variable says in the environment of a process. */
export function environmentOf(
  pid: number,
): ReadonlyMap<string, string> | undefined {
  const text = readText(`/proc/${pid}/environ`);
  if (text === undefined) return undefined;
  return new Map(
    text.split("\0").map((entry) => {
      const [name = "", ...value] = entry.split("=");
      return [name, value.join("=")];
    }),
  );
}

/** The living processes that carry the mark of a run directory. */
export function markedProcesses(rundir: string): Marked[] {
  return allProcesses().flatMap((process) => mark(process, rundir) ?? []);
}

/** One such process. */
export function markedProcess(pid: number, rundir: string): Marked | undefined {
  const process = status(pid);
  return process === undefined ? undefined : mark(process, rundir);
}

function mark(process: Status, rundir: string): Marked | undefined {
  if (process.state === "Z" || process.state === "X") return undefined;
  const environment = environmentOf(process.pid);
  const service = environment?.get("SYSMGR_SERVICE");
  if (service === undefined || environment?.get("RUNDIR") !== rundir)
    return undefined;
  return { ...process, service };
}

/** What the descriptors of a process lead to. */
export function descriptors(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return listDirectory(directory).flatMap(
    (name) => attempt(() => readlinkSync(`${directory}/${name}`)) ?? [],
  );
}

/** When a process was started, in milliseconds since 1970, to some 20 ms. */
export function startTime(start: number): number {
  const uptime = Number.parseFloat(readText("/proc/uptime") ?? "");
  return Date.now() - (uptime - start / TICKS_PER_SECOND) * 1000;
}

/** Kilobytes of one of the values of /proc/PID/status. */
export function memory(pid: number, name: "VmRSS" | "RssAnon"): number {
  const text = readText(`/proc/${pid}/status`) ?? "";
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

export function commandLine(pid: number): string {
  return (readText(`/proc/${pid}/cmdline`) ?? "").split("\0").join(" ").trim();
}

/** When a file was changed last, in milliseconds since 1970. */
export function changedAt(path: string): number | undefined {
  return attempt(() => statSync(path).mtimeMs);
}

/** Whether something comes to its end within so many milliseconds. */
export async function endsWithin(
  end: Promise<unknown>,
  milliseconds: number,
): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds);
  });
  const inTime = await Promise.race([end.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

/** Waits for a moment that no timer can hit: keeps the processor busy until then. */
export function spin(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}
