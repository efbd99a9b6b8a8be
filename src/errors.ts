/** Words for what a system call answered, as strerror(3) has them. */
const WORDS: Readonly<Record<string, string>> = {
  E2BIG: "argument list too long",
  EACCES: "permission denied",
  EAGAIN: "resource temporarily unavailable",
  EBUSY: "device or resource busy",
  EDQUOT: "disk quota exceeded",
  EEXIST: "file exists",
  EIO: "input/output error",
  EINVAL: "invalid argument",
  EISDIR: "is a directory",
  ELOOP: "too many levels of symbolic links",
  EMFILE: "too many open files",
  ENAMETOOLONG: "file name too long",
  ENFILE: "too many open files in system",
  ENODEV: "no such device",
  ENOENT: "no such file or directory",
  ENOEXEC: "not a program or script",
  ENOMEM: "out of memory",
  ENOSPC: "no space left",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  ENXIO: "no such device or address",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
  ESRCH: "no such process",
  ETXTBSY: "file is being written",
};

/** The code of a failed system call (`ENOENT`), or undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error))
    return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Says which file is at fault, where that is known, and why: `/run/x: permission denied (EACCES)`. */
export function describeError(error: unknown): string {
  const named =
    typeof error === "object" && error !== null && "path" in error
      ? error.path
      : undefined;
  const reason = reasonOf(error);
  return typeof named === "string" ? `${named}: ${reason}` : reason;
}

/** Says in a few words why something failed: `permission denied (EACCES)`. */
export function reasonOf(error: unknown): string {
  const code = errorCode(error);
  const words = code === undefined ? undefined : WORDS[code];
  if (words !== undefined) return `${words} (${code})`;
  const message = error instanceof Error ? error.message : String(error);
  return message;
}
