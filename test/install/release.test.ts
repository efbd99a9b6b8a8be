/** The release archive: the same every time, complete, and enough for a machine that has only busybox. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import { pack } from "../../src/release/archive.ts";
import { layOut } from "../../src/release/contents.ts";
import { readExecutable } from "../../src/release/machine.ts";
import { DIST } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";

const ROOT = join(import.meta.dir, "../..");
const NAME = `sysmgr-${version}-linux-x64`;
const EPOCH = "1700000000";
const PACKING = { epoch: Number(EPOCH), preset: 0 };
/** Packing 110 MB takes its time. */
const LONG = 300_000;

const executable = existsSync(join(DIST, "sysmgr"))
  ? readExecutable(join(DIST, "sysmgr"))
  : undefined;
const unfit =
  executable?.machine !== "x64" || executable.dynamic
    ? "dist/sysmgr is not a static program for x64"
    : undefined;
const CHROOT = Bun.which("chroot", { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
const notRoot =
  process.geteuid?.() === 0 && CHROOT ? undefined : "chroot needs root";

let directory: TemporaryDirectory;

beforeAll(() => {
  directory = new TemporaryDirectory();
});
afterAll(() => directory[Symbol.dispose]());

describe("an archive", () => {
  test("has the same bytes, whatever the order, times, owners and modes that files were made with", async () => {
    const names = ["b", "a", "sub/c", "sub/d", "Z"];
    const first = makeTree("first", names);
    const second = makeTree("second", names.toReversed());
    chmodSync(join(first, "tree"), 0o755);
    chmodSync(join(second, "tree"), 0o755);
    utimesSync(join(second, "tree/a"), 1, 1);
    const [one, two] = [join(first, "x.tar.xz"), join(second, "x.tar.xz")];
    await pack(join(first, "tree"), one, PACKING);
    process.env["XZ_OPT"] = "-9";
    process.env["TAR_OPTIONS"] = "--owner=7";
    try {
      await pack(join(second, "tree"), two, PACKING);
    } finally {
      delete process.env["XZ_OPT"];
      delete process.env["TAR_OPTIONS"];
    }
    expect(readFileSync(one).equals(readFileSync(two))).toBe(true);
  });

  test("has the same bytes, whatever the umask of who makes it", async () => {
    const binary = directory.file("stand-in", "", 0o755);
    const archives: Buffer[] = [];
    for (const umask of [0o022, 0o077]) {
      const top = directory.directory(`umask-${umask}`);
      const before = process.umask(umask);
      try {
        layOut(ROOT, binary, "x64", join(top, "tree"));
      } finally {
        process.umask(before);
      }
      await pack(join(top, "tree"), join(top, "x.tar.xz"), PACKING);
      archives.push(readFileSync(join(top, "x.tar.xz")));
    }
    expect(archives[0]?.equals(archives[1] ?? Buffer.of())).toBe(true);
  });

  test("is not there when it could not be made", async () => {
    const top = directory.directory("failing");
    const output = join(top, "x.tar.xz");
    await expect(pack(join(top, "absent"), output, PACKING)).rejects.toThrow(
      "tar failed",
    );
    expect(readdirSync(top)).toEqual([]);
  });

  function makeTree(name: string, files: readonly string[]): string {
    const top = directory.directory(name);
    mkdirSync(join(top, "tree/sub"), { recursive: true });
    for (const file of files) writeFileSync(join(top, "tree", file), file);
    return top;
  }
});

describe("a release is refused,", () => {
  test("where there is no binary", () => {
    const dist = directory.directory("empty");
    const { code, err } = release(dist);
    expect(code).toBe(1);
    expect(err).toBe(
      `release: ${dist}/sysmgr: not there; run: bun run build\n`,
    );
  });

  test("where the binary is dynamically linked", () => {
    const dist = directory.directory("dynamic");
    copyFileSync("/bin/sleep", join(dist, "sysmgr"));
    const { code, err } = release(dist);
    expect(code).toBe(1);
    expect(err).toContain("only a static one is released");
    expect(readdirSync(dist)).toEqual(["sysmgr"]);
  });

  test("where it is no binary, or another one", () => {
    const dist = directory.directory("other");
    writeFileSync(join(dist, "sysmgr"), "#!/bin/sh\n");
    expect(release(dist).err).toContain("not a program for x64 or arm64");
    copyFileSync("/bin/busybox", join(dist, "sysmgr"));
    expect(release(dist).err).toContain("sysmgr");
    expect(release(dist).code).toBe(1);
    expect(readdirSync(dist)).toEqual(["sysmgr"]);
  });

  test.each(["tar", "xz"])("where there is no %s", (tool) => {
    const bin = directory.directory(`without-${tool}`);
    for (const each of ["git", "tar", "xz"])
      if (each !== tool) symlinkSync(`/usr/bin/${each}`, join(bin, each));
    const { code, err } = release(directory.path, { PATH: bin });
    expect(code).toBe(1);
    expect(err).toBe(`release: needs ${tool}, which is not installed\n`);
  });

  test("where tar is not GNU's", () => {
    const bin = directory.directory("busybox-tar");
    symlinkSync("/usr/bin/xz", join(bin, "xz"));
    symlinkSync(Bun.which("busybox") ?? "busybox", join(bin, "tar"));
    const { err } = release(directory.path, { PATH: bin });
    expect(err).toContain("tar");
    expect(err).toContain("release: ");
  });

  test("where the time makes no sense", () => {
    const { code, err } = release(directory.path, {
      SOURCE_DATE_EPOCH: "yesterday",
    });
    expect(code).toBe(1);
    expect(err).toContain("SOURCE_DATE_EPOCH: 'yesterday'");
  });

  test("where an option is unknown", () => {
    const { code, err } = release(directory.path, {}, "--bogus");
    expect(code).toBe(1);
    expect(err).toContain("usage: bun run release");
  });
});

describe.skipIf(unfit !== undefined)(
  unfit ? `skipped: ${unfit}` : "a release",
  () => {
    let dist: string;

    beforeAll(() => {
      dist = directory.directory("dist");
      cpSync(join(DIST, "sysmgr"), join(dist, "sysmgr"));
      const { code, err } = release(dist);
      expect(`${code}${err}`).toBe("0");
    }, LONG);

    test("is an archive and its checksum, and nothing half-made", () => {
      const there = ["SHA256SUMS", "sysmgr", `${NAME}.tar.xz`];
      expect(readdirSync(dist).sort()).toEqual(there);
      const check = Bun.spawnSync(["sha256sum", "--check", "SHA256SUMS"], {
        cwd: dist,
      });
      expect(check.stdout.toString()).toBe(`${NAME}.tar.xz: OK\n`);
    });

    test("has everything, owned by root and of one time", () => {
      const list = Bun.spawnSync(
        ["tar", "-tvf", `${NAME}.tar.xz`, "--numeric-owner", "--utc"],
        { cwd: dist },
      );
      const lines = list.stdout.toString().trim().split("\n");
      for (const line of lines)
        expect(line).toMatch(
          /^[d-]rw[x-]r-[x-]r-[x-] 0\/0 +\d+ 2023-11-14 22:13 /,
        );
      const names = lines.map((line) => line.split(`${NAME}/`)[1]);
      for (const name of [
        "sysmgr",
        "install.sh",
        "README.md",
        "LICENSE",
        "NOTICES",
        "SHA256SUMS",
        "cookbook/README.md",
        "cookbook/getty",
        "licenses/LGPL-2",
        "licenses/LGPL-2.1",
        "licenses/Apache-2.0",
        "licenses/bun.md",
        "licenses/citty",
        "licenses/consola",
        "man/sysmgr.8",
        "completions/_sysmgr",
        "init/runit/run",
      ])
        expect(names).toContain(name);
      expect(names).toEqual(names.toSorted());
    });

    test(
      "leaves what there was when a step fails",
      () => {
        const before = readFileSync(join(dist, "SHA256SUMS"));
        const bin = directory.directory("failing-xz");
        symlinkSync("/usr/bin/tar", join(bin, "tar"));
        directory.file(
          "failing-xz/xz",
          "#!/bin/sh\necho no room >&2\nexit 1\n",
          0o755,
        );
        const { code, err } = release(dist, { PATH: `${bin}:/usr/bin:/bin` });
        expect(code).toBe(1);
        expect(err).toBe("release: xz failed with exit code 1: no room\n");
        const there = ["SHA256SUMS", "sysmgr", `${NAME}.tar.xz`];
        expect(readdirSync(dist).sort()).toEqual(there);
        expect(readFileSync(join(dist, "SHA256SUMS"))).toEqual(before);
      },
      LONG,
    );

    test.skipIf(notRoot !== undefined)(
      notRoot
        ? `skipped: ${notRoot}`
        : "is enough for a root that has nothing but busybox",
      () => {
        const root = directory.directory("root");
        mkdirSync(join(root, "bin"));
        cpSync(Bun.which("busybox") ?? "", join(root, "bin/busybox"));
        inRoot(["/bin/busybox", "--install", "-s", "/bin"]);
        cpSync(join(dist, `${NAME}.tar.xz`), join(root, "archive.tar.xz"));
        inRoot(["tar", "-xJf", "archive.tar.xz"]);
        rmSync(join(root, "archive.tar.xz"));
        expect(readdirSync(root).sort()).toEqual(["bin", NAME]);
        const sums = `cd ${NAME} && sha256sum -c SHA256SUMS`;
        const checked = inRoot(["sh", "-c", sums]).trim().split("\n");
        expect(checked).toContain("sysmgr: OK");
        const files = ["sh", "-c", `find ${NAME} -type f`];
        // Every file but the list itself.
        expect(checked.length).toBe(
          inRoot(files).trim().split("\n").length - 1,
        );

        const install = ["sh", `${NAME}/install.sh`, "--init", "busybox"];
        inRoot(install);
        expect(inRoot([...install, "--dry-run"])).toContain("in place already");
        expect(inRoot(["/usr/bin/sysmgr", "--version"])).toBe(
          `sysmgr ${version}\n`,
        );
        expect(inRoot(["/usr/bin/sysmgr", "--list"])).toBe(
          "sysmgr\nsvctl\nsysmgr-depends\n",
        );
        expect(inRoot(["/usr/bin/svctl", "status"])).toBe("");
        inRoot(["sh", `${NAME}/install.sh`, "--uninstall"]);
        expect(readdirSync(root).sort()).toEqual(["bin", NAME]);

        function inRoot(command: readonly string[]): string {
          const { exitCode, stdout, stderr } = Bun.spawnSync(
            [CHROOT ?? "chroot", root, ...command],
            { env: { PATH: "/usr/bin:/bin" } },
          );
          expect(`${command[0]}: ${exitCode}${stderr}`).toBe(
            `${command[0]}: 0`,
          );
          return stdout.toString();
        }
      },
      LONG,
    );
  },
);

function release(
  dist: string,
  environment: Readonly<Record<string, string>> = {},
  ...parameters: readonly string[]
): { code: number; err: string } {
  const command = [process.execPath, join(ROOT, "src/release.ts")];
  const { exitCode, stderr } = Bun.spawnSync(
    [...command, `--dist=${dist}`, "--fast", ...parameters],
    {
      env: {
        PATH: process.env["PATH"] ?? "/usr/bin:/bin",
        SOURCE_DATE_EPOCH: EPOCH,
        ...environment,
      },
    },
  );
  return { code: exitCode, err: stderr.toString() };
}
