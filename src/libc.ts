/**
 * The few system calls that Bun does not offer, made through libc. In the static binary the same names
 * are answered by the linked-in libc (see static-link/shim.c).
 */
import { type Pointer, dlopen, ptr, read } from "bun:ffi";

/** A call that failed; `code` is as in the errors of node:fs. */
export class LibcError extends Error {
  readonly code: string;

  constructor(
    readonly call: string,
    readonly errno: number,
  ) {
    super(`${call}: error ${errno}`);
    this.code = ERROR_NAMES[errno] ?? `ERRNO${errno}`;
  }
}

/** What these calls can answer (errno(3)); the numbers are those of every machine that Bun runs on. */
const ERROR_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  5: "EIO",
  9: "EBADF",
  12: "ENOMEM",
  13: "EACCES",
  20: "ENOTDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  28: "ENOSPC",
  30: "EROFS",
  38: "ENOSYS",
  95: "EOPNOTSUPP",
};

const SYS_PIDFD_OPEN = 434; // The same on every machine since Linux 5.3.
const AT_FDCWD = -100;
const LOCK_EXCLUSIVE_NOW = 2 | 4;
const SIG_SETMASK = 2;
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const POLLOUT = 4;
const EINTR = 4;
const EWOULDBLOCK = 11;
const ENOSYS = 38;
const SIGNAL_SET_BYTES = 128;
const SIGINFO_BYTES = 128;
const SIGINFO_PID_OFFSET = 16;

/**
 * Takes the lock of an open directory or file for as long as it is open (flock(2)).
 * @returns false when another process holds it.
 * @throws LibcError where the file system has no locks.
 */
export function lockFile(descriptor: number): boolean {
  for (;;) {
    if (libc().flock(descriptor, LOCK_EXCLUSIVE_NOW) === 0) return true;
    const code = errno();
    if (code === EWOULDBLOCK) return false;
    if (code !== EINTR) throw new LibcError("flock", code);
  }
}

/**
 * Opens a descriptor that stands for a process and becomes readable when it ends (pidfd_open(2)).
 * @returns undefined when there is no such process.
 * @throws LibcError on kernels before 5.3 (ENOSYS) or without a free descriptor.
 */
export function openProcess(pid: number): number | undefined {
  const descriptor = Number(libc().syscall(SYS_PIDFD_OPEN, pid, 0));
  if (descriptor >= 0) return descriptor;
  const code = errno();
  if (code === 3 || code === 22) return undefined;
  throw new LibcError("pidfd_open", code);
}

/** Whether an error says that the kernel does not know the call. */
export function isUnsupported(error: unknown): boolean {
  return error instanceof LibcError && error.errno === ENOSYS;
}

/**
 * Sets a file's time of last change to the nanosecond, which node:fs cannot (utimensat(2)).
 * @throws LibcError
 */
export function setModified(path: string, nanoseconds: bigint): void {
  const times = new BigInt64Array(4);
  times[0] = times[2] = nanoseconds / 1_000_000_000n;
  times[1] = times[3] = nanoseconds % 1_000_000_000n;
  if (libc().utimensat(AT_FDCWD, cString(path), ptr(times), 0) !== 0)
    throw new LibcError("utimensat", errno());
}

/** Lets all signals through, whatever the process that started this one had blocked (sigprocmask(2)). */
export function unblockSignals(): void {
  const none = new Uint8Array(SIGNAL_SET_BYTES);
  if (libc().sigprocmask(SIG_SETMASK, ptr(none), null) !== 0)
    throw new LibcError("sigprocmask", errno());
}

/**
 * Names a child that has ended and that nobody has waited for, and leaves it so (waitid(2), WNOWAIT).
 * @returns undefined when there is none.
 */
export function peekEndedChild(): number | undefined {
  const information = new Uint8Array(SIGINFO_BYTES);
  const flags = WNOHANG | WEXITED | WNOWAIT;
  if (libc().waitid(P_ALL, 0, ptr(information), flags) !== 0) return undefined;
  const pid = new DataView(information.buffer).getInt32(
    SIGINFO_PID_OFFSET,
    true,
  );
  return pid > 0 ? pid : undefined;
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
  const ready = libc().poll(ptr(request.buffer), 1, 0) === 1;
  return ready && (request.getInt16(6, true) & POLLOUT) !== 0;
}

/** Whether a descriptor is a terminal (isatty(3)); node:tty would cost the daemon 1.7 MB of memory. */
export function isTerminal(descriptor: number): boolean {
  return libc().isatty(descriptor) === 1;
}

/** The session that a process belongs to (getsid(2)); undefined when there is no such process. */
export function sessionOf(pid: number): number | undefined {
  const session = libc().getsid(pid);
  return session > 0 ? session : undefined;
}

type Library = ReturnType<typeof load>["symbols"];
let loaded: Library | undefined;

function libc(): Library {
  loaded ??= load().symbols;
  return loaded;
}

function load() {
  return dlopen("libc.so.6", {
    __errno_location: { args: [], returns: "ptr" },
    flock: { args: ["int", "int"], returns: "int" },
    getsid: { args: ["int"], returns: "int" },
    isatty: { args: ["int"], returns: "int" },
    poll: { args: ["ptr", "u64", "int"], returns: "int" },
    sigprocmask: { args: ["int", "ptr", "ptr"], returns: "int" },
    syscall: { args: ["i64", "i64", "i64"], returns: "i64" },
    utimensat: { args: ["int", "ptr", "ptr", "int"], returns: "int" },
    waitid: { args: ["int", "u32", "ptr", "int"], returns: "int" },
    waitpid: { args: ["int", "ptr", "int"], returns: "int" },
  });
}

function errno(): number {
  const location = libc().__errno_location();
  return typeof location === "number" ? read.i32(location, 0) : 0;
}

function cString(text: string): Pointer {
  return ptr(Buffer.from(`${text}\0`));
}
