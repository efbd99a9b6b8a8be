/** The clock that every process of this machine agrees on. */
import { dlopen, ptr } from "bun:ffi";

const CLOCK_MONOTONIC = 1;
const NANOSECONDS = 1_000_000_000n;

const { symbols } = dlopen("libc.so.6", {
  clock_gettime: { args: ["int", "ptr"], returns: "int" },
});
const time = new BigInt64Array(2);

/** Nanoseconds of CLOCK_MONOTONIC. */
export function monotonic(): number {
  symbols.clock_gettime(CLOCK_MONOTONIC, ptr(time));
  const [seconds = 0n, nanoseconds = 0n] = time;
  return Number(seconds * NANOSECONDS + nanoseconds);
}
