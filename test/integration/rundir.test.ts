/** Contract: "The run directory: control with nothing but POSIX tools". */
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { isRunning, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

const FOREVER = "exec sleep 1000";
const SERVICE_FILES = ["pid", "lock", "exit", "starts", "waiting"];

test.concurrent("RUNDIR/pid says which process sysmgr is", async () => {
  await using box = new Sandbox();
  const daemon = await box.start();
  expect(contentOf(box, "pid")).toBe(`${daemon.pid}\n`);
});

test.concurrent(
  "pid says which process the service is, and when it was started",
  async () => {
    await using box = new Sandbox();
    await box.start();
    const before = Date.now();
    box.script("a", FOREVER);
    const pid = await box.up("a");
    expect(contentOf(box, "a/pid")).toBe(`${pid}\n`);
    // While its script becomes another program, nothing is shown.
    const environment = await until(
      () => readFileSync(`/proc/${pid}/environ`, "utf8"),
      "its environment is shown",
    );
    expect(environment).toContain("SYSMGR_SERVICE=a");
    expect(modified(box, "a/pid")).toBeWithin(before, Date.now() + 1);
    const [first, restart] = [modified(box, "a/pid"), Date.now()];
    process.kill(pid, "SIGKILL");
    await box.up("a", pid);
    expect(modified(box, "a/pid")).toBeGreaterThan(first);
    expect(modified(box, "a/pid")).toBeWithin(restart, Date.now() + 1);
  },
);

test.concurrent("pid is there if and only if the service runs", async () => {
  await using box = new Sandbox();
  box.script("crash", "exit 1");
  box.script("never", FOREVER, 0o644);
  box.file("impossible", "#!/no/such/interpreter\n");
  box.script("a", FOREVER);
  await box.start();
  await box.up("a");
  await box.logged(/: impossible: cannot start/);
  await until(() => box.state("crash", "exit"), "it has crashed");
  await until(() => box.pid("crash") === undefined, "it waits");
  expect([box.pid("never"), box.pid("impossible")]).toEqual([
    undefined,
    undefined,
  ]);
  box.lock("a", "TERM");
  await box.down("a");
  box.unlock("a");
  await box.up("a");
});

test.concurrent(
  "exit says how the last process ended, and when; it is absent before",
  async () => {
    await using box = new Sandbox();
    box.script("a", 'trap "exit 7" USR1; while :; do sleep 0.02; done');
    await box.start();
    const first = await box.up("a");
    expect(box.state("a", "exit")).toBeUndefined();
    await Bun.sleep(300);
    const before = Date.now();
    process.kill(first, "SIGUSR1");
    const second = await box.up("a", first);
    expect(contentOf(box, "a/exit")).toBe("7\n");
    // The kernel's clock for files lags by up to a tick.
    expect(modified(box, "a/exit")).toBeWithin(before - 20, Date.now() + 1);
    process.kill(second, "SIGKILL");
    await box.up("a", second);
    expect(contentOf(box, "a/exit")).toBe("SIGKILL\n");
  },
);

test.concurrent(
  "starts says how often it was started since sysmgr first saw it",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    let pid: number | undefined;
    for (let count = 1; count <= 3; count++) {
      pid = await box.up("a", pid);
      expect(contentOf(box, "a/starts")).toBe(`${count}\n`);
      process.kill(pid, "SIGKILL");
    }
    await box.up("a", pid);
    // Another sysmgr goes on counting, because it is the same run directory.
    await box.crash();
    await box.start();
    await box.logged(/: a: adopted/);
    expect(contentOf(box, "a/starts")).toBe("4\n");
  },
);

test.concurrent(
  "waiting says what a script waits for, and is there only while it waits",
  async () => {
    await using box = new Sandbox();
    box.lock("b", "0");
    box.lock("c", "0");
    box.script("a", `sysmgr-depends b c; ${FOREVER}`);
    box.script("b", FOREVER);
    box.script("c", FOREVER);
    await box.start();
    const waiting = await until(() => box.state("a", "waiting"), "it waits");
    expect(waiting.split("\n").toSorted()).toEqual(["b", "c"]);
    expect(contentOf(box, "a/waiting")).toEndWith("\n");
    box.unlock("b");
    box.unlock("c");
    await until(() => !box.state("a", "waiting"), "it waits no more");
    await box.up("a");
    expect(existsSync(join(box.rundir, "a/waiting"))).toBeFalse();
  },
);

