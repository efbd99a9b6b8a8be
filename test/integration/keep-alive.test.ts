/** Contract: "Keeping it alive". */
import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRunning, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

const FOREVER = "exec sleep 1000";

test.concurrent(
  "a crash loop is logged ten times, then thinned out",
  async () => {
    await using box = new Sandbox();
    box.script("crash", "exit 1");
    box.script("short", "sleep 1.1; exit 1");
    box.file("impossible", "#!/no/such/interpreter\n");
    await box.start();
    await until(
      () =>
        Number(box.state("crash", "starts")) >= 15 &&
        Number(box.state("short", "starts")) >= 13,
      "both have been started often enough",
    );
    for (const name of ["crash", "short", "impossible"]) {
      const lines = box
        .logOf(name)
        .filter((line) => /exited|cannot start/.test(line));
      expect(lines.length).toBeGreaterThanOrEqual(10);
      expect(lines.slice(11)).toEqual([]);
      expect(lines.at(-1)).toMatch(/\b1[01]\b/);
      // Nor does anything else fill the log instead.
      const others = box.logOf(name).filter((line) => !lines.includes(line));
      expect(others.slice(11)).toEqual([]);
    }
  },
);

test.concurrent(
  "a service that ends after a second or more is started again at once",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const first = await box.up("a");
    await Bun.sleep(1100);
    process.kill(first, "SIGKILL");
    await box.up("a", first);
    expect(box.state("a", "exit")).toBe("SIGKILL");
    expect(box.state("a", "starts")).toBe("2");
    expect(modified(box, "a/pid") - modified(box, "a/exit")).toBeLessThan(700);
  },
);

test.concurrent("no service starts more than once a second", async () => {
  await using box = new Sandbox();
  box.script("crash", 'date +%s%N >> "$DIR/starts"');
  await box.start();
  for (const gap of await gapsBetweenStarts(box, 4)) {
    // The shell itself takes a moment to reach `date`, sometimes a longer one.
    expect(gap).toBeGreaterThan(850);
  }
});

test.concurrent(
  "the second is counted from the last start, not from the end",
  async () => {
    await using box = new Sandbox();
    box.script("crash", 'date +%s%N >> "$DIR/starts"; sleep 0.7');
    await box.start();
    const gaps = await gapsBetweenStarts(box, 4);
    expect(Math.min(...gaps)).toBeGreaterThan(850);
    expect(Math.min(...gaps)).toBeLessThan(1500);
  },
);

test.concurrent("a service is started again however it ends", async () => {
  await using box = new Sandbox();
  const ends = {
    good: ["exit 0", "0"],
    bad: ["exit 255", "255"],
    terminated: ["kill -TERM $$", "SIGTERM"],
    killed: ["kill -KILL $$", "SIGKILL"],
    segmentation: ["kill -SEGV $$", "SIGSEGV"],
    aborted: ["kill -ABRT $$", "SIGABRT"],
    hungUp: ["kill -HUP $$", "SIGHUP"],
  } as const;
  for (const [name, [body]] of Object.entries(ends)) box.script(name, body);
  await box.start();
  for (const [name, [, exit]] of Object.entries(ends)) {
    await until(() => Number(box.state(name, "starts")) >= 3, "it restarts");
    expect([name, box.state(name, "exit")]).toEqual([name, exit]);
  }
});

test.concurrent(
  "what cannot be started is reported with the reason and started as soon as it can be",
  async () => {
    await using box = new Sandbox();
    const missing = join(box.directory, "missing");
    const forbidden = join(box.directory, "forbidden");
    writeFileSync(forbidden, '#!/bin/sh\nexec /bin/sh "$@"\n', { mode: 0o644 });
    box.file("missing", `#!${missing}\n${FOREVER}\n`);
    box.file("forbidden", `#!${forbidden}\n${FOREVER}\n`);
    await box.start();
    await box.logged(
      /^sysmgr: missing: cannot start: its interpreter \S+\/missing does not exist \(ENOENT\)/,
    );
    await box.logged(/^sysmgr: forbidden: cannot start: .*EACCES/);
    await until(() => box.logOf("missing").length >= 3, "it is tried again");
    expect(box.pid("missing")).toBeUndefined();
    writeFileSync(missing, '#!/bin/sh\nexec /bin/sh "$@"\n', { mode: 0o755 });
    chmodSync(forbidden, 0o755);
    await box.up("missing");
    await box.up("forbidden");
  },
);

