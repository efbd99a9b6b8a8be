/** What a failed system call answers: number, name and words (errno(3), strerror(3)). */

const ERRORS: Readonly<Record<number, readonly [string, string]>> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted"],
  5: ["EIO", "input/output error"],
  6: ["ENXIO", "no such device or address"],
  7: ["E2BIG", "argument list too long"],
  8: ["ENOEXEC", "not a program or script"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  16: ["EBUSY", "device or resource busy"],
  17: ["EEXIST", "file exists"],
  18: ["EXDEV", "on another file system"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in system"],
  24: ["EMFILE", "too many open files"],
  26: ["ETXTBSY", "file is being written"],
  27: ["EFBIG", "file too large"],
  28: ["ENOSPC", "no space left"],
  30: ["EROFS", "read-only file system"],
  31: ["EMLINK", "too many links"],
  32: ["EPIPE", "nobody reads it"],
  36: ["ENAMETOOLONG", "file name too long"],
  38: ["ENOSYS", "function not implemented"],
  39: ["ENOTEMPTY", "directory not empty"],
  40: ["ELOOP", "too many levels of symbolic links"],
  95: ["EOPNOTSUPP", "operation not supported"],
  107: ["ENOTCONN", "not connected"],
  116: ["ESTALE", "stale file handle"],
  122: ["EDQUOT", "disk quota exceeded"],
};

const WORDS = new Map(Object.values(ERRORS));

/** A system call that failed; `code`, `path` and the message are as in the errors of node:fs. */
export class SystemError extends Error {
  readonly code: string;

  /** @param path what the call was about, where it was about a file. */
  constructor(
    readonly call: string,
    readonly errno: number,
    readonly path?: string | undefined,
  ) {
    const about = path === undefined ? "" : ` '${path}'`;
    const words = ERRORS[errno]?.[1] ?? "unknown error";
    super(`${codeOf(errno)}: ${words}, ${call}${about}`);
    this.code = codeOf(errno);
  }
}

/** The name of an error: `ENOENT`. */
export function codeOf(errno: number): string {
  return ERRORS[errno]?.[0] ?? `ERRNO${errno}`;
}

/** What the name of an error means, in a few words; undefined for one that is not expected. */
export function wordsFor(code: string): string | undefined {
  return WORDS.get(code);
}
