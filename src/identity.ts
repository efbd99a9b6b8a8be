/**
 * Who is meant by a pid that was written to a file. A pid alone is not enough, because the kernel gives
 * it to another process one day; pid and start time together are one process for ever. The start time
 * is kept where `cat pid` does not show it: in the last six digits of the file's time of change, in
 * nanoseconds, as a stamp made of the pid, the kernel's start time and the boot. Unlike a time of day
 * it holds when the system clock is set.
 */
import { NANOSECONDS_PER_MILLISECOND } from "./files.ts";
import { sendSignal } from "./system/processes.ts";
import { bootIdentity, type ProcessStatus, readProcess } from "./proc.ts";

/** What is known of the process that a file names. */
export type Verdict =
  /** It is that process. */
  | "same"
  /** It is another one, or none. */
  | "other"
  /** Some process has that pid, but /proc does not show which. */
  | "unknown";

const STAMPS = 1_000_000n;
const HINTS = 1000n;

let boot: string | undefined;

/** What makes a process that one and no other. */
type Identity = Pick<ProcessStatus, "pid" | "startTicks">;

/** The stamp of a process: a number below one million. */
export function stampOf(status: Identity): bigint {
  boot ??= bootIdentity();
  return BigInt(hash(`${boot} ${status.pid} ${status.startTicks}`)) % STAMPS;
}

/**
 * The time of change for a file that names a process: its start, to the millisecond, then its stamp.
 * @param startedAt milliseconds since 1970.
 * @returns nanoseconds since 1970.
 */
export function stampedTime(status: Identity, startedAt: number): bigint {
  return (
    BigInt(Math.floor(startedAt)) * NANOSECONDS_PER_MILLISECOND +
    stampOf(status)
  );
}

/**
 * A number below one thousand that hints at a pid. It is kept in the nanoseconds of the file that says how the
 * process ended, for the case that its pid file is lost while others of its group are left.
 */
export function hintAt(pid: number): bigint {
  return BigInt(pid) % HINTS;
}

/** The hint that a time of change holds; undefined where it holds none, because somebody else has set it. */
export function hintIn(modified: bigint): bigint | undefined {
  const hint = modified % NANOSECONDS_PER_MILLISECOND;
  return hint < HINTS ? hint : undefined;
}

/**
 * Compares a process with the file that names it.
 * @param modified the file's time of change, in nanoseconds since 1970.
 */
export function verify(pid: number, modified: bigint): Verdict {
  const status = readProcess(pid);
  // Without /proc, or where it hides other users' processes, there is nothing to compare.
  if (status === undefined) return isAlive(pid) ? "unknown" : "other";
  if (status.ended) return "other";
  return modified % STAMPS === stampOf(status) ? "same" : "other";
}

/** Whether a process exists, one that has ended but was not waited for included (kill(2), signal 0). */
export function isAlive(pid: number): boolean {
  const problem = sendSignal(pid, 0);
  return problem === undefined || problem === "EPERM";
}

/** FNV-1a, 32 bits: spreads well, and a collision only matters between two users of the same pid. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