test.concurrent(
  "what cannot be started is tried no more than once a second, from the first",
  async () => {
    await using box = new Sandbox();
    await box.start();
    box.file("missing", "#!/no/such/interpreter\n");
    await box.logged(/: missing: cannot start/);
    const first = performance.now();
    await Bun.sleep(2300);
    const tries = box.logOf("missing").length;
    const seconds = (performance.now() - first) / 1000;
    expect(tries).toBeGreaterThanOrEqual(2);
    expect(tries).toBeLessThanOrEqual(1 + Math.ceil(seconds));
  },
);

test.concurrent("what cannot be started delays nobody else", async () => {
  await using box = new Sandbox();
  box.script("steady", FOREVER);
  for (let index = 0; index < 10; index++)
    box.file(`missing${index}`, "#!/no/such/interpreter\n");
  await box.start();
  const steady = await box.up("steady");
  await until(() => box.logOf("missing9").length >= 2, "all have been tried");
  await Bun.sleep(1100);
  const delays: number[] = [];
  for (const name of ["a", "b", "c"]) {
    const asked = Date.now();
    box.script(name, FOREVER);
    await box.up(name);
    delays.push(modified(box, `${name}/pid`) - asked);
  }
  expect(Math.min(...delays)).toBeLessThan(300);
  process.kill(steady, "SIGKILL");
  await box.up("steady", steady);
  expect(
    modified(box, "steady/pid") - modified(box, "steady/exit"),
  ).toBeLessThan(700);
});

test.concurrent(
  "running out of descriptors is reported, ends nothing, and passes",
  async () => {
    await using box = new Sandbox();
    const names = Array.from({ length: 40 }, (_, index) => `s${index}`);
    await box.start([], {}, shell("ulimit -n 32"));
    for (const name of names) box.script(name, FOREVER);
    await box.logged(/: cannot start: .*(EMFILE|EAGAIN)/);
    const running = () => names.filter((name) => box.pid(name) !== undefined);
    await until(() => running().length >= 10, "some of them run");
    const pids = running().map((name) => box.pid(name));
    await Bun.sleep(2500);
    expect(box.daemon.exitCode).toBeNull();
    const survivors = running().map((name) => box.pid(name));
    for (const pid of pids) expect(survivors).toContain(pid);
    // The one that got the last descriptor has left none for writing its pid.
    const unrecorded = box.processes().length - survivors.length;
    expect([0, 1]).toContain(unrecorded);
    // What goes makes room for what could not be started.
    const waiting = names.filter((name) => box.pid(name) === undefined);
    expect(waiting).not.toBeEmpty();
    for (const name of running().slice(0, 4)) box.lock(name, "TERM");
    await until(
      () => waiting.filter((name) => box.pid(name) !== undefined).length >= 2,
      "others have taken their places",
    );
    const ending = box.daemon;
    ending.kill("SIGTERM");
    await until(() => ending.exitCode !== null, "it has stopped them all");
    expect(ending.exitCode).toBe(0);
    expect(box.processes()).toBeEmpty();
  },
);

test.concurrent(
  "a service that is slow to stop delays nobody else",
  async () => {
    await using box = new Sandbox();
    box.script("slow", stubborn("slow"));
    box.script("quick", FOREVER);
    await box.start(["-t", "30"]);
    await until(() => box.read("slow"), "slow ignores TERM");
    const quick = await box.up("quick");
    box.lock("slow", "TERM");
    await box.logged(/: slow: stopping/);
    box.lock("quick", "TERM");
    await box.down("quick");
    box.unlock("quick");
    await box.up("quick", quick);
    box.script("new", FOREVER);
    await box.up("new");
    expect(box.pid("slow")).toBeNumber();
  },
);

