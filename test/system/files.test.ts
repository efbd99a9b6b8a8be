/** What the program asks of the kernel itself is compared with what node:fs says of the same files. */
import { expect, test } from "bun:test";
import {
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import {
  close,
  CREATE,
  exists,
  linkStatus,
  list,
  makeDirectory,
  makeLink,
  open,
  READ,
  readBytes,
  readInto,
  readLink,
  readText,
  realPath,
  removeDirectory,
  rename,
  setModified,
  status,
  statusOf,
  tryOpen,
  unlink,
  writeSome,
} from "../../src/system/files.ts";
import { TemporaryDirectory } from "../temporary.ts";

function failure(code: string, path?: string) {
  return expect.objectContaining(
    path === undefined ? { code } : { code, path },
  );
}

function errorOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

test("a file's status is what node:fs says, to the nanosecond", () => {
  using place = new TemporaryDirectory();
  const file = place.file("file", "text", 0o4751);
  const link = place.link("link", file);
  const others = [place.directory("directory"), place.fifo("fifo")];
  setModified(file, 1_234_567_890_123_456_789n);
  for (const path of [file, link, ...others, "/dev/null", "/proc/self/stat"]) {
    for (const [mine, real] of [
      [status(path), statSync(path, { bigint: true })],
      [linkStatus(path), lstatSync(path, { bigint: true })],
    ] as const) {
      expect(mine?.mode).toBe(Number(real.mode & 0o7777n));
      expect(mine?.owner).toBe(Number(real.uid));
      expect(mine?.inode).toBe(real.ino);
      expect([mine?.isFile, mine?.isDirectory]).toEqual([
        real.isFile(),
        real.isDirectory(),
      ]);
      expect([mine?.isLink, mine?.isFifo, mine?.isCharacterDevice]).toEqual([
        real.isSymbolicLink(),
        real.isFIFO(),
        real.isCharacterDevice(),
      ]);
      if (path.startsWith("/proc")) continue;
      expect(mine?.modified).toBe(real.mtimeNs);
      expect(mine?.modifiedAt).toBeCloseTo(Number(real.mtimeNs) / 1e6, 2);
      expect(mine?.changedAt).toBeCloseTo(Number(real.ctimeNs) / 1e6, 2);
    }
  }
  expect(status("/dev/null")?.node).toEqual({ major: 1, minor: 3 });
  expect(status(file)?.modified).toBe(1_234_567_890_123_456_789n);
});

test("times before 1970 and after 2038 are told as they are", () => {
  using place = new TemporaryDirectory();
  const file = place.file("file", "");
  for (const seconds of [0n, 1n, 4_102_444_800n]) {
    setModified(file, seconds * 1_000_000_000n + 7n);
    expect(status(file)?.modified).toBe(seconds * 1_000_000_000n + 7n);
    expect(status(file)?.modified).toBe(
      statSync(file, { bigint: true }).mtimeNs,
    );
  }
});

test("two files in the same place are not the same", () => {
  using place = new TemporaryDirectory();
  const first = status(place.directory("a"))?.identity;
  expect(status(place.at("a"))?.identity).toBe(first ?? "");
  expect(removeDirectory(place.at("a"))).toBeTrue();
  expect(status(place.directory("a"))?.identity).not.toBe(first ?? "");
});

test("a directory is listed whole, whatever the names", () => {
  using place = new TemporaryDirectory();
  const names = [".hidden", "a b", "é\u{1f600}", "n".repeat(255), "-", "…"];
  for (let index = 0; index < 2000; index++) names.push(`file${index}`);
  for (const name of names) writeFileSync(place.at(name), "");
  place.directory("directory");
  const listed = list(place.path);
  expect(listed.map(({ name }) => name).sort()).toEqual(
    readdirSync(place.path).sort(),
  );
  expect(listed.find(({ name }) => name === "directory")?.is).not.toBe("other");
  expect(listed.find(({ name }) => name === "a b")?.is).not.toBe("directory");
});

test("files of any size are read whole", () => {
  using place = new TemporaryDirectory();
  for (const size of [0, 1, 16_383, 16_384, 16_385, 100_000]) {
    const text = "é".repeat(Math.ceil(size / 2)).slice(0, size);
    const path = place.file("file", text);
    expect(readText(path, "utf8")).toBe(text);
    expect(readBytes(path).equals(readFileSync(path))).toBeTrue();
  }
  expect(readText("/proc/version", "latin1")).toBe(
    readFileSync("/proc/version", "latin1"),
  );
});

test("files are made, written, renamed, linked and removed", () => {
  using place = new TemporaryDirectory();
  const file = open(place.at("new"), CREATE, 0o640);
  expect(writeSome(file, Buffer.from("some text"))).toBe(9);
  close(file);
  expect(errorOf(() => open(place.at("new"), CREATE, 0o640))).toEqual(
    failure("EEXIST", place.at("new")),
  );
  place.file("old", "old");
  rename(place.at("new"), place.at("old"));
  expect(readFileSync(place.at("old"), "utf8")).toBe("some text");
  makeLink("old", place.at("link"));
  expect(readLink(place.at("link"))).toBe("old");
  expect(realPath(place.at("./link"))).toBe(realPath(place.at("old")));
  const opened = open(place.at("link"), READ);
  const buffer = Buffer.from(new ArrayBuffer(4));
  expect(readInto(opened, buffer, 4)).toBe(4);
  expect(buffer.toString()).toBe("some");
  expect(statusOf(opened).inode).toBe(status(place.at("old"))?.inode ?? 0n);
  close(opened);
  expect([unlink(place.at("link")), unlink(place.at("link"))]).toEqual([
    true,
    false,
  ]);
  expect(makeDirectory(place.at("old"), 0o755)).toBeFalse();
  expect(exists(place.at("link"))).toBeFalse();
});

test("what fails says which call, which file and why", () => {
  using place = new TemporaryDirectory();
  const file = place.file("file", "");
  expect(tryOpen(place.at("missing"), READ)).toBe(-2);
  const failures: readonly [() => unknown, string][] = [
    [() => open(place.at("missing"), READ), "ENOENT"],
    [() => list(file), "ENOTDIR"],
    [() => status(`${file}/below`), "ENOTDIR"],
    [() => status(`/${"n".repeat(256)}`), "ENAMETOOLONG"],
    [() => status(`/${"a/".repeat(3000)}`), "ENAMETOOLONG"],
    [() => status(`/${"é".repeat(2048)}`), "ENAMETOOLONG"],
    [() => open("/a\0b", READ), "EINVAL"],
    [() => makeDirectory(place.at("missing/below"), 0o755), "ENOENT"],
    [() => removeDirectory(place.path), "ENOTEMPTY"],
    [() => rename(place.at("missing"), file), "ENOENT"],
    [() => readLink(file), "EINVAL"],
    [() => realPath(place.at("missing")), "ENOENT"],
    [() => setModified(place.at("missing"), 0n), "ENOENT"],
    [() => writeSome(9999, Buffer.from("x")), "EBADF"],
  ];
  for (const [work, code] of failures)
    expect(errorOf(work)).toEqual(failure(code));
  expect(errorOf(() => open(place.at("missing"), READ))).toEqual(
    expect.objectContaining({
      message: `ENOENT: no such file or directory, open '${place.at("missing")}'`,
    }),
  );
  expect(status(place.at("missing"))).toBeUndefined();
  expect(exists(`${file}/below`)).toBeFalse();
});
