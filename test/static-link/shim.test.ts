/** What the static program does otherwise than the dynamic one. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Builds, SLOW_MACHINE, because, run } from "./builds.ts";

const SOURCES = join(import.meta.dir, "../../src");
const QEMU = Bun.which("qemu-x86_64-static");
const NO_DEVICES = ["setpriv", "--bounding-set=-sys_admin,-mknod"];
const IS_ROOT = process.geteuid?.() === 0;
const CAN_MOUNT = run(["unshare", "--mount", "true"]).code === 0;
const NO_MOUNT = because(!CAN_MOUNT && "nothing may be mounted");
const CAN_REFUSE_DEVICES = IS_ROOT && run([...NO_DEVICES, "true"]).code === 0;
const NOT_ROOT = because(!IS_ROOT && "only root may change the root");
const ENV_SETS_SIGNALS = run(["env", "--block-signal=USR1", "true"]).code === 0;

setDefaultTimeout(SLOW_MACHINE);
const builds = new Builds();
afterAll(() => builds[Symbol.dispose]());

/** Variables that Bun, its engine or its allocator would obey. */
const ORDERS = {
  BUN_BE_BUN: "1",
  BUN_OPTIONS: "--version",
  BUN_INSPECT: "127.0.0.1:0",
  BUN_JSC_useJIT: "bad",
  BUN_GC_TIMER_DISABLE: "1",
  DO_NOT_TRACK: "1",
  MIMALLOC_VERBOSE: "3",
  NODE_OPTIONS: "--bad",
};

/** An environment that no object can hold; each character stands for one byte. */
const AWKWARD = [
  "PLAIN=a=b",
  "7=a number",
  "EMPTY=",
  "TWICE=1",
  "LATIN=caf\xe9",
  "BUN_LATIN=\xff",
  "N\xe4me=value",
  "UTF_8=\xc3\xa9",
  "BOM=\xef\xbb\xbfx",
  "SURROGATE=\xed\xa0\x80",
  "TWICE=2",
  "no equals sign",
  "SYSMGR_NOTHING",
  "=no name",
  "",
  "\x01",
  "\x010=",
  "\x01MARKED=value",
  "\x01184467440737095516160=",
  "NO_COLOR=",
  "NO_COLOR=\xff",
  "__proto__=x",
  "TWICE=1",
  "PATH=/bin",
];