test.concurrent(
  "a service that is killed while it waits, waits no more",
  async () => {
    await using box = new Sandbox();
    box.lock("b", "0");
    box.script("a", `sysmgr-depends b; ${FOREVER}`);
    box.script("b", FOREVER);
    await box.start();
    await until(() => box.state("a", "waiting"), "it waits");
    box.lock("a", "KILL");
    await box.down("a");
    expect(existsSync(join(box.rundir, "a/waiting"))).toBeFalse();
  },
);

test.concurrent(
  "there are only plain files of one line, readable by all, and nothing else is left",
  async () => {
    await using box = new Sandbox();
    box.script("up", FOREVER);
    box.script("down", FOREVER);
    box.script("crash", "exit 1");
    await box.start();
    await box.up("down");
    box.lock("down", "TERM");
    await box.down("down");
    await box.up("up");
    await until(() => Number(box.state("crash", "starts")) >= 2, "it restarts");
    box.lock("crash", "0");
    const files = () => readdirSync(box.rundir, { recursive: true });
    // Temporary names come and go, but none stays.
    await until(
      () => !/(^|\/)\./m.test(files().join("\n")),
      "no hidden name is left",
    );
    await box.down("crash");
    expect(box.leftovers().toSorted()).toEqual(["crash", "down", "pid", "up"]);
    for (const name of ["up", "down", "crash"]) {
      const directory = join(box.rundir, name);
      expect(statSync(directory).mode & 0o777).toBe(0o755);
      const names = readdirSync(directory);
      for (const file of names.filter((each) => !each.startsWith("."))) {
        expect(SERVICE_FILES).toContain(file);
        const status = lstatSync(join(directory, file));
        expect(status.isFile()).toBeTrue();
        expect(status.mode & 0o777).toBe(0o644);
        expect(contentOf(box, `${name}/${file}`)).toMatch(/^[A-Za-z0-9]+\n$/);
      }
    }
  },
);

test.concurrent(
  "echo SIGNAL > lock stops it with that signal, and it stays down until rm lock",
  async () => {
    await using box = new Sandbox();
    const signals = {
      TERM: "SIGTERM",
      SIGTERM: "SIGTERM",
      term: "SIGTERM",
      "15": "SIGTERM",
      KILL: "SIGKILL",
      "9": "SIGKILL",
      INT: "SIGINT",
      "2": "SIGINT",
      HUP: "SIGHUP",
      "1": "SIGHUP",
      QUIT: "SIGQUIT",
      SIGUSR1: "SIGUSR1",
      ABRT: "SIGABRT",
    };
    box.script("a", FOREVER);
    await box.start();
    let pid: number | undefined;
    for (const [word, exit] of Object.entries(signals)) {
      pid = await box.up("a", pid);
      await posix(box, `echo ${word} > "$RUNDIR/a/lock"`);
      await box.down("a");
      expect([word, box.state("a", "exit")]).toEqual([word, exit]);
      expect(box.state("a", "lock")).toBe(word);
      await posix(box, 'rm "$RUNDIR/a/lock"');
    }
    await box.up("a", pid);
    box.lock("a", "TERM");
    await box.down("a");
    await Bun.sleep(1500);
    expect(box.pid("a")).toBeUndefined();
  },
);

