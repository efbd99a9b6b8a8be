/** What the static program does otherwise than the dynamic one. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Builds, SLOW_MACHINE, because, run } from "./builds.ts";

const SOURCES = join(import.meta.dir, "../../src");
const QEMU = Bun.which("qemu-x86_64-static");
const IS_ROOT = process.geteuid?.() === 0;
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

describe("the environment", () => {
  const env = { PATH: "/usr/bin:/bin", PLAIN: "a=b", EMPTY: "", ...ORDERS };
  const entries = Object.entries(env).map(
    ([name, value]) => `${name}=${value}`,
  );

  test("gives the program itself no orders", () => {
    const { code, out, err } = run([builds.linked, "environment"], env);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const seen: Record<string, string> = JSON.parse(out);
    expect(seen).toMatchObject({ PLAIN: "a=b", EMPTY: "" });
    for (const name of [
      "BUN_BE_BUN",
      "BUN_OPTIONS",
      "BUN_INSPECT",
      "NODE_OPTIONS",
    ])
      expect(seen).not.toHaveProperty(name);
    expect(seen["BUN_JSC_useJIT"]).toBeUndefined();
  });

  test("reaches a child unchanged, and nothing is added", () => {
    const { out } = run([builds.linked, "children", "env"], env);
    const [inherited, explicit] = out.split("\n").map(parseEnvironment);
    expect(inherited).toEqual(entries.sort());
    expect(explicit).toEqual([...entries, "ADDED=1"].sort());
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
});

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
    const child = ["children", "sh", "-c", "ulimit -Sn"];
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
    const calls = readFileSync(join(SOURCES, "libc.ts"), "utf8");
    const shim = readFileSync(join(SOURCES, "static-link/shim.c"), "utf8");
    const called = [...calls.matchAll(/^ {4}(\w+): \{ args:/gm)];
    expect(called.length).toBeGreaterThan(5);
    for (const [, name] of called) expect(shim).toContain(`FUNCTION(${name})`);
  });

  test("Bun looks for nothing that is not known", () => {
    const traced = builds.link("traced", ["-DSHIM_TRACE"]);
    const { err } = run([traced, "children", "true"]);
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
  },
);

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
    `that is old enough runs the program${because(reason)}`,
    () => {
      expect(on("Nehalem")).toEqual({ code: 0, out: "fixture 1", err: "" });
    },
  );
});
