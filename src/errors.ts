/** How errors are told: which file is at fault, and why. */
import { wordsFor } from "./system/error.ts";

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
  const words = code === undefined ? undefined : wordsFor(code);
  if (words !== undefined) return `${words} (${code})`;
  return error instanceof Error ? error.message : String(error);
}