test.concurrent(
  "a lock that says once, 0 or nothing leaves the running process be and keeps it from being started again",
  async () => {
    await using box = new Sandbox();
    const commands = {
      once: 'echo once > "$RUNDIR/once/lock"',
      zero: 'echo 0 > "$RUNDIR/zero/lock"',
      newline: 'echo > "$RUNDIR/newline/lock"',
      nothing: ': > "$RUNDIR/nothing/lock"',
      touched: 'touch "$RUNDIR/touched/lock"',
    };
    const names = Object.keys(commands);
    for (const name of names) box.script(name, FOREVER);
    await box.start();
    const pids = new Map<string, number>();
    for (const name of names) pids.set(name, await box.up(name));
    for (const command of Object.values(commands)) await posix(box, command);
    await Bun.sleep(1200);
    for (const [name, pid] of pids) {
      expect(box.pid(name)).toBe(pid);
      process.kill(pid, "SIGTERM");
    }
    for (const name of names) await box.down(name);
    await Bun.sleep(1200);
    for (const name of names) expect(box.pid(name)).toBeUndefined();
    for (const name of names) await posix(box, `rm "$RUNDIR/${name}/lock"`);
    for (const name of names) await box.up(name);
  },
);

test.concurrent("kill $(cat pid) restarts it", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  await box.start();
  const pid = await box.up("a");
  await posix(box, 'kill $(cat "$RUNDIR/a/pid")');
  await box.up("a", pid);
  expect(box.state("a", "exit")).toBe("SIGTERM");
});

test.concurrent(
  "rm lock, and rm -r of its directory, start it at once, without a restart delay",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const delays: number[] = [];
    for (const command of ['rm "$RUNDIR/a/lock"', 'rm -r "$RUNDIR/a"']) {
      for (let round = 0; round < 3; round++) {
        const pid = await box.up("a");
        box.lock("a", "TERM");
        await box.down("a");
        const asked = Date.now();
        const { err } = await box.run(["sh", "-c", command]);
        // On a busy machine rm may be held up in the midst of it for longer than sysmgr can wait.
        if (!err.includes("Directory not empty")) expect(err).toBe("");
        await box.up("a", pid);
        delays.push(modified(box, "a/pid") - asked);
      }
      // A start that waits for a restart delay would be due a second after the one before.
      expect(Math.min(...delays)).toBeLessThan(500);
      expect(delays.toSorted((a, b) => a - b)[1]).toBeLessThan(800);
      delays.length = 0;
    }
  },
);

test.concurrent("all of it takes effect within 100 ms", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  await box.start();
  let pid = await box.up("a");
  const effects: Record<string, number[]> = {
    stop: [],
    start: [],
    restart: [],
  };
  const measure = async (
    what: string,
    act: () => void,
    result: () => boolean,
  ) => {
    const asked = performance.now();
    act();
    await until(result, `${what} takes effect`);
    effects[what]?.push(performance.now() - asked);
  };
  const runsAnew = () => ![undefined, pid].includes(box.pid("a"));
  const tooSlow = () =>
    Object.entries(effects).filter(([, times]) => Math.min(...times) >= 100);
  // A busy machine may hold up some of them, but not all.
  for (let round = 0; round < 12 && tooSlow().length > 0; round++) {
    await measure(
      "stop",
      () => box.lock("a", "TERM"),
      () => box.pid("a") === undefined,
    );
    await measure("start", () => box.unlock("a"), runsAnew);
    pid = await box.up("a");
    await Bun.sleep(1050);
    await measure("restart", () => process.kill(pid), runsAnew);
    pid = await box.up("a");
  }
  expect(tooSlow()).toEqual([]);
});

test.concurrent(
  "a lock created first and filled later does only what its final content says",
  async () => {
    await using box = new Sandbox();
    box.script("a", notesSignals("TERM", "HUP", "KILL"));
    await box.start();
    const pid = await box.up("a");
    await until(() => box.read("heard") !== undefined, "it listens");
    const lock = join(box.rundir, "a/lock");
    writeFileSync(lock, "");
    await Bun.sleep(400);
    expect(box.pid("a")).toBe(pid);
    // 1 is HUP, 15 is TERM; the pieces come as fast as a shell writes them.
    appendFileSync(lock, "1");
    appendFileSync(lock, "5");
    appendFileSync(lock, "\n");
    await until(() => box.read("heard")?.includes("TERM"), "it hears TERM");
    expect(box.read("heard")).toBe("TERM\n");
    expect(box.state("a", "lock")).toBe("15");
  },
);

