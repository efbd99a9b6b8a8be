/** Contract: "sysmgr-depends". */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DIST, DONE, failure, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

const DEPENDS = join(DIST, "sysmgr-depends");
const FOREVER = "exec sleep 1000";
/** What is to be seen at once is seen long before anything that looks now and then would see it. */
const AT_ONCE = 4000;

/** A script that waits for others, then writes down that it has come past that, and how. */
function waitsFor(...words: readonly string[]): string {
  return `sysmgr-depends ${words.join(" ")}; echo "$SYSMGR_SERVICE $?" >> $DIR/passed; ${FOREVER}`;
}

function passed(box: Sandbox): string[] {
  return (box.read("passed") ?? "").split("\n").slice(0, -1);
}

async function passes(box: Sandbox, line: string): Promise<void> {
  await until(
    () => passed(box).includes(line),
    `'${line}' is written; there is ${passed(box).join(", ")}`,
  );
}

async function waits(box: Sandbox, service: string): Promise<void> {
  await until(
    () => box.state(service, "waiting") !== undefined,
    `${service} waits`,
  );
}

async function timed<T>(
  work: Promise<T>,
): Promise<{ outcome: T; took: number }> {
  const begun = performance.now();
  const outcome = await work;
  return { outcome, took: performance.now() - begun };
}

/** Sysmgr with `up`, which runs, and `down`, which is locked. */
async function upAndDown(): Promise<Sandbox> {
  const box = new Sandbox();
  box.script("up", FOREVER);
  box.script("down", FOREVER);
  box.lock("down", "TERM");
  await box.start();
  await box.up("up");
  return box;
}

