import { describe, expect, setSystemTime, test } from "bun:test";
import fc from "fast-check";
import { statSync } from "node:fs";
import { SETTLE_TIME } from "../src/config.ts";
import {
  describeExit,
  exitOf,
  isReservedName,
  type Lock,
  parseCount,
  parseExit,
  parseLock,
  parsePid,
  parseServicePid,
  parseWaiting,
  readExit,
  readLock,
  readOwnPid,
  readPid,
  readStarts,
  readWaiting,
  type State,
  understood,
  UNKNOWN_EXIT,
} from "../src/rundir.ts";
import { signalName } from "../src/signals.ts";
import { TemporaryDirectory, withoutPrivileges } from "./temporary.ts";

const NO_NUMBER = [
  "",
  "\n",
  "-1",
  "+1",
  "1e3",
  "0x10",
  "1.0",
  "1.",
  "01",
  "00",
  " 12",
  "12 ",
  "12\n\n",
  "12\n13",
  "12\r\n",
  "\n12",
  "12\0",
  "\0",
  "١٢",
  "１２",
  "\u{feff}12",
  "twelve",
  "12a",
  "NaN",
  "Infinity",
  "9".repeat(16),
  "9".repeat(60),
  "\ufffd\ufffd",
];

/** Text as it comes out of files: any bytes at all, and what is nearly right. */
const anyText = fc.oneof(
  fc
    .uint8Array({ maxLength: 64 })
    .map((bytes) => Buffer.from(bytes).toString()),
  fc.string({ unit: "binary", maxLength: 64 }),
  fc.stringMatching(/^[0-9A-Za-z+ \n-]{0,12}$/),
);

describe("a pid", () => {
  test.each([
    ["2", 2],
    ["2\n", 2],
    ["1234\n", 1234],
    ["4194304\n", 4_194_304],
  ])("%j is one", (text, pid) => {
    expect(parsePid(text)).toBe(pid);
    expect(parseServicePid(text)).toBe(pid);
  });

  test.each([...NO_NUMBER, "0", "4194305", "2147483648", "4294967297"])(
    "%j is none",
    (text) => {
      expect(parsePid(text)).toBeUndefined();
      expect(parseServicePid(text)).toBeUndefined();
    },
  );

  test("of init can be sysmgr's own, but no service's", () => {
    expect(parsePid("1\n")).toBe(1);
    expect(parseServicePid("1\n")).toBeUndefined();
  });
});

describe("a count", () => {
  test.each([
    ["0", 0],
    ["7\n", 7],
    ["999999999999999", 999_999_999_999_999],
  ])("%j is one", (text, count) => {
    expect(parseCount(text)).toBe(count);
  });

  test.each(NO_NUMBER)("%j is none", (text) => {
    expect(parseCount(text)).toBeUndefined();
  });
});

describe("an exit", () => {
  test.each<[string, number | string]>([
    ["0\n", 0],
    ["255\n", 255],
    ["SIGKILL\n", "SIGKILL"],
    ["SIGSTKFLT\n", "SIGSTKFLT"],
    ["SIG34\n", "SIG34"],
    ["unknown\n", UNKNOWN_EXIT],
  ])("%j is one", (text, exit) => {
    expect(parseExit(text)).toBe(exit);
  });

  test.each([
    ...NO_NUMBER,
    "256",
    "KILL",
    "SIG",
    "sigkill",
    "SIGKILL ",
    "SIG\u001b[2J",
    "SIGABCDEFGHIJKLMN",
    "unknown?",
  ])("%j is none", (text) => {
    expect(parseExit(text)).toBeUndefined();
  });

  test("is told in a message as people say it", () => {
    expect([0, 1, "SIGKILL", UNKNOWN_EXIT].map(describeExit)).toEqual([
      "exited 0",
      "exited 1",
      "killed by SIGKILL",
      "ended",
    ]);
  });

  test.each<[number | null, number | string | null, number | string]>([
    [0, null, 0],
    [3, null, 3],
    [null, "SIGTERM", "SIGTERM"],
    [137, "SIGKILL", "SIGKILL"],
    [null, 40, "SIG40"],
    [null, 9, "SIGKILL"],
    [null, null, UNKNOWN_EXIT],
  ])("code %p, signal %p is written as %p", (code, signal, exit) => {
    expect(exitOf(code, signal)).toBe(exit);
    expect(parseExit(`${exit}\n`)).toBe(exit);
  });
});