test.concurrent(
  "a lock that is written slowly in pieces is not obeyed before it is complete",
  async () => {
    for (let attempt = 0; ; attempt++) {
      await using box = new Sandbox();
      box.script("a", notesSignals("TERM", "HUP"));
      await box.start();
      await box.up("a");
      await until(() => box.read("heard") !== undefined, "it listens");
      const lock = join(box.rundir, "a/lock");
      const began = performance.now();
      writeFileSync(lock, "1");
      await Bun.sleep(25);
      appendFileSync(lock, "5\n");
      const took = performance.now() - began;
      await until(() => box.read("heard") !== "", "it hears something");
      if (took > 40 && attempt < 20) continue;
      expect(box.read("heard")).toBe("TERM\n");
      return;
    }
  },
);

test.concurrent("a lock without a newline is obeyed all the same", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  await box.start();
  let pid: number | undefined;
  for (const word of ["TERM", "15", "1", "KILL"]) {
    pid = await box.up("a", pid);
    await posix(box, `printf ${word} > "$RUNDIR/a/lock"`);
    await box.down("a");
    await posix(box, 'rm "$RUNDIR/a/lock"');
  }
});

test.concurrent(
  "a lock that is overwritten does no more than its new content says",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const pid = await box.up("a");
    for (const word of ["0", "once", "", "0", "once"]) {
      box.lock("a", word);
      await Bun.sleep(60);
    }
    expect(box.pid("a")).toBe(pid);
    box.lock("a", "TERM");
    await box.down("a");
    box.lock("a", "0");
    await Bun.sleep(1200);
    expect(box.pid("a")).toBeUndefined();
    await posix(box, 'mv "$RUNDIR/a/lock" "$RUNDIR/../moved"');
    await box.up("a");
  },
);

test.concurrent(
  "a lock for a service that is not there yet keeps it from being started",
  async () => {
    await using box = new Sandbox();
    box.lock("before", "TERM");
    await box.start();
    box.lock("later", "0");
    box.script("before", FOREVER);
    box.script("later", FOREVER);
    box.script("free", FOREVER);
    await box.up("free");
    await Bun.sleep(500);
    expect([box.pid("before"), box.pid("later")]).toEqual([
      undefined,
      undefined,
    ]);
    box.unlock("before");
    box.unlock("later");
    await box.up("before");
    await box.up("later");
  },
);

test.concurrent(
  "rm -r of the directory of one that runs stops nothing, and its files come back",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const pid = await box.up("a");
    process.kill(pid, "SIGKILL");
    const second = await box.up("a", pid);
    await Bun.sleep(100);
    rmSync(join(box.rundir, "a"), { recursive: true });
    await until(() => box.pid("a") === second, "its pid is there again");
    await until(() => box.state("a", "exit") === "SIGKILL", "and its exit");
    await until(() => box.state("a", "starts") === "2", "and its starts");
    box.lock("a", "TERM");
    await box.down("a");
  },
);

test.concurrent(
  "a lock outlives sysmgr, whether killed or left for an upgrade",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    box.script("other", FOREVER);
    await box.start();
    await box.up("a");
    const other = await box.up("other");
    box.lock("a", "TERM");
    await box.down("a");
    for (const signal of ["SIGKILL", "SIGUSR2"] as const) {
      box.daemon.kill(signal);
      await box.daemon.exited;
      expect(box.state("a", "lock")).toBe("TERM");
      await box.start();
      await until(() => box.pid("other") === other, "the other is adopted");
      await Bun.sleep(500);
      expect(box.pid("a")).toBeUndefined();
    }
    box.unlock("a");
    await box.up("a");
  },
);

test.concurrent("a clean shutdown leaves RUNDIR empty", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  box.script("locked", FOREVER);
  box.script("crash", "exit 1");
  box.lock("unknown", "0");
  await box.start();
  await box.up("a");
  await box.up("locked");
  box.lock("locked", "TERM");
  await box.down("locked");
  await until(() => box.state("crash", "exit"), "it has crashed");
  // Left by an earlier one that was killed while it wrote.
  writeFileSync(join(box.rundir, "a/.pid.99999"), "12");
  expect(await box.stop()).toBe(0);
  expect(box.leftovers()).toBeEmpty();
  expect(box.processes()).toBeEmpty();
});

