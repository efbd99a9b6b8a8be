/** Processes, signals and descriptors, as the kernel has them. */
import { ptr } from "bun:ffi";
import { codeOf, SystemError } from "./error.ts";
import { attempt, libc } from "./library.ts";

const SYS_PIDFD_OPEN = 434; // The same on every machine since Linux 5.3.
const LOCK_EXCLUSIVE_NOW = 2 | 4;
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const POLLOUT = 4;
const ESRCH = 3;
const EWOULDBLOCK = 11;
const EINVAL = 22;
const SIGINFO_BYTES = 128;
const SIGINFO_PID_OFFSET = 16;

/**
 * Sends a signal to a process or, with a negative number, to a process group; 0 only asks (kill(2)).
 * @returns undefined, or the code of the error: ESRCH, EPERM or EINVAL.
 */
export function sendSignal(pid: number, signal: number): string | undefined {
  const result = attempt(() => libc().kill(pid, signal));
  return result < 0 ? codeOf(-result) : undefined;
}

/**
 * Takes the lock of an open directory or file for as long as it is open (flock(2)).
 * @returns false when another process holds it.
 * @throws SystemError where the file system has no locks.
 */
export function lockFile(descriptor: number): boolean {
  const result = attempt(() => libc().flock(descriptor, LOCK_EXCLUSIVE_NOW));
  if (result >= 0) return true;
  if (result === -EWOULDBLOCK) return false;
  throw new SystemError("flock", -result);
}

/**
 * Opens a descriptor that stands for a process and becomes readable when it ends (pidfd_open(2)).
 * @returns undefined when there is no such process.
 * @throws SystemError on kernels before 5.3 (ENOSYS) or without a free descriptor.
 */
export function openProcess(pid: number): number | undefined {
  const result = attempt(() =>
    libc().syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0, 0),
  );
  if (result >= 0) return result;
  if (result === -ESRCH || result === -EINVAL) return undefined;
  throw new SystemError("pidfd_open", -result);
}

const information = new DataView(new ArrayBuffer(SIGINFO_BYTES));

/**
 * Names a child that has ended and that nobody has waited for, and leaves it so (waitid(2), WNOWAIT).
 * @returns undefined when there is none.
 */
export function peekEndedChild(): number | undefined {
  information.setInt32(SIGINFO_PID_OFFSET, 0, true);
  const place = ptr(information);
  const flags = WNOHANG | WEXITED | WNOWAIT;
  const result = attempt(() => libc().waitid(P_ALL, 0, place, flags));
  const pid = information.getInt32(SIGINFO_PID_OFFSET, true);
  return result >= 0 && pid > 0 ? pid : undefined;
}

/** Takes note of the end of one child, so that the kernel forgets it (waitpid(2)); never waits. */
export function reapChild(pid: number): void {
  libc().waitpid(pid, null, WNOHANG);
}

/** Whether something can be written to a descriptor without waiting (poll(2)). */
export function isWritable(descriptor: number): boolean {
  const request = new DataView(new ArrayBuffer(8));
  request.setInt32(0, descriptor, true);
  request.setInt16(4, POLLOUT, true);
  const ready = libc().poll(ptr(request), 1, 0) === 1;
  return ready && (request.getInt16(6, true) & POLLOUT) !== 0;
}

/** Whether a descriptor is a terminal (isatty(3)). */
export function isTerminal(descriptor: number): boolean {
  return libc().isatty(descriptor) === 1;
}

/** Gives back what this process has no use for (malloc_trim(3)); the static binary's does more, see its shim.c. */
export function releaseMemory(): void {
  libc().malloc_trim(0);
}

/** The session that a process belongs to (getsid(2)); undefined when there is no such process. */
export function sessionOf(pid: number): number | undefined {
  const session = libc().getsid(pid);
  return session > 0 ? session : undefined;
}
