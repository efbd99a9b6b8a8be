/**
 * The door to the system: libc's functions, called through bun:ffi. In the static binary the same names
 * are answered by the libc that is linked in (static-link/shim.c has the list). node:fs would cost each
 * process half a megabyte of memory and a fifth of its start-up time, and an exception with a stack
 * trace for every file that is not there.
 *
 * An address (ptr) does not keep what it points to alive: whatever is passed by its address is held by
 * a variable that outlives the call.
 */
import { dlopen, type Pointer, ptr, read } from "bun:ffi";
import { SystemError } from "./error.ts";

const LIBRARY = "libc.so.6";
/** PATH_MAX (limits.h), the final zero included. */
const LONGEST_PATH = 4096;
const EINTR = 4;
const EINVAL = 22;
const ENAMETOOLONG = 36;

type Functions = ReturnType<typeof load>["symbols"];
let functions: Functions | undefined;

/** The functions of libc that the program uses; each sets errno as its manual page says. */
export function libc(): Functions {
  functions ??= load().symbols;
  return functions;
}

/** The error of the call that has just failed (errno(3)). */
export function errno(): number {
  const location = libc().__errno_location();
  return typeof location === "number" ? read.i32(location, 0) : 0;
}

/**
 * Makes a call that may be interrupted by a signal (EINTR, signal(7)) until it is not.
 * @returns what it gave, or, where that is -1, the error as a negative number.
 */
export function attempt(call: () => number): number {
  for (;;) {
    const result = Number(call());
    if (result !== -1) return result;
    const error = errno();
    if (error !== EINTR) return -error;
  }
}

/**
 * Makes a call as `attempt` does.
 * @param name the call's, for the error.
 * @param path what it is about.
 * @throws SystemError
 */
export function must(
  name: string,
  path: string | undefined,
  call: () => number,
): number {
  const result = attempt(call);
  if (result < 0) throw new SystemError(name, -result, path);
  return result;
}

/** Memory for one argument of a call: kept for ever, so that calls make no garbage. */
class PathArgument {
  readonly #bytes = Buffer.from(new ArrayBuffer(LONGEST_PATH));
  readonly #address = ptr(this.#bytes);

  /** @throws SystemError for what cannot be a path. */
  set(path: string): Pointer {
    if (path.includes("\0")) throw new SystemError("path", EINVAL, path);
    const length = this.#bytes.write(path, 0, LONGEST_PATH);
    // A character that would not fit is left out whole, so the text may end a little before the buffer.
    if (length > LONGEST_PATH - 4)
      throw new SystemError("path", ENAMETOOLONG, path);
    this.#bytes[length] = 0;
    return this.#address;
  }
}

const first = new PathArgument();
const second = new PathArgument();

/** A path as an argument; it holds until the next call of this function. */
export function pathArgument(path: string): Pointer {
  return first.set(path);
}

/** The second path of a call that takes two. */
export function secondPathArgument(path: string): Pointer {
  return second.set(path);
}

/** What these calls return fits into an int, also where the manual page says ssize_t or long. */
function load() {
  return dlopen(LIBRARY, {
    __errno_location: { args: [], returns: "ptr" },
    access: { args: ["ptr", "int"], returns: "int" },
    chmod: { args: ["ptr", "u32"], returns: "int" },
    close: { args: ["int"], returns: "int" },
    fchmod: { args: ["int", "u32"], returns: "int" },
    fcntl: { args: ["int", "int", "int"], returns: "int" },
    flock: { args: ["int", "int"], returns: "int" },
    getdents64: { args: ["int", "ptr", "u64"], returns: "int" },
    getsid: { args: ["int"], returns: "int" },
    inotify_add_watch: { args: ["int", "ptr", "u32"], returns: "int" },
    inotify_init1: { args: ["int"], returns: "int" },
    inotify_rm_watch: { args: ["int", "int"], returns: "int" },
    isatty: { args: ["int"], returns: "int" },
    kill: { args: ["int", "int"], returns: "int" },
    malloc_trim: { args: ["u64"], returns: "int" },
    mkdir: { args: ["ptr", "u32"], returns: "int" },
    mmap: {
      args: ["ptr", "u64", "int", "int", "int", "i64"],
      returns: "ptr",
    },
    open: { args: ["ptr", "int", "u32"], returns: "int" },
    pipe2: { args: ["ptr", "int"], returns: "int" },
    poll: { args: ["ptr", "u64", "int"], returns: "int" },
    read: { args: ["int", "ptr", "u64"], returns: "int" },
    readlink: { args: ["ptr", "ptr", "u64"], returns: "int" },
    realpath: { args: ["ptr", "ptr"], returns: "ptr" },
    rename: { args: ["ptr", "ptr"], returns: "int" },
    rmdir: { args: ["ptr"], returns: "int" },
    sigprocmask: { args: ["int", "ptr", "ptr"], returns: "int" },
    statx: { args: ["int", "ptr", "int", "u32", "ptr"], returns: "int" },
    symlink: { args: ["ptr", "ptr"], returns: "int" },
    syscall: {
      args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"],
      returns: "int",
    },
    unlink: { args: ["ptr"], returns: "int" },
    utimensat: { args: ["int", "ptr", "ptr", "int"], returns: "int" },
    waitid: { args: ["int", "u32", "ptr", "int"], returns: "int" },
    waitpid: { args: ["int", "ptr", "int"], returns: "int" },
    write: { args: ["int", "ptr", "u64"], returns: "int" },
  });
}