test.concurrent("readers never see a half-written file", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  await box.start();
  const expected = {
    "a/pid": /^[1-9][0-9]*\n$/,
    "a/exit": /^SIG(TERM|KILL)\n$/,
    "a/starts": /^[1-9][0-9]*\n$/,
  };
  const seen = new Set<string>();
  let reading = true;
  const reader = (async () => {
    while (reading) {
      for (const [file, form] of Object.entries(expected)) {
        for (let count = 0; count < 30; count++) {
          const text = contentIfThere(box, file);
          if (text === undefined) continue;
          seen.add(file);
          expect([file, text]).toEqual([file, expect.stringMatching(form)]);
        }
      }
      await Bun.sleep(0);
    }
  })();
  for (let round = 0; round < 40; round++) {
    await box.up("a");
    box.lock("a", round % 2 === 0 ? "TERM" : "KILL");
    await box.down("a");
    box.unlock("a");
  }
  reading = false;
  await reader;
  expect([...seen].toSorted()).toEqual(Object.keys(expected).toSorted());
  expect(Number(box.state("a", "starts"))).toBeGreaterThanOrEqual(40);
});

/**
 * What may stand in a file's place. Each gets the path, a path that links may lead to, and one to make
 * things at before they are renamed, because sysmgr sets right at once what is only removed.
 */
const GARBAGE: Record<
  string,
  (path: string, beside: string, maker: string) => void | Promise<void>
> = {
  "binary data": (path) =>
    writeFileSync(path, Buffer.from([0, 255, 10, 27, 91, 50, 74, 200, 0, 10])),
  "a huge file": (path, _beside, maker) => {
    writeFileSync(maker, "");
    truncateSync(maker, 2 ** 33);
    renameSync(maker, path);
  },
  "a negative number": (path) => writeFileSync(path, "-1\n"),
  "a number too large": (path) => writeFileSync(path, `${"9".repeat(40)}\n`),
  "two lines": (path) => writeFileSync(path, "1234\n5678\n"),
  "a FIFO": async (path, _beside, maker) => {
    await Bun.spawn(["mkfifo", maker]).exited;
    renameSync(maker, path);
  },
  "a link to a file": (path, beside, maker) => {
    writeFileSync(beside, "root:x:0:0\n");
    symlinkSync(beside, maker);
    renameSync(maker, path);
  },
  "a link to a number": (path, beside, maker) => {
    writeFileSync(beside, "1\n");
    symlinkSync(beside, maker);
    renameSync(maker, path);
  },
  "a link to nothing": (path, beside, maker) => {
    symlinkSync(beside, maker);
    renameSync(maker, path);
  },
  "a directory": async (path, _beside, maker) => {
    mkdirSync(maker);
    await until(() => exchange(maker, path), "the directory is in its place");
  },
};

for (const file of ["pid", "a/pid", "a/exit", "a/starts"]) {
  test.concurrent(`garbage in ${file} is reported and set right`, async () => {
    await using box = new Sandbox();
    const { pid } = await restartedOnce(box);
    const path = join(box.rundir, file);
    const right = contentOf(box, file);
    const beside = join(box.directory, "beside");
    for (const [kind, put] of Object.entries(GARBAGE)) {
      const logged = box.log().length;
      rmSync(beside, { force: true });
      await put(path, beside, `${beside}.new`);
      const besideBefore = contentIfThere(box, "../beside");
      await until(
        () =>
          lstatSync(path, { throwIfNoEntry: false })?.isFile() &&
          contentIfThere(box, file) === right,
        () => `${kind} in ${file} is set right; the log is:\n${box.log()}`,
      );
      expect(contentIfThere(box, "../beside")).toBe(besideBefore);
      await until(
        () => box.log().slice(logged).includes(path),
        `${kind} in ${file} is reported`,
      );
    }
    expect(box.pid("a")).toBe(pid);
    expect(box.state("a", "starts")).toBe("2");
    expect(isRunning(pid)).toBeTrue();
    expect(box.leftovers().toSorted()).toEqual(["a", "pid"]);
    expect(readdirSync(join(box.rundir, "a")).toSorted()).toEqual([
      "exit",
      "pid",
      "starts",
    ]);
  });
}