describe("a lock", () => {
  const stop = (signal: number): Lock => ({ asks: "stop", signal });
  const signals = Array.from({ length: 31 }, (_, index) => index + 1);

  test.each(signals)(
    "may name signal %d in any of the usual ways",
    (signal) => {
      const name = signalName(signal);
      const short = name.slice("SIG".length);
      for (const way of [name, short, name.toLowerCase(), short.toLowerCase()])
        expect(parseLock(`${way}\n`)).toEqual(stop(signal));
    },
  );

  test("may give any signal by its number", () => {
    for (let signal = 1; signal <= 64; signal++)
      expect(parseLock(`${signal}\n`)).toEqual(stop(signal));
  });

  test.each<[string, Lock]>([
    ["", { asks: "nothing" }],
    ["\n", { asks: "nothing" }],
    [" \t\n\n", { asks: "nothing" }],
    ["0\n", { asks: "nothing" }],
    ["once\n", { asks: "once" }],
    ["once", { asks: "once" }],
    ["TERM", stop(15)],
    [" 9 \r\n", stop(9)],
    ["CLD", stop(17)],
    ["SIGIOT", stop(6)],
    ["poll", stop(29)],
  ])("%j is understood", (text, lock) => {
    expect(parseLock(text)).toEqual(lock);
  });

  test.each([
    "65",
    "99",
    "115",
    "-15",
    "+15",
    "1.5",
    "0x9",
    "00",
    "TERM KILL",
    "TERM\nKILL",
    "kill -9",
    "SIG",
    "SIGSIGTERM",
    "SIG SIGTERM",
    "TERMINATE",
    "twice",
    "constructor",
    "__proto__",
    "TERM\0",
    "\0",
    "\ufffd",
    "ſigkill",
    "kıll",
  ])("%j is not", (text) => {
    expect(parseLock(text)).toBeUndefined();
  });
});

describe("what is waited for", () => {
  test.each<[string, string[]]>([
    ["dbus\n", ["dbus"]],
    ["dbus", ["dbus"]],
    ["a\nb c\n-d\n", ["a", "b c", "-d"]],
    [`${"n".repeat(255)}\n`, ["n".repeat(255)]],
  ])("%j", (text, names) => {
    expect(parseWaiting(text)).toEqual(names);
  });

  test.each([
    "",
    "\n",
    "a\n\nb\n",
    "../../etc",
    "a/b",
    ".hidden",
    "a\0",
    "\ufffd",
  ])("never %j", (text) => {
    expect(parseWaiting(text)).toBeUndefined();
  });
});

describe("whatever a file says", () => {
  /** No text makes a parser throw, and what it accepts it accepts again as sysmgr would write it. */
  function survives<T>(
    parse: (text: string) => T | undefined,
    write: (value: T) => string,
    accepts: (value: T) => boolean,
  ): void {
    fc.assert(
      fc.property(anyText, (text) => {
        const value = parse(text);
        if (value === undefined) return;
        expect(accepts(value)).toBe(true);
        expect(parse(`${write(value)}\n`)).toEqual(value);
      }),
      { numRuns: 1000 },
    );
  }

  test("a pid is one that a process can have", () => {
    const possible = (pid: number) =>
      Number.isInteger(pid) && pid > 1 && pid <= 4_194_304;
    survives(parseServicePid, String, possible);
    survives(parsePid, String, (pid) => pid === 1 || possible(pid));
  });

  test("a count is a whole number", () => {
    survives(parseCount, String, (n) => Number.isSafeInteger(n) && n >= 0);
  });

  test("an exit fits on a line of a log", () => {
    survives(parseExit, String, (exit) => /^[\w+]{1,13}$/.test(String(exit)));
  });

  test("a lock asks for a signal that there is", () => {
    survives(
      parseLock,
      (lock) =>
        lock.asks === "stop"
          ? `${lock.signal}`
          : lock.asks.replace("nothing", "0"),
      (lock) => lock.asks !== "stop" || (lock.signal >= 1 && lock.signal <= 64),
    );
  });

  test("what is waited for never leads out of the run directory", () => {
    survives(
      parseWaiting,
      (names) => names.join("\n"),
      (names) => names.every((name) => !/^\.|[/\0\n]|^$/.test(name)),
    );
  });
});