describe("the environment", () => {
  const env = { PATH: "/usr/bin:/bin", PLAIN: "a=b", EMPTY: "", ...ORDERS };
  const entries = Object.entries(env).map(
    ([name, value]) => `${name}=${value}`,
  );

  test("gives the program itself no orders, and what it asks for", () => {
    const wanted = {
      SYSDIR: "/a",
      RUNDIR: "/b",
      SYSMGR_SERVICE: "c",
      NO_COLOR: "1",
    };
    const { code, out, err } = run([builds.linked, "environment"], {
      ...env,
      ...wanted,
    });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const seen: Record<string, string> = JSON.parse(out);
    expect(seen).toMatchObject(wanted);
    for (const name of [
      "BUN_BE_BUN",
      "BUN_OPTIONS",
      "BUN_INSPECT",
      "NODE_OPTIONS",
      "PLAIN",
    ])
      expect(seen).not.toHaveProperty(name);
    expect(seen["BUN_JSC_useJIT"]).toBeUndefined();
  });

  test("has every variable that sysmgr asks for", () => {
    const asked = [...new Bun.Glob("**/*.ts").scanSync(SOURCES)]
      .filter((name) => !name.startsWith("release"))
      .map((name) => readFileSync(join(SOURCES, name), "utf8"))
      .flatMap((text) => [
        ...text.matchAll(/(?:process\.env|environment)\["(\w+)"\]/g),
      ])
      .map(([, name = ""]) => name);
    expect(asked).toContain("RUNDIR");
    const env = Object.fromEntries(asked.map((name) => [name, "x"]));
    const { out } = run([builds.linked, "environment"], env);
    expect(JSON.parse(out)).toMatchObject(env);
  });

  test("reaches a child unchanged, and nothing is added", () => {
    const child = ["children", "/usr/bin/env"];
    const { out } = run([builds.linked, ...child], env);
    const [inherited, explicit] = out.split("\n").map(parseEnvironment);
    expect(inherited).toEqual(entries.sort());
    expect(explicit).toEqual([...entries, "ADDED=1"].sort());
  });

  test("reaches a child byte for byte, whatever is in it", () => {
    expect(environmentsOfChildren(AWKWARD)).toEqual([
      AWKWARD,
      [...AWKWARD, "ADDED=1"],
    ]);
  });

  test("may have as many entries as a child can get", () => {
    const many = Array.from({ length: 20_000 }, (_, index) => `A${index}=`);
    expect(environmentsOfChildren(many)).toEqual([many, [...many, "ADDED=1"]]);
  });

  test("is empty for a child when it is empty", () => {
    const { out } = run([builds.linked, "children", "/usr/bin/env"], {});
    const [inherited, explicit] = out.split("\n").map(parseEnvironment);
    expect(inherited).toEqual([]);
    expect(explicit).toEqual(["ADDED=1"]);
  });

  function parseEnvironment(line: string): string[] {
    const text: string = JSON.parse(line);
    return text.split("\n").filter(Boolean).sort();
  }

  /** What the kernel says that two children get from a program that gets this. */
  function environmentsOfChildren(given: readonly string[]): string[][] {
    const launch = builds.at("launch");
    compileC(launch, LAUNCH);
    const file = builds.at("environment");
    const text = given.map((entry) => `${entry}\0`).join("");
    writeFileSync(file, text, "latin1");
    const dump = ["/usr/bin/od", "-An", "-v", "-tx1", "/proc/self/environ"];
    const program = [builds.linked, "children", ...dump];
    const { out } = run([launch, file, ...program]);
    return out.split("\n").map((line) => {
      const hex = JSON.parse(line).replaceAll(/\s/g, "");
      const bytes = Buffer.from(hex, "hex").toString("latin1");
      return bytes.split("\0").slice(0, -1);
    });
  }
});

/** Becomes the program of its further arguments, with the entries of a file for an environment. */
const LAUNCH = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char text[1 << 20], *entries[1 << 16];
int main(int argc, char **argv)
{
	FILE *file = argc > 2 ? fopen(argv[1], "r") : NULL;
	if (!file) return 1;
	size_t size = fread(text, 1, sizeof text, file), count = 0;
	for (char *entry = text; entry < text + size; entry += strlen(entry) + 1) entries[count++] = entry;
	execve(argv[2], argv + 2, entries);
	return 1;
}
`;

/** Uses what the shim puts in place of a null device, and says how that went. */
const USE_NULL = `
#include "${join(SOURCES, "static-link/shim.c")}"
int main(int argc, char **argv)
{
	static char data[100000];
	const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	for (int i = 0; i < 3; i++) {
		int fd = argc > 1 ? shim_open(argv[1], modes[i] | O_CREAT | O_CLOEXEC, 0666) : -1;
		size_t written = 0, got = 0;
		for (int round = 0; round < 100; round++) {
			if (modes[i] != O_RDONLY) written += (size_t)write(fd, data, sizeof data) == sizeof data;
			if (modes[i] != O_WRONLY) got += (size_t)read(fd, data, sizeof data);
		}
		printf("%zu %zu %d\\n", written, got, fcntl(fd, F_GETFD));
	}
}
`;

function compileC(output: string, source: string): void {
  const file = `${output}.c`;
  writeFileSync(file, source);
  expect(run(["gcc", "-O1", "-o", output, file])).toMatchObject({ code: 0 });
}

describe("what is inherited", () => {
  const reason = because(!ENV_SETS_SIGNALS && "env cannot block signals");

  test.skipIf(!ENV_SETS_SIGNALS)(
    `blocks no signal and loses no child's end${reason}`,
    () => {
      const launcher = ["env", "--block-signal", "--ignore-signal=CHLD"];
      const { out } = run([...launcher, builds.linked, "signals"]);
      expect(out).toBe("0000000000000000 3");
    },
  );

  test("the soft limit of open files is the original for children", () => {
    const script = 'ulimit -Sn 123; exec "$@"';
    const child = ["children", "/bin/sh", "-c", "ulimit -Sn"];
    const { out } = run(["sh", "-c", script, "sh", builds.linked, ...child]);
    expect(out).toBe('"123\\n"\n"123\\n"');
  });

  test("the program's own limit stays when it cannot become another", () => {
    const script = 'ulimit -Sn 123; exec "$0" become';
    expect(run(["sh", "-c", script, builds.linked]).out).toBe("true true");
  });

  test("standard descriptors may be closed", () => {
    const script = 'exec "$0" exit 7 <&- >&- 2>&-';
    expect(run(["sh", "-c", script, builds.linked]).code).toBe(7);
  });
});