test.concurrent(
  "a state file that was removed, or says something else, is set right",
  async () => {
    await using box = new Sandbox();
    const { pid } = await restartedOnce(box);
    for (const file of ["pid", "a/pid", "a/exit", "a/starts"]) {
      const right = contentOf(box, file);
      rmSync(join(box.rundir, file));
      await until(() => contentIfThere(box, file) === right, "it is back");
      writeFileSync(join(box.rundir, file), "3\n");
      await until(() => contentIfThere(box, file) === right, "it is right");
    }
    expect(box.pid("a")).toBe(pid);
  },
);

test.concurrent(
  "garbage in a lock holds the service, is reported and set right",
  async () => {
    await using box = new Sandbox();
    const { pid } = await restartedOnce(box);
    const path = join(box.rundir, "a/lock");
    const beside = join(box.directory, "beside");
    const words: typeof GARBAGE = {
      "an unknown word": (file: string) => writeFileSync(file, "TREM\n"),
      "an unknown number": (file: string) => writeFileSync(file, "77\n"),
      "two signals": (file: string) => writeFileSync(file, "TERM KILL\n"),
      "a link to a signal": (file: string) => {
        writeFileSync(beside, "TERM\n");
        symlinkSync(beside, file);
      },
    };
    for (const [kind, put] of Object.entries({ ...GARBAGE, ...words })) {
      const logged = box.log().length;
      rmSync(beside, { force: true });
      await put(path, beside, `${beside}.new`);
      const besideBefore = contentIfThere(box, "../beside");
      await until(
        () =>
          lstatSync(path, { throwIfNoEntry: false })?.isFile() &&
          contentIfThere(box, "a/lock") === "0\n",
        () => `${kind} in a lock is set right; the log is:\n${box.log()}`,
      );
      expect(contentIfThere(box, "../beside")).toBe(besideBefore);
      await until(
        () => /: a: .*lock/.test(box.log().slice(logged)),
        `${kind} in a lock is reported`,
      );
      expect([kind, box.pid("a")]).toEqual([kind, pid]);
      rmSync(path);
    }
    box.lock("a", "nonsense");
    await until(() => box.state("a", "lock") === "0", "it is set right");
    process.kill(pid, "SIGKILL");
    await box.down("a");
    await Bun.sleep(1200);
    expect(box.pid("a")).toBeUndefined();
  },
);

test.concurrent("garbage in waiting is reported and removed", async () => {
  await using box = new Sandbox();
  const { pid } = await restartedOnce(box);
  const path = join(box.rundir, "a/waiting");
  const beside = join(box.directory, "beside");
  const names = ["a negative number", "a number too large", "two lines"];
  for (const [kind, put] of Object.entries(GARBAGE)) {
    // What may be the names of services is not garbage here.
    if (names.includes(kind)) continue;
    const logged = box.log().length;
    rmSync(beside, { force: true });
    await put(path, beside, `${beside}.new`);
    const besideBefore = contentIfThere(box, "../beside");
    await until(
      () => lstatSync(path, { throwIfNoEntry: false }) === undefined,
      () => `${kind} in waiting is removed; the log is:\n${box.log()}`,
      5000,
    );
    expect(contentIfThere(box, "../beside")).toBe(besideBefore);
    await until(
      () => box.log().slice(logged).includes(path),
      `${kind} in waiting is reported`,
    );
  }
  expect(box.pid("a")).toBe(pid);
});