test.concurrent(
  "stopping sends TERM, then CONT, to the main process and to its group",
  async () => {
    await using box = new Sandbox();
    const hear = (who: string) =>
      `trap "echo ${who} TERM >> $DIR/heard" TERM; trap "echo ${who} CONT >> $DIR/heard" CONT`;
    const wait = "while :; do sleep 0.05; done";
    box.script(
      "a",
      `(${hear("child")}; touch "$DIR/ready"; ${wait}) &\n${hear("main")}; ${wait}`.replaceAll(
        "$DIR",
        box.directory,
      ),
    );
    await box.start();
    await until(() => box.read("ready") !== undefined, "the child listens");
    await box.up("a");
    await Bun.sleep(200);
    box.lock("a", "TERM");
    const heard = await until(() => {
      const lines = (box.read("heard") ?? "").trim().split("\n");
      return lines.length >= 4 && lines;
    }, "both have heard both");
    expect(heard.toSorted()).toEqual([
      "child CONT",
      "child TERM",
      "main CONT",
      "main TERM",
    ]);
  },
);

test.concurrent(
  "a service that was stopped with SIGSTOP can be brought down",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start(["-t", "25"]);
    const pid = await box.up("a");
    process.kill(pid, "SIGSTOP");
    await until(() => stateOf(pid) === "T", "it is stopped");
    box.lock("a", "TERM");
    await box.down("a");
    expect(box.state("a", "exit")).toBe("SIGTERM");
  },
);

test.concurrent(
  "KILL goes to the whole group after the stop timeout",
  async () => {
    await using box = new Sandbox();
    box.script("a", `(${stubborn("child")}) &\n${stubborn("main")}`);
    await box.start(["-t", "1"]);
    await until(
      () => box.read("child") && box.read("main"),
      "both ignore TERM",
    );
    const pid = await box.up("a");
    const asked = performance.now();
    box.lock("a", "TERM");
    await box.down("a");
    const took = performance.now() - asked;
    expect(took).toBeGreaterThan(950);
    expect(took).toBeLessThan(5000);
    expect(box.state("a", "exit")).toBe("SIGKILL");
    expect(box.processes()).toBeEmpty();
    await box.logged(/: a: .*(kill|KILL)/);
    expect(isRunning(pid)).toBeFalse();
  },
);

test.concurrent(
  "the stop timeout can come from the environment, and an option beats it",
  async () => {
    await using fromEnvironment = new Sandbox();
    await using fromOption = new Sandbox();
    await fromEnvironment.start([], { SYSMGR_STOP_TIMEOUT: "0.5" });
    await fromOption.start(["--timeout", "0.5"], { SYSMGR_STOP_TIMEOUT: "60" });
    for (const box of [fromEnvironment, fromOption]) {
      box.script("a", stubborn("ready"));
      await until(() => box.read("ready"), "it ignores TERM");
      await box.up("a");
      box.lock("a", "TERM");
      await box.down("a");
      expect(box.state("a", "exit")).toBe("SIGKILL");
    }
  },
);

test.concurrent(
  "a script that does not exec is stopped with what it started",
  async () => {
    await using box = new Sandbox();
    box.script("a", "sleep 1000 | sleep 1000\n:");
    await box.start();
    await box.up("a");
    await until(() => box.processes().length >= 3, "all of it runs");
    box.lock("a", "TERM");
    await box.down("a");
    expect(box.processes()).toBeEmpty();
  },
);

test.concurrent(
  "it is down only when the whole group is gone, which gets its full time",
  async () => {
    await using box = new Sandbox();
    // The main process dies of TERM at once; a child needs more than a second to flush.
    box.script("a", `(${flushes("flushed", 1.2)}) &\n${FOREVER}`);
    await box.start(["-t", "25"]);
    await until(() => box.read("ready"), "the child listens");
    const pid = await box.up("a");
    box.lock("a", "TERM");
    await until(() => !isRunning(pid), "the main process has ended");
    expect(box.pid("a")).toBe(pid);
    await box.down("a");
    expect(box.read("flushed")).toBe("done\n");
    expect(box.state("a", "exit")).toBe("SIGTERM");
  },
);