describe("waits until all are up", () => {
  test.concurrent("one that is up already keeps nobody waiting", async () => {
    await using box = await upAndDown();
    const { outcome, took } = await timed(box.depends("up"));
    expect(outcome).toEqual(DONE);
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent("inside of a service", async () => {
    await using box = await upAndDown();
    box.script("a", waitsFor("down"));
    await waits(box, "a");
    expect(passed(box)).toEqual([]);
    box.unlock("down");
    await passes(box, "a 0");
  });

  test.concurrent(
    "outside of one, where it leaves nothing behind",
    async () => {
      await using box = await upAndDown();
      const before = readdirSync(box.rundir, { recursive: true }).sort();
      const child = box.begin([DEPENDS, "up", "down"]);
      await Bun.sleep(300);
      expect(child.exitCode).toBeNull();
      expect(readdirSync(box.rundir, { recursive: true }).sort()).toEqual(
        before,
      );
      box.unlock("down");
      expect(await child.exited).toBe(0);
    },
  );

  test.concurrent("all, not one of them", async () => {
    await using box = await upAndDown();
    box.script("later", FOREVER, 0o644);
    box.script("a", waitsFor("up", "down", "later"));
    await waits(box, "a");
    box.unlock("down");
    await box.up("down");
    await Bun.sleep(300);
    expect(passed(box)).toEqual([]);
    box.script("later", FOREVER);
    await passes(box, "a 0");
  });

  test.concurrent("also before sysmgr runs", async () => {
    await using box = new Sandbox();
    box.script("b", FOREVER);
    const child = box.begin([DEPENDS, "b"]);
    await Bun.sleep(200);
    expect(child.exitCode).toBeNull();
    await box.start();
    expect(await child.exited).toBe(0);
    expect(box.pid("b")).toBeNumber();
  });

  test.concurrent("as another user, too", async () => {
    await using box = await upAndDown();
    expect(await box.runAsNobody([DEPENDS, "-t", "9", "up"])).toEqual(DONE);
    expect(await box.runAsNobody([DEPENDS, "-t", "0.2", "down"])).toEqual(
      failure("sysmgr-depends", "down"),
    );
  });

  test.concurrent("with -s and -r", async () => {
    await using box = await upAndDown();
    const command = [
      DEPENDS,
      "-t",
      "9",
      "-s",
      box.sysdir,
      "--rundir",
      box.rundir,
      "up",
    ];
    expect(
      await box.run(command, {
        SYSDIR: "/nonexistent",
        RUNDIR: "/nonexistent",
      }),
    ).toEqual(DONE);
  });

  test.concurrent("one named twice counts once", async () => {
    await using box = await upAndDown();
    expect(await box.depends("up", "up")).toEqual(DONE);
    const { err } = await box.depends("-t", "0.2", "down", "down");
    expect(err.match(/\bdown\b/g)).toHaveLength(
      err.includes("still down") ? 2 : 1,
    );
  });

  test.concurrent("names of any kind", async () => {
    await using box = new Sandbox();
    for (const name of ["with space", "-dash", "it's", "düne", "*"])
      box.script(name, FOREVER);
    await box.start();
    expect(
      await box.depends(
        "-t",
        "20",
        "--",
        "with space",
        "-dash",
        "it's",
        "düne",
        "*",
      ),
    ).toEqual(DONE);
  });
});

describe("what is up", () => {
  test.concurrent(
    "not one that is locked and still being stopped",
    async () => {
      await using box = new Sandbox();
      box.script(
        "b",
        'trap "" TERM; touch $DIR/ready; while :; do sleep 0.05; done',
      );
      await box.start();
      await box.up("b");
      await until(() => box.read("ready") !== undefined, "it ignores TERM");
      expect(await box.depends("-t", "5", "b")).toEqual(DONE);
      box.lock("b", "TERM");
      await box.logged(/b: stopping/);
      expect(await box.depends("-t", "0.3", "b")).toEqual(
        failure("sysmgr-depends", "b"),
      );
      expect(box.pid("b")).toBeNumber();
    },
  );

  test.concurrent.each(["once", "0"])(
    "one that is only let run out ('%s') is",
    async (lock) => {
      await using box = await upAndDown();
      box.lock("up", lock);
      expect(await box.depends("-t", "5", "up")).toEqual(DONE);
    },
  );

  test.concurrent("not one whose script cannot be run", async () => {
    await using box = await upAndDown();
    box.script("b", FOREVER, 0o644);
    expect(await box.depends("-t", "0.2", "b")).toEqual(
      failure("sysmgr-depends", "b"),
    );
  });

  test.concurrent("not one that has ended since", async () => {
    await using box = await upAndDown();
    await box.svctl("kill", "up");
    expect(await box.depends("-t", "0.2", "up")).toEqual(
      failure("sysmgr-depends", "up"),
    );
  });

  test.concurrent("not what a killed sysmgr left in its pid file", async () => {
    await using box = await upAndDown();
    const pid = await box.up("up");
    await box.crash();
    process.kill(pid, "SIGKILL");
    expect((await box.depends("-t", "1.5", "up")).code).toBe(1);
  });

  test.concurrent("not one that waits itself", async () => {
    await using box = await upAndDown();
    box.script("b", waitsFor("down"));
    await waits(box, "b");
    await box.up("b");
    expect(await box.depends("-t", "0.3", "b")).toEqual(
      failure("sysmgr-depends", "b"),
    );
    box.unlock("down");
    expect(await box.depends("-t", "20", "b")).toEqual(DONE);
    await passes(box, "b 0");
  });

  test.concurrent(
    "one that has waited, whether its script becomes the server or stays",
    async () => {
      await using box = await upAndDown();
      box.script("b", "sysmgr-depends up; sleep 1000");
      await box.up("b");
      const { outcome, took } = await timed(box.depends("-q", "b"));
      expect(outcome).toEqual(DONE);
      expect(took).toBeLessThan(AT_ONCE);
    },
  );

  test.concurrent(
    "one that only speaks of sysmgr-depends, in the end",
    async () => {
      await using box = await upAndDown();
      box.script("b", "# no sysmgr-depends needed\nsleep 1000");
      await box.up("b");
      expect(await box.depends("-t", "20", "-q", "b")).toEqual(DONE);
    },
  );
});

describe("chains", () => {
  /** Of three that were started at the same time, none passes before the last is up. */
  async function hasToWait(first: string, second: string): Promise<void> {
    await using box = new Sandbox();
    box.script("a", first);
    box.script("b", second);
    box.script("c", FOREVER);
    box.lock("c", "TERM");
    await box.start();
    await waits(box, "a");
    await waits(box, "b");
    await Bun.sleep(200);
    expect(passed(box)).toEqual([]);
    box.unlock("c");
    await passes(box, "a 0");
    await passes(box, "b 0");
  }

  test.concurrent.each([1, 2, 3])(
    "a waits for b, b waits for c, c comes late (%d)",
    () => hasToWait(waitsFor("b"), waitsFor("c")),
  );

  test.concurrent("also when b comes to its wait later than a", () =>
    hasToWait(waitsFor("b"), `sleep 0.4; ${waitsFor("c")}`),
  );

  test.concurrent("also when b does not become its server", () =>
    hasToWait(waitsFor("b"), waitsFor("c").replace(FOREVER, "sleep 1000")),
  );

  test.concurrent("also when nobody is late", async () => {
    await using box = new Sandbox();
    const look = "ls $RUNDIR/*/pid $RUNDIR/*/waiting > $DIR/seen 2>&1";
    box.script("a", `sysmgr-depends b; ${look}; echo "a $?" >> $DIR/passed`);
    box.script("b", waitsFor("c"));
    box.script("c", waitsFor("d"));
    box.script("d", FOREVER);
    await box.start();
    await until(
      () => passed(box).some((line) => line.startsWith("a ")),
      "a has passed",
    );
    const seen = box.read("seen") ?? "";
    expect(seen).toContain(`${box.rundir}/d/pid\n`);
    expect(seen).not.toMatch(/[bc]\/waiting\n/);
  });

  test.concurrent("many that wait for one", async () => {
    await using box = new Sandbox();
    const names = Array.from({ length: 20 }, (_, index) => `w${index}`);
    for (const name of names) box.script(name, waitsFor("b"));
    box.script("b", FOREVER);
    box.lock("b", "TERM");
    await box.start();
    for (const name of names) await waits(box, name);
    box.unlock("b");
    for (const name of names) await passes(box, `${name} 0`);
    for (const name of names)
      expect(box.state(name, "waiting")).toBeUndefined();
  });
});

describe("is seen", () => {
  const SEEN = 100;
  const ATTEMPTS = 8;

  /** Milliseconds from the start of a service to the end of the wait for it. */
  async function delay(): Promise<number> {
    await using box = await upAndDown();
    const child = box.begin([DEPENDS, "down"]);
    await Bun.sleep(300);
    box.unlock("down");
    await child.exited;
    const now = Date.now();
    return now - statSync(join(box.rundir, "down/pid")).mtimeMs;
  }

  test("within 100 ms", async () => {
    let shortest = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < ATTEMPTS && shortest > SEEN; attempt++)
      shortest = Math.min(shortest, await delay());
    expect(shortest).toBeLessThan(SEEN);
  });

  test.concurrent("also when it comes and goes and comes again", async () => {
    await using box = await upAndDown();
    box.script("later", FOREVER, 0o644);
    const child = box.begin([DEPENDS, "up", "later"]);
    await Bun.sleep(100);
    for (let lap = 0; lap < 5; lap++)
      expect(await box.svctl("restart", "up")).toEqual(DONE);
    expect(child.exitCode).toBeNull();
    box.script("later", FOREVER);
    const { took } = await timed(box.up("later").then(() => child.exited));
    expect(child.exitCode).toBe(0);
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent(
    "when all are up at the same time, not one after the other",
    async () => {
      await using box = await upAndDown();
      const child = box.begin([DEPENDS, "up", "down"]);
      await Bun.sleep(200);
      await box.svctl("stop", "up");
      box.unlock("down");
      await box.up("down");
      await Bun.sleep(300);
      expect(child.exitCode).toBeNull();
      await box.svctl("start", "up");
      expect(await child.exited).toBe(0);
    },
  );

  test.concurrent("also when sysmgr is another one than before", async () => {
    await using box = await upAndDown();
    const child = box.begin([DEPENDS, "down"]);
    await Bun.sleep(200);
    await box.crash();
    await box.start();
    await box.logged(/up: adopted/);
    expect(child.exitCode).toBeNull();
    box.unlock("down");
    expect(await child.exited).toBe(0);
  });

  test.concurrent("also when the run directory is a new one", async () => {
    await using box = await upAndDown();
    const child = box.begin([DEPENDS, "down"]);
    await Bun.sleep(200);
    expect(await box.stop()).toBe(0);
    await box.run(["rm", "-rf", box.rundir]);
    await box.start();
    expect(await child.exited).toBe(0);
    expect(box.pid("down")).toBeNumber();
  });
});

describe("an unknown service", () => {
  test.concurrent("is an error at once", async () => {
    await using box = await upAndDown();
    const { outcome, took } = await timed(box.depends("nosuch"));
    expect(outcome).toEqual(failure("sysmgr-depends", "nosuch", box.sysdir));
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent("is an error before any waiting for the others", async () => {
    await using box = await upAndDown();
    const { outcome, took } = await timed(box.depends("down", "nosuch"));
    expect(outcome).toEqual(failure("sysmgr-depends", "nosuch"));
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent.each(["", ".", "..", ".hidden", "sv/up", "/"])(
    "'%s' is one",
    async (name) => {
      await using box = await upAndDown();
      box.script(".hidden", FOREVER);
      const { code, out, err } = await box.depends("-t", "5", name);
      expect(out).toBe("");
      expect(code).toBeGreaterThan(0);
      expect(err).toStartWith("sysmgr-depends: ");
    },
  );

  test.concurrent("is never printed raw", async () => {
    await using box = await upAndDown();
    const outcome = await box.depends(
      "\u001b[31m\nsysmgr-depends: all is well",
    );
    expect(outcome).toEqual(failure("sysmgr-depends", "all is well"));
  });

  test.concurrent(
    "inside of a service ends its script, which is told in the log",
    async () => {
      await using box = await upAndDown();
      box.script("a", "sysmgr-depends nosuch || exit 7");
      await box.logged(/^sysmgr-depends: .*nosuch/);
      await until(() => box.state("a", "exit") === "7", "its script has ended");
      expect(box.state("a", "waiting")).toBeUndefined();
    },
  );
});

describe("what it says while it waits", () => {
  /** The lines in which it says that it waits. */
  function told(text: string): string[] {
    return text.split("\n").filter((line) => line.includes("waiting for"));
  }

  test.concurrent("nothing in the first second", async () => {
    // A busy machine may turn a short wait into a long one, but not each time.
    for (let attempts = 5; ; attempts--) {
      await using box = await upAndDown();
      const began = performance.now();
      const child = box.begin([DEPENDS, "down"]);
      await Bun.sleep(600);
      box.unlock("down");
      const said = await child.stderr.text();
      expect(await child.exited).toBe(0);
      if (performance.now() - began > 1000 && attempts > 1) continue;
      expect(said).toBe("");
      return;
    }
  });

  test.concurrent(
    "after a second one line, once, which names what is down",
    async () => {
      await using box = await upAndDown();
      const { took, outcome } = await timed(
        box.depends("-t", "3.3", "up", "down"),
      );
      expect(took).toBeGreaterThan(3300);
      expect(outcome.out).toBe("");
      const [line = "", ...more] = told(outcome.err);
      expect(more).toEqual([]);
      expect(line).toMatch(/^sysmgr-depends: [^\n]*\bdown\b/);
      expect(line).not.toMatch(/\bup\b/);
    },
  );

  test.concurrent("inside of a service, that service, too", async () => {
    await using box = await upAndDown();
    box.script("a", waitsFor("down"));
    const line = await box.logged(/waiting for/);
    expect(line).toMatch(/^sysmgr-depends: a: [^\n]*down/);
    await Bun.sleep(1200);
    expect(told(box.log())).toHaveLength(1);
  });

  test.concurrent("with -q nothing", async () => {
    await using box = await upAndDown();
    const child = box.begin([DEPENDS, "-q", "down"]);
    await Bun.sleep(1500);
    box.unlock("down");
    expect(await child.stderr.text()).toBe("");
    expect(await child.exited).toBe(0);
  });
});

describe("-t", () => {
  test.concurrent("gives up, naming what is still down", async () => {
    await using box = await upAndDown();
    box.script("unfit", FOREVER, 0o644);
    const { outcome, took } = await timed(
      box.depends("-t", "0.5", "up", "down", "unfit"),
    );
    expect(outcome).toEqual(
      failure("sysmgr-depends", "0.5 s", "down", "unfit"),
    );
    expect(outcome.err).not.toMatch(/\bup\b/);
    expect(took).toBeGreaterThanOrEqual(500);
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent("with -q, too", async () => {
    await using box = await upAndDown();
    expect(await box.depends("-q", "-t", "1.2", "down")).toEqual(
      failure("sysmgr-depends", "down"),
    );
  });

  test.concurrent("0 only looks", async () => {
    await using box = await upAndDown();
    expect(await box.depends("-t", "0", "up")).toEqual(DONE);
    expect(await box.depends("--timeout=0", "down")).toEqual(
      failure("sysmgr-depends", "down"),
    );
  });

  test.concurrent("inside of a service", async () => {
    await using box = await upAndDown();
    box.script("a", waitsFor("-t", "0.3", "down"));
    await passes(box, "a 1");
    expect(box.state("a", "waiting")).toBeUndefined();
  });

  test.concurrent(
    "is not needed: without it the wait does not end",
    async () => {
      await using box = await upAndDown();
      const child = box.begin([DEPENDS, "down"]);
      await Bun.sleep(2500);
      expect(child.exitCode).toBeNull();
      child.kill("SIGTERM");
      expect(await child.exited).not.toBe(0);
    },
  );
});

describe("a circle", () => {
  /** The lines of the log that speak of a circle. */
  function circles(box: Sandbox): string[] {
    return box
      .log()
      .split("\n")
      .filter((line) => line.includes("circle"));
  }

  async function everyMemberSaysSo(
    members: string[],
    scripts: Record<string, string>,
  ): Promise<void> {
    await using box = new Sandbox();
    for (const [name, script] of Object.entries(scripts))
      box.script(name, script);
    await box.start();
    for (const member of members) await passes(box, `${member} 1`);
    for (const member of members) {
      const said = circles(box).filter((line) =>
        line.startsWith(`sysmgr-depends: ${member}: `),
      );
      expect(said).toHaveLength(1);
      for (const other of members)
        expect(said[0]).toMatch(new RegExp(`\\b${other}\\b`));
      expect(box.state(member, "waiting")).toBeUndefined();
    }
    expect(passed(box).filter((line) => line.endsWith(" 0"))).toEqual([]);
  }

  test.concurrent("of one", () =>
    everyMemberSaysSo(["a"], { a: waitsFor("a") }),
  );

  test.concurrent("of two", () =>
    everyMemberSaysSo(["a", "b"], { a: waitsFor("b"), b: waitsFor("a") }),
  );

  test.concurrent("of three", () =>
    everyMemberSaysSo(["a", "b", "c"], {
      a: waitsFor("b"),
      b: waitsFor("c"),
      c: waitsFor("a"),
    }),
  );

  test.concurrent("of two that wait for others as well", () =>
    everyMemberSaysSo(["a", "b"], {
      a: waitsFor("d", "b"),
      b: waitsFor("e", "a", "d"),
      d: FOREVER,
      e: FOREVER,
    }),
  );

  test.concurrent("that is closed late", async () => {
    await using box = new Sandbox();
    box.script("a", waitsFor("b"));
    box.script("b", waitsFor("c"));
    box.script("c", FOREVER, 0o644);
    await box.start();
    await waits(box, "a");
    await waits(box, "b");
    expect(circles(box)).toEqual([]);
    box.script("c", waitsFor("a"));
    for (const member of ["a", "b", "c"]) await passes(box, `${member} 1`);
  });

  test.concurrent(
    "whose members end because of it is told again, and hangs nowhere",
    async () => {
      await using box = new Sandbox();
      box.script("a", "sysmgr-depends b || exit 3");
      box.script("b", "sysmgr-depends a || exit 3");
      await box.start();
      await until(
        () => Number(box.state("a", "starts")) >= 3,
        "a is tried again",
      );
      await until(
        () => Number(box.state("b", "starts")) >= 3,
        "b is tried again",
      );
      await box.stop();
    },
  );

  test.concurrent(
    "who waits for a member but is none goes on waiting",
    async () => {
      await using box = new Sandbox();
      box.script("a", "sysmgr-depends b || exit 3");
      box.script("b", "sysmgr-depends a || exit 3");
      box.script("d", waitsFor("a"));
      await box.start();
      await until(
        () => Number(box.state("a", "starts")) >= 3,
        "the circle has been told",
      );
      expect(
        circles(box).filter((line) => line.startsWith("sysmgr-depends: d")),
      ).toEqual([]);
      expect(passed(box)).toEqual([]);
      expect(box.state("d", "waiting")).toBe("a");
    },
  );

  test.concurrent("that is none: two wait for the same one", async () => {
    await using box = await upAndDown();
    box.script("a", waitsFor("b", "down"));
    box.script("b", waitsFor("down"));
    await waits(box, "a");
    await waits(box, "b");
    box.unlock("down");
    await passes(box, "a 0");
    expect(circles(box)).toEqual([]);
  });
});

describe("the file waiting", () => {
  test.concurrent("says what it waits for, one a line", async () => {
    await using box = await upAndDown();
    box.script("unfit", FOREVER, 0o644);
    box.script("a", waitsFor("down", "unfit"));
    await waits(box, "a");
    expect(box.read("run/a/waiting")).toBe("down\nunfit\n");
  });

  test.concurrent("is gone when it has waited", async () => {
    await using box = await upAndDown();
    box.script("a", waitsFor("down"));
    await waits(box, "a");
    box.unlock("down");
    await passes(box, "a 0");
    expect(box.state("a", "waiting")).toBeUndefined();
  });

  test.concurrent(
    "is not even made when nothing is to be waited for",
    async () => {
      await using box = await upAndDown();
      box.script(
        "a",
        `strace -f -o $DIR/trace sysmgr-depends up; echo "a $?" >> $DIR/passed; ${FOREVER}`,
      );
      await passes(box, "a 0");
      expect(box.read("trace") ?? "").not.toMatch(
        /run\/a\/[^"]*waiting[^"]*", [^\n]*O_CREAT/,
      );
    },
  );

  test.concurrent.each(["TERM", "INT", "HUP", "QUIT"])(
    "is gone when it is ended by %s",
    async (signal) => {
      await using box = await upAndDown();
      box.script(
        "a",
        `sysmgr-depends down & echo $! > $DIR/waiter; wait; ${FOREVER}`,
      );
      await waits(box, "a");
      const waiter = Number(
        await until(() => box.read("waiter"), "its pid is known"),
      );
      // What a shell starts in the background ignores INT and QUIT unless it asks for them.
      process.kill(waiter, `SIG${signal}`);
      await until(() => box.state("a", "waiting") === undefined, "it is gone");
      expect(box.pid("a")).toBeNumber();
    },
  );

  test.concurrent.each(["stop", "kill"])(
    "is gone when its service is brought down: %s",
    async (operation) => {
      await using box = await upAndDown();
      box.script("a", waitsFor("down"));
      await waits(box, "a");
      expect(await box.svctl(operation, "a")).toEqual(DONE);
      expect(existsSync(join(box.rundir, "a/waiting"))).toBeFalse();
      expect((await box.svctl("status", "a")).out).toBe("a: DOWN (stopped)\n");
    },
  );

  test.concurrent(
    "is gone when its script is killed, and there again after the restart",
    async () => {
      await using box = await upAndDown();
      box.script("a", waitsFor("down"));
      await waits(box, "a");
      const pid = await box.up("a");
      process.kill(-pid, "SIGKILL");
      await box.up("a", pid);
      await waits(box, "a");
      box.unlock("down");
      await passes(box, "a 0");
    },
  );

  test.concurrent(
    "makes it WAITING in the status, which is not up",
    async () => {
      await using box = await upAndDown();
      box.script("a", waitsFor("down", "up"));
      await waits(box, "a");
      const { code, out } = await box.svctl("status", "a");
      expect(out).toMatch(/^a: WAITING \(for down/);
      expect(code).toBe(1);
      box.unlock("down");
      await passes(box, "a 0");
      expect((await box.svctl("status", "a")).out).toStartWith("a: UP ");
    },
  );
});