describe("the files", () => {
  const service = "web";
  const READERS: Record<string, (rundir: string) => State<unknown>> = {
    pid: (rundir) => readPid(rundir, service),
    exit: (rundir) => readExit(rundir, service),
    starts: (rundir) => readStarts(rundir, service),
    waiting: (rundir) => readWaiting(rundir, service),
    lock: (rundir) => readLock(rundir, service).lock,
  };
  const CONTENT: Record<string, readonly [text: string, value: unknown]> = {
    pid: ["1234\n", 1234],
    exit: ["SIGTERM\n", "SIGTERM"],
    starts: ["17\n", 17],
    waiting: ["dbus\nnet\n", ["dbus", "net"]],
    lock: ["KILL\n", { asks: "stop", signal: 9 }],
  };

  type Trap = (place: TemporaryDirectory, name: string) => void;
  const TRAPS: Record<string, Trap> = {
    "a directory": (place, name) => place.directory(name),
    "a FIFO that nobody writes to": (place, name) => place.fifo(name),
    "a socket": (place, name) => place.socket(name),
    "a link to a file of the system": (place, name) =>
      place.link(name, "/etc/passwd"),
    "a link to nothing": (place, name) => place.link(name, "nothing"),
    "a link to a device": (place, name) => place.link(name, "/dev/zero"),
    "a link to itself": (place, name) => place.link(name, place.at(name)),
    "a link to a file that would do": (place, name) =>
      place.link(name, place.file("good", "15\n")),
    "a gigabyte of nothing": (place, name) => place.sparse(name, 2 ** 30),
    "binary data": (place, name) =>
      place.file(name, Uint8Array.from([0xff, 0xfe, 0, 0x80, 0x31])),
    "too much": (place, name) => place.file(name, "1".repeat(70_000)),
    "a value that has no end": (place, name) =>
      place.file(name, `1${"\0".repeat(64)}`),
  };

  describe.each(Object.entries(READERS))("%s", (file, read) => {
    const name = `${service}/${file}`;
    const at = () => {
      const place = new TemporaryDirectory();
      place.directory(service);
      return place;
    };

    test("is read with the time of its last change", () => {
      using place = at();
      const [text, value] = CONTENT[file] ?? ["", undefined];
      place.file(name, text);
      expect(read(place.path)).toEqual({
        is: "present",
        value,
        modified: expect.any(BigInt),
      });
    });

    test.each(Object.entries(TRAPS))("is garbage where it is %s", (_, trap) => {
      using place = at();
      trap(place, name);
      expect(read(place.path)).toEqual({
        is: "garbage",
        why: expect.stringMatching(/^[a-z0-9 ]+$/),
      });
    });

    test("is absent where it, or its directory, is missing", () => {
      using place = at();
      expect(read(place.path)).toEqual({ is: "absent" });
      expect(read(place.at("nowhere"))).toEqual({ is: "absent" });
    });

    test("is absent where a file lies in its directory's place", () => {
      using place = new TemporaryDirectory();
      place.file(service, "1234\n");
      expect(read(place.path)).toEqual({ is: "absent" });
    });

    test("that must not be read is an error, not a value", () => {
      using place = at();
      place.file(name, "15\n", 0o000);
      expect(() => withoutPrivileges(() => read(place.path))).toThrow("EACCES");
    });
  });

  test("that are absent or garbage say nothing", () => {
    const modified = 0n;
    expect(understood({ is: "present", value: 0, modified })).toBe(0);
    expect(understood({ is: "absent" })).toBeUndefined();
    expect(understood({ is: "garbage", why: "a FIFO" })).toBeUndefined();
  });

  test("a lock is complete with a newline, or when left alone", () => {
    using place = new TemporaryDirectory();
    place.directory(service);
    const complete = (text: string, age: number) => {
      const path = place.file(`${service}/lock`, text);
      setSystemTime(Math.floor(statSync(path).mtimeMs) + age);
      return readLock(place.path, service).complete;
    };
    try {
      for (const text of ["15\n", ""]) expect(complete(text, 0)).toBe(true);
      for (const text of ["1", "TERM"]) {
        expect(complete(text, 0)).toBe(false);
        expect(complete(text, SETTLE_TIME - 1)).toBe(false);
        expect(complete(text, SETTLE_TIME)).toBe(true);
        // The clock was set back since: that must not keep it incomplete for ever.
        expect(complete(text, -3_600_000)).toBe(true);
      }
    } finally {
      setSystemTime();
    }
    expect(readLock(place.path, "another").complete).toBe(true);
  });

  test("sysmgr's own pid may be that of init", () => {
    using place = new TemporaryDirectory();
    place.file("pid", "1\n");
    expect(readOwnPid(place.path)).toMatchObject({ is: "present", value: 1 });
    expect(isReservedName("pid")).toBe(true);
  });
});