test.concurrent(
  "garbage in the place of a service's directory is reported and set right",
  async () => {
    await using box = new Sandbox();
    const { pid } = await restartedOnce(box);
    const path = join(box.rundir, "a");
    const victim = join(box.directory, "victim");
    mkdirSync(victim);
    writeFileSync(join(victim, "pid"), "precious\n");
    const kinds = {
      "a file": () => writeFileSync(path, "garbage\n"),
      "a link to a directory": () => symlinkSync(victim, path),
      "a link to nothing": () => symlinkSync("/no/such/file", path),
    };
    for (const [kind, put] of Object.entries(kinds)) {
      // What sysmgr still has to say about the last one must not fall between the next two steps.
      await Bun.sleep(200);
      const logged = box.log().length;
      renameSync(path, join(box.directory, `was before ${kind}`));
      put();
      await until(
        () =>
          lstatSync(path, { throwIfNoEntry: false })?.isDirectory() &&
          box.pid("a") === pid,
        () => `${kind} is set right; the log is:\n${box.log()}`,
        10_000,
      );
      expect(box.log().slice(logged)).toContain(path);
    }
    expect(readdirSync(victim)).toEqual(["pid"]);
    expect(readFileSync(join(victim, "pid"), "utf8")).toBe("precious\n");
    box.lock("a", "TERM");
    await box.down("a");
  },
);

test.concurrent(
  "garbage that was there before sysmgr started is set right",
  async () => {
    const names = ["a negative number", "a number too large", "two lines"];
    for (const [kind, put] of Object.entries(GARBAGE)) {
      // What may be the names of services is not garbage here.
      if (names.includes(kind)) continue;
      await using box = new Sandbox();
      box.script("a", FOREVER);
      mkdirSync(join(box.rundir, "a"), { recursive: true });
      for (const file of ["pid", "a/pid", "a/exit", "a/starts"]) {
        const beside = join(box.directory, `beside-${file.replace("/", "-")}`);
        await put(join(box.rundir, file), beside, `${beside}.new`);
      }
      const daemon = box.spawn();
      await until(
        () => contentIfThere(box, "pid") === `${daemon.pid}\n`,
        () => `${kind} in pid is set right; the log is:\n${box.log()}`,
      );
      const pid = await until(() => {
        const [running] = box.processes();
        return box.pid("a") === running && running;
      }, `${kind} in a/pid is set right`);
      await until(
        () => box.state("a", "starts") === "1",
        `${kind} in a/starts is set right`,
      );
      await until(
        () => [undefined, "unknown"].includes(box.state("a", "exit")),
        `${kind} in a/exit is set right`,
      );
      for (const file of ["pid", "a/pid", "a/exit", "a/starts"])
        await box.logged(new RegExp(`${box.rundir}/${file}: `));
      // Which one it is cannot be seen while it is just being executed.
      await until(
        () => `${box.processes()}` === `${pid}`,
        `one process runs with ${kind}`,
      );
      expect(await box.stop()).toBe(0);
      expect([kind, box.leftovers()]).toEqual([kind, []]);
    }
  },
);

test.concurrent(
  "a pid file that names another process never gets that one signalled",
  async () => {
    await using box = new Sandbox();
    const bystander = box.bystander();
    box.script("a", FOREVER);
    await box.start();
    let pid: number | undefined;
    for (let round = 0; round < 4; round++) {
      pid = await box.up("a", pid);
      const file = join(box.rundir, "a/pid");
      const { mtime } = statSync(file);
      writeFileSync(file, `${bystander.pid}\n`);
      // Also where somebody has made it look as old as it was.
      if (round % 2 === 1) utimesSync(file, mtime, mtime);
      if (round < 2) {
        await box.svctl("signal", "TERM", "a");
        await box.svctl("signal", "KILL", "a");
      }
      box.lock("a", round % 2 === 0 ? "TERM" : "KILL");
      await box.down("a");
      box.unlock("a");
    }
    await box.up("a", pid);
    expect(await box.stop()).toBe(0);
    expect(isRunning(bystander.pid)).toBeTrue();
    expect(bystander.exitCode).toBeNull();
  },
);

test.concurrent(
  "a pid file that names another process never gets that one signalled while no sysmgr runs",
  async () => {
    await using box = new Sandbox();
    const bystander = box.bystander();
    box.script("a", FOREVER);
    await box.start();
    const pid = await box.up("a");
    await box.crash();
    writeFileSync(join(box.rundir, "a/pid"), `${bystander.pid}\n`);
    await box.svctl("signal", "KILL", "a");
    expect(isRunning(bystander.pid)).toBeTrue();
    process.kill(pid, "SIGKILL");
    await until(() => !isRunning(pid), "the service has ended");
    await box.start();
    await box.up("a", bystander.pid);
    box.lock("a", "KILL");
    await box.down("a");
    expect(await box.stop()).toBe(0);
    expect(isRunning(bystander.pid)).toBeTrue();
  },
);

