/** The program that is linked in the tests. Its first argument says what it does. */
import { dlopen, toArrayBuffer } from "bun:ffi";
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  watch,
} from "node:fs";
import { deflate } from "node:zlib";

const GETPID = process.arch === "arm64" ? 172 : 39;
const PAGES = 4;
const PAGE_BYTES = 4096;
const [what = "", ...rest] = process.argv.slice(2);

const ACTIONS: Record<string, () => void> = {
  "--version": () => console.log("fixture 1"),
  exit: () => process.exit(Number(rest[0])),
  environment: () => console.log(JSON.stringify(process.env)),
  children,
  call,
  load: () => tryLibrary(rest[0] ?? ""),
  signals,
  become,
  idle,
  trim: () => console.log(trim()),
  trimWithThreads: () =>
    deflate("work for another thread", () =>
      console.log(readdirSync("/proc/self/task").length > 1, trim()),
    ),
};
ACTIONS[what]?.();

/** What a child gets that inherits everything, and one whose environment was put together. */
function children(): void {
  for (const env of [undefined, { ...process.env, ADDED: "1" }]) {
    const child = Bun.spawnSync(rest, env === undefined ? {} : { env });
    console.log(JSON.stringify(child.stdout.toString()));
  }
}

/** Calls of libc, and a child whose descriptors are the null device. */
function call(): void {
  const { symbols } = dlopen("libc.so.6", {
    getsid: { args: ["int"], returns: "int" },
    isatty: { args: ["int"], returns: "int" },
    syscall: { args: ["i64"], returns: "i64" },
    waitpid: { args: ["int", "ptr", "int"], returns: "int" },
  });
  const child = Bun.spawnSync([process.argv0, "exit", "4"], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  console.log(
    symbols.getsid(0) >= 0,
    symbols.isatty(0),
    Number(symbols.syscall(GETPID)) === process.pid,
    symbols.waitpid(process.pid, null, 1),
    child.exitCode,
  );
}

function tryLibrary(name: string): void {
  try {
    dlopen(name, { absent_function: { args: [], returns: "int" } });
  } catch (error) {
    console.log(String(error));
  }
}

/** What this process has blocked and ignored, and whether it is told how a child ended. */
function signals(): void {
  const status = readFileSync("/proc/self/status", "utf8");
  const child = Bun.spawnSync(["/bin/sh", "-c", "exit 3"]);
  console.log(/SigBlk:\s*(\w+)/.exec(status)?.[1], child.exitCode);
}

/** Fails to become another program, and says its limit of open files afterwards. */
function become(): void {
  const limit = () =>
    /Max open files\s+(\d+)/.exec(
      readFileSync("/proc/self/limits", "utf8"),
    )?.[1];
  const before = limit();
  try {
    process.execve?.("/dev/null", ["null"], {});
  } catch (error) {
    console.log(error instanceof Error, limit() === before);
  }
}

/**
 * Which of some pages are in memory after memory was given back (o: not), and whether they hold what they held:
 * all zeros, something at the beginning, something at the end, and all zeros again.
 */
function trim(): string {
  const { symbols } = dlopen("libc.so.6", {
    malloc_trim: { args: ["u64"], returns: "int" },
    mmap: { args: ["ptr", "u64", "int", "int", "int", "i64"], returns: "ptr" },
  });
  const [READ_WRITE, PRIVATE_ANONYMOUS] = [3, 0x22];
  const size = PAGES * PAGE_BYTES;
  const start = symbols.mmap(null, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
  if (start === null) return "mmap failed";
  const bytes = new Uint8Array(toArrayBuffer(start, 0, size));
  bytes.fill(0);
  bytes[PAGE_BYTES] = 1;
  bytes[3 * PAGE_BYTES - 1] = 2;
  const first = Number(start) / PAGE_BYTES;
  const before = present(first, PAGES);
  symbols.malloc_trim(0);
  const after = present(first, PAGES);
  const held = [...bytes].flatMap((byte, at) => (byte === 0 ? [] : [at, byte]));
  const same = `${held}` === `${[PAGE_BYTES, 1, 3 * PAGE_BYTES - 1, 2]}`;
  return `${before} ${after} ${same ? "unchanged" : held}`;
}

/** From /proc/PID/pagemap: 64 bits for each page, of which the highest says that it is there. */
function present(first: number, pages: number): string {
  const file = openSync("/proc/self/pagemap", "r");
  const words = Buffer.alloc(8 * pages);
  readSync(file, words, 0, words.length, 8 * first);
  closeSync(file);
  const marks = Array.from({ length: pages }, (_, index) =>
    (words[8 * index + 7] ?? 0) & 0x80 ? "x" : "o",
  );
  return marks.join("");
}

/** Waits as a daemon does, after having done some work. */
function idle(): void {
  const nothing = () => undefined;
  watch(rest[0] ?? ".", nothing);
  for (let count = 0; count < 20; count++) Bun.spawnSync(["/bin/true"]);
  setTimeout(nothing, 2 ** 31 - 1);
  console.log("ready");
}