describe("libraries", () => {
  test("libc is one", () => {
    expect(run([builds.linked, "call"])).toEqual({
      code: 0,
      out: "true 0 true -1 4",
      err: "",
    });
  });

  test("nothing else is one, nor is anything else in libc", () => {
    expect(run([builds.linked, "load", "libm.so.6"]).out).toMatch(
      /shared objects cannot be loaded/,
    );
    expect(run([builds.linked, "load", "libc.so.6"]).out).toMatch(
      /absent_function/,
    );
  });

  test("every function that sysmgr calls is in it", () => {
    const calls = readFileSync(join(SOURCES, "system/library.ts"), "utf8");
    const shim = readFileSync(join(SOURCES, "static-link/shim.c"), "utf8");
    const called = [...calls.matchAll(/^ {4}(\w+): \{ args:/gm)];
    expect(called.length).toBeGreaterThan(20);
    for (const [, name] of called)
      expect(shim).toMatch(new RegExp(`\\b(FUNCTION|SHIM)\\(${name}\\)`));
  });

  test("Bun looks for nothing that is not known", () => {
    const traced = builds.link("traced", ["-DSHIM_TRACE"]);
    const { err } = run([traced, "children", "/bin/true"]);
    const sanitizers = /^shim: dlsym __[at]san_init$/;
    expect(err.split("\n").filter((line) => !sanitizers.test(line))).toEqual(
      err === "" ? [""] : [],
    );
  });
});

describe.skipIf(!IS_ROOT)(
  `a root with nothing but the program${NOT_ROOT}`,
  () => {
    function enter(name: string, ...directories: string[]) {
      const root = builds.at(name);
      mkdirSync(root);
      for (const directory of directories) mkdirSync(join(root, directory));
      copyFileSync(builds.linked, join(root, "program"));
      return { root, ...run(["chroot", root, "/program", "call"]) };
    }

    test("is enough, also for calls of libc and for children", () => {
      const { code, out, err } = enter("empty");
      expect({ code, out, err }).toEqual({
        code: 0,
        out: "true 0 true -1 4",
        err: "",
      });
    });

    test("gets no regular file for a null device", () => {
      const { out, root } = enter("device", "dev");
      expect(out).toBe("true 0 true -1 4");
      expect(readdirSync(join(root, "dev"))).toEqual([]);
    });

    test("may have a file for /dev, and closed standard descriptors", () => {
      const root = builds.at("no-directory");
      mkdirSync(root);
      writeFileSync(join(root, "dev"), "");
      copyFileSync(builds.linked, join(root, "program"));
      const script = 'exec chroot "$0" /program exit 7 <&- >&- 2>&-';
      expect(run(["sh", "-c", script, root]).code).toBe(7);
    });
  },
);

describe.skipIf(!CAN_MOUNT)(`in place of /dev/null${NO_MOUNT}`, () => {
  const MADE: Record<string, string> = {
    "a regular file": 'echo junk > "$0"; mount --bind "$0" /dev/null',
    "a FIFO": 'mkfifo "$0"; mount --bind "$0" /dev/null',
    "another device": "mount --bind /dev/zero /dev/null",
    "one that cannot be opened":
      "mount --bind /dev/null /dev/null; mount -o remount,bind,nodev /dev/null",
  };
  const UNSHARE = ["unshare", "--mount", "--propagation=private"];
  const WORKS = "0 0 1\n100 0 1\n100 0 1";

  /** Runs a command where /dev/null is something else. */
  function runWith(what: string, command: readonly string[]) {
    const place = builds.at(Bun.randomUUIDv7());
    const script = `set -e; ${MADE[what]}; exec "$@"`;
    return run([...UNSHARE, "sh", "-c", script, place, ...command]);
  }

  for (const what of Object.keys(MADE)) {
    test(`${what} is not taken for it`, () => {
      const child = ["children", "/usr/bin/wc", "-c"];
      const { out } = runWith(what, ["timeout", "10", builds.linked, ...child]);
      expect(out).toBe('"0\\n"\n"0\\n"');
    });

    test(`${what} is replaced by what reads as empty and discards what is written`, () => {
      const use = builds.at("use-null");
      compileC(use, USE_NULL);
      const command = ["timeout", "10", use, "/dev/null"];
      expect(runWith(what, command)).toEqual({ code: 0, out: WORKS, err: "" });
    });

    test.skipIf(!CAN_REFUSE_DEVICES)(
      `${what} is replaced without the right to make devices${because(!CAN_REFUSE_DEVICES && "no setpriv")}`,
      () => {
        const use = builds.at("use-null");
        compileC(use, USE_NULL);
        const command = [...NO_DEVICES, "timeout", "10", use, "/dev/null"];
        expect(runWith(what, command)).toEqual({
          code: 0,
          out: WORKS,
          err: "",
        });
      },
    );
  }
});

test("no thread wakes up when there is nothing to do", async () => {
  await using stack = new AsyncDisposableStack();
  const child = Bun.spawn([builds.linked, "idle", builds.directory], {
    stdout: "pipe",
  });
  stack.defer(() => {
    child.kill();
    return child.exited.then(() => undefined);
  });
  await child.stdout.getReader().read();
  await Bun.sleep(1000);
  const before = switches(child.pid);
  await Bun.sleep(5000);
  expect(switches(child.pid)).toEqual(before);

  /** How often each thread has stopped running; a thread that ends or begins is a difference, too. */
  function switches(pid: number): Record<string, string> {
    const threads = readdirSync(`/proc/${pid}/task`);
    return Object.fromEntries(
      threads.map((thread) => {
        const path = `/proc/${pid}/task/${thread}/status`;
        const status = readFileSync(path, "utf8");
        const name = `${/Name:\s*(.*)/.exec(status)?.[1]} ${thread}`;
        return [name, /^voluntary_.*\s(\d+)/m.exec(status)?.[1] ?? ""];
      }),
    );
  }
});

describe("memory that holds only zeros", () => {
  test("is given back, and what holds anything else is not", () => {
    expect(run([builds.linked, "trim"]).out).toBe("xxxx oxxo unchanged");
  });

  test("stays when another thread might write to it", () => {
    const { out } = run([builds.linked, "trimWithThreads"]);
    expect(out).toBe("true xxxx xxxx unchanged");
  });
});

describe("a processor", () => {
  const reason =
    process.arch !== "x64"
      ? "the program is not for x86-64"
      : !QEMU && "no qemu-x86_64-static (Debian: qemu-user-static)";
  const on = (cpu: string) =>
    run([QEMU ?? "", "-cpu", cpu, builds.linked, "--version"]);

  test.skipIf(reason !== false)(
    `that is too old gets a message${because(reason)}`,
    () => {
      for (const cpu of ["core2duo", "qemu64"])
        expect(on(cpu)).toEqual({
          code: 1,
          out: "",
          err: "sysmgr: this processor is too old: it lacks SSE4.2 or POPCNT (x86-64-v2)",
        });
    },
  );

  test.skipIf(reason !== false)(
    `that is too old ends the program without a message where there is no place for one${because(reason)}`,
    () => {
      const script = 'exec "$0" -cpu core2duo "$1" --version <&- >&- 2>&-';
      const command = ["sh", "-c", script, QEMU ?? "", builds.linked];
      expect(run(command)).toEqual({ code: 1, out: "", err: "" });
    },
  );

  test.skipIf(reason !== false)(
    `that is old enough runs the program${because(reason)}`,
    () => {
      expect(on("Nehalem")).toEqual({ code: 0, out: "fixture 1", err: "" });
    },
  );
});
