import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
} from "node:fs";
import { basename, join } from "node:path";
import {
  ensureDirectory,
  isAbsence,
  readSmallFile,
  removeFile,
  replaceFile,
  takeAway,
  temporaryOwner,
} from "../src/files.ts";
import { setModified } from "../src/system/files.ts";
import {
  openDescriptors,
  TemporaryDirectory,
  withoutPrivileges,
} from "./temporary.ts";

const FILES = join(import.meta.dir, "../src/files.ts");
const LEFTOVER = `.pid.${process.pid}`;

/** A program of a few lines that runs beside the test. */
function program(code: string, ...parameters: string[]): string[] {
  return [process.execPath, "-e", code, ...parameters];
}

describe("reading", () => {
  test("gives the text and when it was changed, to the nanosecond", () => {
    using place = new TemporaryDirectory();
    const path = place.file("pid", "1234\n");
    setModified(path, 1_700_000_000_123_456_789n);
    expect(readSmallFile(path, 64)).toEqual({
      found: "text",
      text: "1234\n",
      modified: 1_700_000_000_123_456_789n,
    });
  });

  test("takes as much as was asked for, and not a byte more", () => {
    using place = new TemporaryDirectory();
    const full = place.file("full", "x".repeat(64));
    const over = place.file("over", "x".repeat(65));
    expect(readSmallFile(full, 64)).toMatchObject({ text: "x".repeat(64) });
    expect(readSmallFile(over, 64)).toEqual({
      found: "garbage",
      why: "longer than 64 bytes",
    });
  });

  test("takes bytes that are no text for what they are", () => {
    using place = new TemporaryDirectory();
    const path = place.file("pid", Uint8Array.from([0xff, 0x31, 0]));
    expect(readSmallFile(path, 64)).toMatchObject({ text: "\ufffd1\0" });
  });

  test.each<[string, (place: TemporaryDirectory) => string, string]>([
    ["a directory", (place) => place.directory("trap"), "a directory"],
    ["a FIFO", (place) => place.fifo("trap"), "not a regular file"],
    ["a device", () => "/dev/zero", "not a regular file"],
    ["a socket", (place) => place.socket("trap"), "a socket or device"],
    ["a link", (place) => place.link("trap", "/etc/passwd"), "a symbolic link"],
  ])("does not touch %s", (_, set, why) => {
    using place = new TemporaryDirectory();
    expect(readSmallFile(set(place), 64)).toEqual({ found: "garbage", why });
  });

  test("finds nothing where there is nothing", () => {
    using place = new TemporaryDirectory();
    place.file("file", "");
    for (const path of ["absent", "absent/pid", "file/pid"])
      expect(readSmallFile(place.at(path), 64)).toEqual({ found: "nothing" });
  });

  test("leaves no descriptor open", () => {
    using place = new TemporaryDirectory();
    place.directory("directory");
    place.file("long", "x".repeat(65));
    const before = openDescriptors();
    for (const name of ["directory", "long", "absent"])
      readSmallFile(place.at(name), 64);
    expect(openDescriptors()).toBe(before);
  });

  test("says so when it must not", () => {
    using place = new TemporaryDirectory();
    const path = place.file("pid", "1\n", 0o000);
    const read = () => readSmallFile(path, 64);
    expect(() => withoutPrivileges(read)).toThrow("EACCES");
  });
});