test.concurrent(
  "a pid file overwritten while no sysmgr ran does not double the service",
  async () => {
    await using box = new Sandbox();
    const bystander = box.bystander();
    box.script("foreign", FOREVER);
    box.script("garbage", FOREVER);
    box.script("removed", FOREVER);
    await box.start();
    const names = ["foreign", "garbage", "removed"];
    const pids = new Map<string, number>();
    for (const name of names) pids.set(name, await box.up(name));
    await box.crash();
    writeFileSync(join(box.rundir, "foreign/pid"), `${bystander.pid}\n`);
    writeFileSync(join(box.rundir, "garbage/pid"), "garbage\n");
    rmSync(join(box.rundir, "removed/pid"));
    await box.start();
    for (const [name, pid] of pids)
      await until(() => box.pid(name) === pid, `${name} is adopted`, 5000);
    expect(box.processes().toSorted()).toEqual([...pids.values()].toSorted());
    expect(isRunning(bystander.pid)).toBeTrue();
  },
);

test.concurrent(
  "a service's pid file that names sysmgr, init, nobody or everybody harms none of them",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    const daemon = await box.start();
    let pid: number | undefined;
    for (const other of [daemon.pid, process.pid, 1, 0, -1, 4194305]) {
      pid = await box.up("a", pid);
      writeFileSync(join(box.rundir, "a/pid"), `${other}\n`);
      await box.svctl("signal", "TERM", "a");
      box.lock("a", "TERM");
      await until(() => !isRunning(pid ?? 0), "the service has ended");
      await box.down("a");
      box.unlock("a");
      expect(daemon.exitCode).toBeNull();
    }
    const last = await box.up("a", pid);
    await box.crash();
    writeFileSync(join(box.rundir, "a/pid"), `${process.pid}\n`);
    process.kill(last, "SIGKILL");
    await until(() => !isRunning(last), "the service has ended");
    await box.start();
    await box.up("a", process.pid);
    expect(await box.stop()).toBe(0);
  },
);

/** Puts a directory into the place of a file; false where that has come back in the meantime. */
function exchange(directory: string, path: string): boolean {
  rmSync(path, { force: true });
  try {
    renameSync(directory, path);
    return true;
  } catch (error) {
    if (errorCode(error) !== "ENOTDIR") throw error;
    return false;
  }
}

/** A service `a` that has been started twice, so that all its state files are there. */
async function restartedOnce(box: Sandbox): Promise<{ pid: number }> {
  box.script("a", FOREVER);
  await box.start();
  const first = await box.up("a");
  process.kill(first, "SIGKILL");
  return { pid: await box.up("a", first) };
}

/** A script that notes the signals it gets in the file `heard`, which is there once it listens. */
function notesSignals(...signals: string[]): string {
  const traps = signals.map(
    (signal) => `trap 'echo ${signal} >> "$DIR/heard"' ${signal}`,
  );
  return `${traps.join("\n")}\n: > "$DIR/heard"\nwhile :; do sleep 0.02; done`;
}

/** Does what a user would type. */
async function posix(box: Sandbox, command: string): Promise<void> {
  const { code, err } = await box.run(["sh", "-c", command]);
  expect([command, code, err]).toEqual([command, 0, ""]);
}

function contentOf(box: Sandbox, file: string): string {
  return readFileSync(join(box.rundir, file), "utf8");
}

/** What a file says; undefined where there is none, or a huge one, or no plain one. */
function contentIfThere(box: Sandbox, file: string): string | undefined {
  const path = join(box.rundir, file);
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink ? undefined : box.read(join("run", file));
}

function modified(box: Sandbox, file: string): number {
  return statSync(join(box.rundir, file)).mtimeMs;
}