test.concurrent(
  "a restart waits for the whole group of the one before",
  async () => {
    await using box = new Sandbox();
    box.script(
      "a",
      `echo started >> "$DIR/trace"\n(${flushes("trace", 0.7)}) &\n${FOREVER}`,
    );
    await box.start(["-t", "25"]);
    await until(() => box.read("ready"), "the child listens");
    const pid = await box.up("a");
    box.lock("a", "TERM");
    await until(() => !isRunning(pid), "the main process has ended");
    box.unlock("a");
    await box.up("a", pid);
    const trace = await until(
      () =>
        /started\n(.*\n)*started\n/.test(box.read("trace") ?? "") &&
        box.read("trace"),
      "it has started twice",
    );
    expect(trace).toBe("started\ndone\nstarted\n");
  },
);

test.concurrent(
  "what a main process that ended by itself left in its group goes before it is started again",
  async () => {
    await using box = new Sandbox();
    box.script(
      "a",
      `echo started >> "$DIR/trace"\n(${flushes("trace", 0.5)}) &\nwhile ! test -e "$DIR/ready"; do sleep 0.02; done\nsleep 1; rm "$DIR/ready"; exit 3`,
    );
    await box.start(["-t", "25"]);
    const trace = await until(() => {
      const text = box.read("trace") ?? "";
      return text.split("started").length > 3 && text;
    }, "it has started three times");
    expect(trace).toBe("started\ndone\nstarted\ndone\nstarted\n");
    await until(() => box.state("a", "exit") === "3", "its own exit is kept");
  },
);

test.concurrent(
  "what was left and ignores TERM is killed after the stop timeout",
  async () => {
    await using box = new Sandbox();
    box.script(
      "a",
      `trap "" TERM; sleep 1000 &\necho $! > "$DIR/child.$$"; sleep 0.3; exit 0`,
    );
    await box.start(["-t", "1"]);
    const first = await box.up("a");
    const child = Number(
      await until(() => box.read(`child.${first}`), "it has a child"),
    );
    const second = await box.up("a", first);
    expect(second).not.toBe(first);
    expect(isRunning(child)).toBeFalse();
  },
);

test.concurrent(
  "a main process killed from outside leaves nothing running beside its successor",
  async () => {
    await using box = new Sandbox();
    box.script("a", "sleep 1000 &\nsleep 1000");
    await box.start();
    const first = await box.up("a");
    await until(() => box.processes().length === 3, "all of it runs");
    const before = box.processes();
    process.kill(first, "SIGKILL");
    await box.up("a", first);
    await until(() => box.processes().length === 3, "the new one runs");
    for (const pid of before) expect(box.processes()).not.toContain(pid);
  },
);

/** The milliseconds between the starts that a service notes with `date`. */
async function gapsBetweenStarts(
  box: Sandbox,
  count: number,
): Promise<number[]> {
  const times = await until(() => {
    const lines = (box.read("starts") ?? "").trim().split("\n").map(Number);
    return lines.length >= count && lines;
  }, `it has been started ${count} times`);
  return times
    .slice(1)
    .map((time, index) => (time - (times[index] ?? 0)) / 1e6);
}

/** Shell code that ignores TERM for ever, having said so in a file. */
function stubborn(file: string): string {
  return `trap "" TERM; echo ready > "$DIR/${file}"; while :; do sleep 1000; done`;
}

/** Shell code that takes some seconds after TERM before it notes that it is done. */
function flushes(file: string, seconds: number): string {
  return [
    `trap 'sleep ${seconds}; echo done >> "$DIR/${file}"; exit' TERM`,
    'echo ready > "$DIR/ready"',
    "while :; do sleep 0.02; done",
  ].join("; ");
}

function modified(box: Sandbox, file: string): number {
  return statSync(join(box.rundir, file)).mtimeMs;
}

/** Starts sysmgr from a shell that has done something before. */
function shell(before: string): { through: string[] } {
  return { through: ["sh", "-c", `${before}; exec "$@"`, "sh"] };
}

function stateOf(pid: number): string | undefined {
  const line = Bun.spawnSync(["ps", "-o", "stat=", "-p", String(pid)]);
  return line.stdout.toString().at(0);
}