describe("replacing", () => {
  test("writes a file that everybody may read, whatever the umask", () => {
    using place = new TemporaryDirectory();
    const path = place.at("pid");
    const umask = process.umask(0o077);
    try {
      replaceFile(path, "1234\n");
      expect(process.umask()).toBe(0o077);
    } finally {
      process.umask(umask);
    }
    expect(readFileSync(path, "utf8")).toBe("1234\n");
    expect(statSync(path).mode & 0o7777).toBe(0o644);
    expect(readdirSync(place.path)).toEqual(["pid"]);
  });

  test("lets the caller finish the file before anybody sees it", () => {
    using place = new TemporaryDirectory();
    const path = place.at("pid");
    const modified = 1_700_000_000_000_000_001n;
    replaceFile(path, "1\n", (temporary) => {
      expect(existsSync(path)).toBe(false);
      expect(temporaryOwner(basename(temporary))).toBe(process.pid);
      setModified(temporary, modified);
    });
    expect(readSmallFile(path, 64)).toMatchObject({ text: "1\n", modified });
  });

  test.each<[string, (place: TemporaryDirectory, name: string) => void]>([
    [
      "file",
      (place, name) => place.file(name, "a leftover, rather long", 0o600),
    ],
    ["link", (place, name) => place.link(name, place.file("other", "mine"))],
    ["FIFO", (place, name) => place.fifo(name)],
  ])("is not disturbed by an old %s of either name", (_, leave) => {
    for (const name of ["pid", LEFTOVER]) {
      using place = new TemporaryDirectory();
      leave(place, name);
      replaceFile(place.at("pid"), "1\n");
      expect(readFileSync(place.at("pid"), "utf8")).toBe("1\n");
      expect(lstatSync(place.at("pid")).mode).toBe(0o100_644);
      expect(existsSync(place.at(LEFTOVER))).toBe(false);
      if (existsSync(place.at("other")))
        expect(readFileSync(place.at("other"), "utf8")).toBe("mine");
    }
  });

  test.each<[string, (place: TemporaryDirectory) => void, string]>([
    ["its directory is missing", () => undefined, "ENOENT"],
    ["its directory is a file", (place) => place.file("web", ""), "ENOTDIR"],
    [
      "a directory lies in its place",
      (place) => {
        place.directory("web");
        place.directory("web/pid");
      },
      "EISDIR",
    ],
    ["it must not", (place) => place.directory("web", 0o555), "EACCES"],
  ])("fails and leaves nothing behind where %s", (_, arrange, code) => {
    using place = new TemporaryDirectory();
    arrange(place);
    const before = readdirSync(place.path, { recursive: true });
    const replace = () => replaceFile(place.at("web/pid"), "1\n");
    expect(() => withoutPrivilegesIf(code === "EACCES", replace)).toThrow(code);
    expect(readdirSync(place.path, { recursive: true })).toEqual(before);
  });

  test("that cannot be finished leaves the old file and nothing else", () => {
    using place = new TemporaryDirectory();
    const path = place.file("pid", "old\n");
    const before = openDescriptors();
    const fail = () => {
      throw new Error("no more");
    };
    expect(() => replaceFile(path, "new\n", fail)).toThrow("no more");
    expect(openDescriptors()).toBe(before);
    expect(readFileSync(path, "utf8")).toBe("old\n");
    expect(readdirSync(place.path)).toEqual(["pid"]);
  });

  test("that runs out of room leaves the old file and nothing else", () => {
    using place = new TemporaryDirectory();
    const path = place.file("waiting", "old\n");
    const code = `
      const { replaceFile } = await import(process.argv[1]);
      try {
        replaceFile(process.argv[2], "x".repeat(6000));
      } catch (error) {
        console.log(error.code);
      }`;
    const { stdout } = Bun.spawnSync([
      "sh",
      "-c",
      'trap "" XFSZ; ulimit -f 4; exec "$@"',
      "sh",
      ...program(code, FILES, path),
    ]);
    expect(stdout.toString()).toBe("EFBIG\n");
    expect(readFileSync(path, "utf8")).toBe("old\n");
    expect(readdirSync(place.path)).toEqual(["waiting"]);
  });

  test("never shows a half-written file to anybody", async () => {
    using place = new TemporaryDirectory();
    const path = place.at("waiting");
    const texts = ["a", "b"].map((letter) => letter.repeat(60_000));
    replaceFile(path, texts[0] ?? "");
    const code = `
      const { readFileSync } = require("node:fs");
      let changes = 0, last = "";
      while (changes < 200) {
        const text = readFileSync(process.argv[1], "latin1");
        const letter = text[0] ?? "";
        if (text !== letter.repeat(60_000)) throw new Error("half a file");
        if (letter !== last) changes++;
        last = letter;
      }`;
    const reader = Bun.spawn(program(code, path), { stderr: "inherit" });
    while (reader.exitCode === null) {
      for (const text of texts) replaceFile(path, text);
      await new Promise(setImmediate);
    }
    expect(reader.exitCode).toBe(0);
  }, 60_000);
});

describe("a directory", () => {
  const mode = (path: string) => statSync(path).mode & 0o7777;

  test("is made with those above it, for everybody to read", () => {
    using place = new TemporaryDirectory();
    const umask = process.umask(0o077);
    try {
      ensureDirectory(place.at("run/sysmgr/web"));
    } finally {
      process.umask(umask);
    }
    for (const path of ["run", "run/sysmgr", "run/sysmgr/web"])
      expect(mode(place.at(path))).toBe(0o755);
  });

  test("that is there already is left as it is", () => {
    using place = new TemporaryDirectory();
    const path = place.directory("run", 0o2770);
    ensureDirectory(path);
    expect(mode(path)).toBe(0o2770);
  });

  test("is not made where a file lies", () => {
    using place = new TemporaryDirectory();
    place.file("run", "");
    expect(() => ensureDirectory(place.at("run"))).toThrow("EEXIST");
    expect(() => ensureDirectory(place.at("run/web"))).toThrow("ENOTDIR");
  });
});

describe.each([removeFile, takeAway])("removing, with %p", (remove) => {
  test("says whether there was a file, and leaves nothing of it", () => {
    using place = new TemporaryDirectory();
    const path = place.file("lock", "");
    expect([remove(path), remove(path)]).toEqual([true, false]);
    expect(remove(place.at("absent/lock"))).toBe(false);
    expect(readdirSync(place.path)).toEqual([]);
  });

  test("removes a link, not what it leads to", () => {
    using place = new TemporaryDirectory();
    remove(place.link("lock", place.file("target", "")));
    expect(readdirSync(place.path)).toEqual(["target"]);
  });

  test("fails where it must not", () => {
    using place = new TemporaryDirectory();
    const path = place.file("lock", "");
    chmodSync(place.path, 0o555);
    expect(() => withoutPrivileges(() => remove(path))).toThrow("EACCES");
  });
});

test.each<[string, number | undefined]>([
  [".pid.1234", 1234],
  [".waiting.4194304", 4_194_304],
  [".pid.0", 0],
  ["pid", undefined],
  [".pid", undefined],
  ["pid.1234", undefined],
  [".pid.1234.5", undefined],
  [".pid.x", undefined],
  [".pid.", undefined],
  [".pid.-1", undefined],
  [".pid.12\n", undefined],
  [".pid.12345678901", undefined],
  ["..1", undefined],
])("the owner of the temporary name %j is %p", (name, owner) => {
  expect(temporaryOwner(name)).toBe(owner);
});

test("absence is told from every other failure", () => {
  const failing = (path: string) => {
    try {
      utimesSync(path, 0, 0);
    } catch (error) {
      return error;
    }
    return undefined;
  };
  expect(isAbsence(failing("/nowhere/at/all"))).toBe(true);
  expect(isAbsence(failing("/dev/null/pid"))).toBe(true);
  expect(isAbsence(failing("/proc/version"))).toBe(false);
  expect(isAbsence(new Error("ENOENT"))).toBe(false);
  expect(isAbsence("ENOENT")).toBe(false);
});

function withoutPrivilegesIf<T>(condition: boolean, work: () => T): T {
  return condition ? withoutPrivileges(work) : work();
}
