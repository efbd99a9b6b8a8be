/** Contract: "svctl". */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  CONTROL,
  DIST,
  DONE,
  failure,
  isRunning,
  Sandbox,
  until,
} from "./sandbox.ts";

setDefaultTimeout(180_000);

const SVCTL = join(DIST, "svctl");
const FOREVER = "exec sleep 1000";
/** Needs a second to stop, and writes down what happens to it. */
const SLOW = `trap 'echo "term $SYSMGR_SERVICE" >> $DIR/events; sleep 1; echo "gone $SYSMGR_SERVICE" >> $DIR/events; exit 0' TERM
echo "up $SYSMGR_SERVICE" >> $DIR/events
while :; do sleep 0.02; done`;
/** The same, but needs until it is let go. */
const HELD = SLOW.replace(
  "sleep 1;",
  "while [ ! -e $DIR/go ]; do sleep 0.02; done;",
);
/** Writes down that a signal has come, and goes on. */
const LISTENER = `for signal in HUP INT USR1 USR2 WINCH; do trap "echo $signal >> $DIR/signals" $signal; done
touch $DIR/ready
while :; do sleep 0.02; done`;
const STUBBORN = `trap "" TERM INT HUP; touch $DIR/ready; while :; do sleep 0.02; done`;
/** Says so when another one of it runs at the same time; the kernel drops its hold when it ends. */
const EXCLUSIVE = `exec 9> $DIR/guard; flock -n 9 || echo double >> $DIR/double; exec sleep 1000`;
/** With the default stop timeout svctl would wait 12 seconds for something that never comes. */
const AT_ONCE = 6000;

/** Every operation on a service, with what it needs. */
const OPERATIONS = [
  "start",
  "up",
  "stop",
  "down",
  "restart",
  "kill",
  "once",
  "signal HUP",
  "reload",
];

/** Sysmgr with one service `a` that runs. */
async function running(
  body = FOREVER,
  options: string[] = [],
): Promise<{ box: Sandbox; pid: number }> {
  const box = new Sandbox();
  box.script("a", body);
  await box.start(options);
  return { box, pid: await box.up("a") };
}

async function ready(box: Sandbox): Promise<void> {
  await until(() => box.read("ready") !== undefined, "the service is ready");
}

function events(box: Sandbox): string[] {
  return (box.read("events") ?? "").trim().split("\n");
}

/** Lets a service end that was held. */
function letGo(box: Sandbox): void {
  writeFileSync(join(box.directory, "go"), "");
}

async function happened(box: Sandbox, event: string, times = 1): Promise<void> {
  await until(
    () => events(box).filter((each) => each === event).length >= times,
    `${event} has happened`,
  );
}

async function timed<T>(
  work: Promise<T>,
): Promise<{ outcome: T; took: number }> {
  const begun = performance.now();
  const outcome = await work;
  return { outcome, took: performance.now() - begun };
}

/** That nothing happens can only be seen by waiting: here longer than any restart delay. */
async function staysDown(box: Sandbox, name: string): Promise<void> {
  const starts = box.state(name, "starts");
  await Bun.sleep(1300);
  expect(box.pid(name)).toBeUndefined();
  expect(box.state(name, "starts")).toBe(starts);
}

describe("start", () => {
  test.concurrent.each(["start", "up"])(
    "%s removes the lock and returns when it runs",
    async (operation) => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      box.lock("a", "TERM");
      await box.start();
      expect(await box.svctl(operation, "a")).toEqual(DONE);
      expect(isRunning(box.pid("a") ?? 0)).toBeTrue();
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );

  test.concurrent("of one that runs leaves it be", async () => {
    const { box, pid } = await running();
    await using _ = box;
    expect(await box.svctl("start", "a")).toEqual(DONE);
    expect(box.pid("a")).toBe(pid);
    expect(box.state("a", "starts")).toBe("1");
  });

  test.concurrent.each(["once", "0"])(
    "of one that runs with the lock '%s' removes only that",
    async (lock) => {
      const { box, pid } = await running();
      await using _ = box;
      box.lock("a", lock);
      expect(await box.svctl("start", "a")).toEqual(DONE);
      expect(box.state("a", "lock")).toBeUndefined();
      expect(box.pid("a")).toBe(pid);
      process.kill(pid, "SIGKILL");
      await box.up("a", pid);
    },
  );

  test.concurrent(
    "of one that is being stopped returns when a new process runs",
    async () => {
      const { box, pid } = await running(SLOW);
      await using _ = box;
      await happened(box, "up a");
      expect(await box.svctl("--no-wait", "stop", "a")).toEqual(DONE);
      await happened(box, "term a");
      expect(await box.svctl("start", "a")).toEqual(DONE);
      const now = box.pid("a");
      expect(now).toBeNumber();
      expect(now).not.toBe(pid);
      await happened(box, "up a", 2);
      expect(events(box)).toEqual(["up a", "term a", "gone a", "up a"]);
    },
  );

  test.concurrent.each([["start"], ["restart"], ["once"]])(
    "%s of a script dropped in a moment ago waits until it is picked up",
    async (operation) => {
      await using box = new Sandbox();
      await box.start();
      for (const name of ["a", "b", "c", "d"]) {
        box.script(name, FOREVER);
        expect(await box.svctl(operation, name)).toEqual(DONE);
        expect(isRunning(box.pid(name) ?? 0)).toBeTrue();
      }
    },
  );

  test.concurrent(
    "of a script that is still being copied runs all of it",
    async () => {
      await using box = new Sandbox();
      await box.start();
      const copy = `printf '#!/bin/sh\\n' > sv/a; chmod +x sv/a; printf 'touch $DIR/complete\\n' >> sv/a; printf 'exec sleep 1000\\n' >> sv/a`;
      expect(await box.run(["sh", "-c", `${copy}; svctl start a`])).toEqual(
        DONE,
      );
      await until(
        () => box.read("complete") !== undefined,
        "all of it has run",
      );
      expect(box.state("a", "starts")).toBe("1");
    },
  );
});

describe("start of one that cannot run says why, at once", () => {
  const UNFIT: Record<string, { make: (box: Sandbox) => void; why: string }> = {
    "not executable": {
      make: (box) => box.script("a", FOREVER, 0o644),
      why: "not executable",
    },
    "its interpreter is missing": {
      make: (box) => box.file("a", "#!/no/such/interpreter -x\n"),
      why: "/no/such/interpreter",
    },
    "a directory": {
      make: (box) => mkdirSync(join(box.sysdir, "a")),
      why: "not a regular file",
    },
    "a dangling link": {
      make: (box) => symlinkSync("nowhere", join(box.sysdir, "a")),
      why: "link",
    },
    "a FIFO": {
      make: (box) => {
        Bun.spawnSync(["mkfifo", "-m", "755", join(box.sysdir, "a")]);
      },
      why: "not a regular file",
    },
  };

  for (const [what, { make, why }] of Object.entries(UNFIT)) {
    test.concurrent.each(["start", "restart", "once"])(
      `${what}: %s`,
      async (operation) => {
        await using box = new Sandbox();
        make(box);
        await box.start();
        const { outcome, took } = await timed(box.svctl(operation, "a"));
        expect(outcome).toEqual(failure("svctl", "a: ", why));
        expect(took).toBeLessThan(AT_ONCE);
      },
    );

    test.concurrent(`${what}: dropped in a moment ago`, async () => {
      await using box = new Sandbox();
      await box.start();
      make(box);
      const { outcome, took } = await timed(box.svctl("start", "a"));
      expect(outcome).toEqual(failure("svctl", "a: ", why));
      expect(took).toBeLessThan(AT_ONCE);
    });
  }

  test.concurrent("and status says it, too", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER, 0o644);
    await box.start();
    expect(await box.svctl("status", "a")).toEqual({
      code: 1,
      out: "a: DOWN (not executable)\n",
      err: "",
    });
  });

  test.concurrent("once it can run, start succeeds", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER, 0o644);
    await box.start();
    expect((await box.svctl("start", "a")).code).toBe(1);
    chmodSync(join(box.sysdir, "a"), 0o755);
    expect(await box.svctl("start", "a")).toEqual(DONE);
    expect(box.pid("a")).toBeNumber();
  });
});

describe("no restart delay is waited out by", () => {
  const SICK = "date +%s%N >> $DIR/times; exit 1";
  /** A waited out delay is a second. */
  const SOONER = 800;
  const ATTEMPTS = 5;

  function startTimes(box: Sandbox): number[] {
    return (box.read("times") ?? "").trim().split("\n").map(Number);
  }

  /** Whether the last start has ended in an exit already. */
  function hasEnded(box: Sandbox): boolean {
    const [starts, exit] = ["starts", "exit"].map((file) =>
      statSync(join(box.rundir, "a", file), { throwIfNoEntry: false }),
    );
    return (exit?.mtimeMs ?? 0) > (starts?.mtimeMs ?? 0);
  }

  /** Milliseconds from the start before to the one that was asked for. */
  async function gap(operation: string): Promise<number> {
    await using box = new Sandbox();
    box.script("a", SICK);
    await box.start();
    await until(() => startTimes(box).length >= 2, "it crashes");
    const before = startTimes(box).length;
    await until(
      () => startTimes(box).length > before && hasEnded(box),
      "it has just crashed",
    );
    const crashes = startTimes(box).length;
    expect(await box.svctl(operation, "a")).toEqual(DONE);
    await until(
      () => startTimes(box).length > crashes || hasEnded(box),
      "it has started, or had just been started by itself",
    );
    const times = startTimes(box);
    if (times.length === crashes) return Number.POSITIVE_INFINITY;
    return ((times[crashes] ?? 0) - (times[crashes - 1] ?? 0)) / 1e6;
  }

  test.concurrent.each(["start", "restart", "once"])(
    "%s",
    async (operation) => {
      let shortest = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < ATTEMPTS && shortest >= SOONER; attempt++)
        shortest = Math.min(shortest, await gap(operation));
      expect(shortest).toBeLessThan(SOONER);
    },
  );
});

describe("stop", () => {
  test.concurrent.each(["stop", "down"])(
    "%s writes the lock TERM and returns when it is down",
    async (operation) => {
      const { box, pid } = await running(SLOW);
      await using _ = box;
      await happened(box, "up a");
      expect(await box.svctl(operation, "a")).toEqual(DONE);
      expect(isRunning(pid)).toBeFalse();
      expect(box.pid("a")).toBeUndefined();
      expect(events(box)).toEqual(["up a", "term a", "gone a"]);
      expect(readFileSync(join(box.rundir, "a/lock"), "utf8")).toBe("TERM\n");
      await staysDown(box, "a");
    },
  );

  test.concurrent("of one that is down is done at once", async () => {
    const { box } = await running();
    await using _ = box;
    await box.svctl("stop", "a");
    const { outcome, took } = await timed(box.svctl("stop", "a"));
    expect(outcome).toEqual(DONE);
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent("returns when the whole group is gone", async () => {
    const child = `(trap "sleep 0.5; exit" TERM; touch $DIR/ready; while :; do sleep 0.02; done) & sleep 1000`;
    const { box } = await running(child);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("stop", "a")).toEqual(DONE);
    expect(box.processes()).toEqual([]);
  });

  test.concurrent("of one that obeys nothing returns after KILL", async () => {
    const { box } = await running(STUBBORN, ["-t", "0.4"]);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("stop", "a")).toEqual(DONE);
    expect(box.state("a", "exit")).toBe("SIGKILL");
    expect(box.processes()).toEqual([]);
  });

  test.concurrent("in the middle of a crash loop ends it", async () => {
    await using box = new Sandbox();
    box.script("a", "exit 1");
    await box.start();
    await until(() => box.state("a", "starts") === "2", "it crashes");
    expect(await box.svctl("stop", "a")).toEqual(DONE);
    await staysDown(box, "a");
  });

  test.concurrent(
    "of a script dropped in a moment ago keeps it down",
    async () => {
      await using box = new Sandbox();
      await box.start();
      const names = Array.from({ length: 10 }, (_, index) => `s${index}`);
      for (const [index, name] of names.entries()) {
        box.script(name, `echo run >> $DIR/runs; ${FOREVER}`);
        // It is about to be started, is being started, or has been.
        await Bun.sleep(index * 8);
        expect(await box.svctl("stop", name)).toEqual(DONE);
        expect(box.processes()).toEqual([]);
      }
      const runs = box.read("runs");
      await Bun.sleep(700);
      for (const name of names) expect(box.pid(name)).toBeUndefined();
      expect(box.read("runs")).toBe(runs);
    },
  );
});

describe("kill", () => {
  test.concurrent(
    "brings down with KILL what would not listen, and it stays down",
    async () => {
      const { box } = await running(STUBBORN);
      await using _ = box;
      await ready(box);
      const { outcome, took } = await timed(box.svctl("kill", "a"));
      expect(outcome).toEqual(DONE);
      expect(took).toBeLessThan(AT_ONCE);
      expect(box.state("a", "exit")).toBe("SIGKILL");
      expect(readFileSync(join(box.rundir, "a/lock"), "utf8")).toBe("KILL\n");
      expect(box.processes()).toEqual([]);
      await staysDown(box, "a");
    },
  );

  test.concurrent("ends a stop that takes too long", async () => {
    const { box } = await running(STUBBORN);
    await using _ = box;
    await ready(box);
    await box.svctl("--no-wait", "stop", "a");
    await box.logged(/a: stopping/);
    const { outcome, took } = await timed(box.svctl("kill", "a"));
    expect(outcome).toEqual(DONE);
    expect(took).toBeLessThan(AT_ONCE);
  });

  test.concurrent("start takes it back", async () => {
    const { box, pid } = await running();
    await using _ = box;
    await box.svctl("kill", "a");
    expect(await box.svctl("start", "a")).toEqual(DONE);
    expect(box.pid("a")).not.toBe(pid);
    expect(box.pid("a")).toBeNumber();
  });
});

describe("restart", () => {
  test.concurrent(
    "waits until the old process is gone, and returns when a new one runs",
    async () => {
      const { box, pid } = await running(SLOW);
      await using _ = box;
      for (let lap = 1; lap <= 2; lap++) {
        await happened(box, "up a", lap);
        const before = box.pid("a");
        expect(await box.svctl("restart", "a")).toEqual(DONE);
        expect(box.pid("a")).toBeNumber();
        expect(box.pid("a")).not.toBe(before);
      }
      await happened(box, "up a", 3);
      const lap = ["term a", "gone a", "up a"];
      expect(events(box)).toEqual(["up a", ...lap, ...lap]);
      expect(isRunning(pid)).toBeFalse();
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );

  test.concurrent("never has two at once, many times in a row", async () => {
    const { box } = await running(EXCLUSIVE);
    await using _ = box;
    for (let lap = 0; lap < 10; lap++) {
      const before = box.pid("a");
      expect(await box.svctl("restart", "a")).toEqual(DONE);
      expect(box.pid("a")).not.toBe(before);
    }
    expect(box.read("double")).toBeUndefined();
    expect(box.state("a", "starts")).toBe("11");
  });

  test.concurrent.each(["stop", "kill"])(
    "of one that is down after %s starts it",
    async (operation) => {
      const { box, pid } = await running();
      await using _ = box;
      await box.svctl(operation, "a");
      expect(await box.svctl("restart", "a")).toEqual(DONE);
      expect(box.pid("a")).toBeNumber();
      expect(box.pid("a")).not.toBe(pid);
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );

  test.concurrent(
    "of one in a crash loop starts it and reports no failure",
    async () => {
      await using box = new Sandbox();
      box.script("a", "exit 1");
      await box.start();
      await until(() => Number(box.state("a", "starts")) >= 2, "it crashes");
      const { outcome, took } = await timed(box.svctl("restart", "a"));
      expect(outcome).toEqual(DONE);
      expect(took).toBeLessThan(AT_ONCE);
      expect(Number(box.state("a", "starts"))).toBeGreaterThan(2);
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );

  test.concurrent("takes the file that has been put there since", async () => {
    const { box } = await running(`touch $DIR/ready; ${FOREVER}`);
    await using _ = box;
    await ready(box);
    box.script("a", "touch $DIR/new; exec sleep 1000");
    await Bun.sleep(200);
    expect(box.read("new")).toBeUndefined();
    expect(await box.svctl("restart", "a")).toEqual(DONE);
    await until(() => box.read("new") !== undefined, "the new script runs");
  });

  test.concurrent(
    "of one whose script has become unusable leaves it running",
    async () => {
      const { box, pid } = await running();
      await using _ = box;
      chmodSync(join(box.sysdir, "a"), 0o644);
      expect(await box.svctl("restart", "a")).toEqual(
        failure("svctl", "a: ", "not executable"),
      );
      expect(box.pid("a")).toBe(pid);
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );

  test.concurrent.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "interrupted by %s leaves the service running in the end",
    async (signal) => {
      const { box } = await running(HELD);
      await using _ = box;
      await happened(box, "up a");
      const restart = box.begin([SVCTL, "restart", "a"]);
      await happened(box, "term a");
      restart.kill(signal);
      expect(await restart.exited).not.toBe(0);
      letGo(box);
      await happened(box, "up a", 2);
      expect(box.state("a", "lock")).toBeUndefined();
      expect(events(box)).toEqual(["up a", "term a", "gone a", "up a"]);
    },
  );

  test.concurrent(
    "that takes too long leaves the service running in the end",
    async () => {
      const { box } = await running(SLOW);
      await using _ = box;
      await happened(box, "up a");
      const outcome = await box.svctl("-w", "0.2", "restart", "a");
      expect(outcome).toEqual(failure("svctl", "a: still running after 0.2 s"));
      await happened(box, "up a", 2);
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );
});

describe("once", () => {
  const RUNS_OUT = "echo run >> $DIR/runs; exec sleep 0.2";

  test.concurrent(
    "of one that is down runs it, and it is not restarted",
    async () => {
      await using box = new Sandbox();
      box.script("a", RUNS_OUT);
      box.lock("a", "TERM");
      await box.start();
      expect(await box.svctl("once", "a")).toEqual(DONE);
      expect(readFileSync(join(box.rundir, "a/lock"), "utf8")).toBe("once\n");
      await until(() => box.state("a", "exit") === "0", "it has run out");
      await staysDown(box, "a");
      expect(box.read("runs")).toBe("run\n");
    },
  );

  test.concurrent("of one that runs lets it run out", async () => {
    const { box, pid } = await running();
    await using _ = box;
    expect(await box.svctl("once", "a")).toEqual(DONE);
    expect(box.pid("a")).toBe(pid);
    process.kill(pid, "SIGTERM");
    await box.down("a");
    await staysDown(box, "a");
  });

  test.concurrent("of one that has run out runs it once more", async () => {
    await using box = new Sandbox();
    box.script("a", RUNS_OUT);
    box.lock("a", "once");
    await box.start();
    for (const runs of ["run\n", "run\nrun\n"]) {
      expect(await box.svctl("once", "a")).toEqual(DONE);
      await until(() => box.read("runs") === runs, "it has run");
      await box.down("a");
    }
    await staysDown(box, "a");
    expect(box.read("runs")).toBe("run\nrun\n");
  });

  test.concurrent("of one that ends at once runs it exactly once", async () => {
    await using box = new Sandbox();
    box.script("a", "echo run >> $DIR/runs");
    box.lock("a", "TERM");
    await box.start();
    expect(await box.svctl("once", "a")).toEqual(DONE);
    await staysDown(box, "a");
    expect(box.read("runs")).toBe("run\n");
  });

  test.concurrent("of one in a crash loop ends the loop", async () => {
    await using box = new Sandbox();
    box.script("a", "exit 1");
    await box.start();
    await until(() => box.state("a", "starts") === "2", "it crashes");
    expect(await box.svctl("once", "a")).toEqual(DONE);
    await until(() => box.pid("a") === undefined, "it has ended");
    await staysDown(box, "a");
  });

  test.concurrent(
    "of one that is being stopped runs it again when it is down",
    async () => {
      const { box, pid } = await running(SLOW);
      await using _ = box;
      await happened(box, "up a");
      await box.svctl("--no-wait", "stop", "a");
      await happened(box, "term a");
      expect(await box.svctl("once", "a")).toEqual(DONE);
      expect(box.pid("a")).not.toBe(pid);
      await happened(box, "up a", 2);
      expect(events(box)).toEqual(["up a", "term a", "gone a", "up a"]);
      expect(box.state("a", "lock")).toBe("once");
    },
  );

  test.concurrent("start makes it an ordinary service again", async () => {
    const { box, pid } = await running();
    await using _ = box;
    await box.svctl("once", "a");
    expect(await box.svctl("start", "a")).toEqual(DONE);
    process.kill(pid, "SIGKILL");
    await box.up("a", pid);
  });
});

describe("signal", () => {
  test.concurrent.each([
    ["HUP", "HUP"],
    ["SIGHUP", "HUP"],
    ["hup", "HUP"],
    ["1", "HUP"],
    ["USR1", "USR1"],
    ["sigusr2", "USR2"],
    ["12", "USR2"],
    ["WINCH", "WINCH"],
  ])("%s arrives as %s", async (word, name) => {
    const { box, pid } = await running(LISTENER);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("signal", word, "a")).toEqual(DONE);
    await until(
      () => box.read("signals") === `${name}\n`,
      "the signal has arrived",
    );
    expect(box.pid("a")).toBe(pid);
    expect(box.state("a", "lock")).toBeUndefined();
  });

  test.concurrent("reload is signal HUP", async () => {
    const { box } = await running(LISTENER);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("reload", "a")).toEqual(DONE);
    await until(
      () => box.read("signals") === "HUP\n",
      "the signal has arrived",
    );
  });

  test.concurrent("goes to the main process only", async () => {
    const child = `(trap "touch $DIR/child" HUP; touch $DIR/ready; while :; do sleep 0.02; done) &
until [ -e $DIR/ready ]; do sleep 0.02; done
trap "touch $DIR/main" HUP; touch $DIR/trapped
while :; do sleep 0.02; done`;
    const { box } = await running(child);
    await using _ = box;
    await until(() => box.read("trapped") !== undefined, "both listen");
    expect(await box.svctl("signal", "HUP", "a")).toEqual(DONE);
    await until(
      () => box.read("main") !== undefined,
      "the main process has got it",
    );
    await Bun.sleep(100);
    expect(box.read("child")).toBeUndefined();
  });

  test.concurrent("that ends it: it is started again", async () => {
    const { box, pid } = await running();
    await using _ = box;
    expect(await box.svctl("signal", "KILL", "a")).toEqual(DONE);
    await box.up("a", pid);
    expect(box.state("a", "exit")).toBe("SIGKILL");
  });

  test.concurrent.each(["signal HUP", "reload"])(
    "%s of one that is down: an error",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      await box.svctl("stop", "a");
      expect(await box.svctl(...operation.split(" "), "a")).toEqual(
        failure("svctl", "a: ", "not running"),
      );
    },
  );
});

describe("status", () => {
  test.concurrent.each(["status", "stat"])(
    "%s of one that is up",
    async (operation) => {
      const { box, pid } = await running();
      await using _ = box;
      const outcome = await box.svctl(operation, "a");
      expect(outcome).toEqual({
        code: 0,
        out: expect.stringMatching(/^a: UP \(pid \d+, \d+s\)\n$/),
        err: "",
      });
      expect(outcome.out).toContain(`pid ${pid},`);
    },
  );

  test.concurrent("counts the time from the start", async () => {
    const { box } = await running();
    await using _ = box;
    await Bun.sleep(1100);
    const { out } = await box.svctl("status", "a");
    expect(Number(/, (\d+)s\)/.exec(out)?.[1])).toBeGreaterThanOrEqual(1);
  });

  test.concurrent.each(["stop", "kill"])("after %s", async (operation) => {
    const { box } = await running();
    await using _ = box;
    await box.svctl(operation, "a");
    expect(await box.svctl("status", "a")).toEqual({
      code: 1,
      out: "a: DOWN (stopped)\n",
      err: "",
    });
  });

  test.concurrent.each([
    ["exit 1", "exited 1"],
    ["exit 255", "exited 255"],
    ["kill -SEGV $$", "SIGSEGV"],
  ])("in a crash loop: %s", async (body, how) => {
    await using box = new Sandbox();
    box.script("a", body);
    await box.start();
    const { code, out, err } = await until(async () => {
      const outcome = await box.svctl("status", "a");
      return outcome.out.includes("restarting") && outcome;
    }, "it is down between two starts");
    expect(out).toMatch(
      new RegExp(`^a: DOWN \\([^\\n]*${how}, restarting\\)\\n$`),
    );
    expect({ code, err }).toEqual({ code: 1, err: "" });
  });

  test.concurrent("of one that waits for others", async () => {
    await using box = new Sandbox();
    box.script("a", "sysmgr-depends b c; exec sleep 1000");
    box.script("b", FOREVER);
    box.script("c", FOREVER, 0o644);
    box.lock("b", "TERM");
    await box.start();
    await until(() => box.state("a", "waiting"), "a waits");
    expect(await box.svctl("status", "a")).toEqual({
      code: 1,
      out: "a: WAITING (for b, c)\n",
      err: "",
    });
  });

  test.concurrent(
    "without a service: all, and the exit code says that not all are up",
    async () => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      box.script("b", FOREVER);
      box.script("c", FOREVER, 0o644);
      box.script(".hidden", FOREVER);
      box.lock("b", "TERM");
      await box.start();
      await box.up("a");
      const { code, out, err } = await box.svctl("status");
      expect({ code, err }).toEqual({ code: 1, err: "" });
      expect(out).toMatch(
        /^a: UP \(pid \d+, \d+s\)\nb: DOWN \(stopped\)\nc: DOWN \(not executable\)\n$/,
      );
    },
  );

  test.concurrent("without a service, all up: exit 0", async () => {
    await using box = new Sandbox();
    for (const name of ["a", "b", "c"]) box.script(name, FOREVER);
    await box.start();
    for (const name of ["a", "b", "c"]) await box.up(name);
    const { code, out } = await box.svctl("status");
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n")).toHaveLength(3);
  });

  test.concurrent("of an empty SYSDIR: nothing, exit 0", async () => {
    await using box = new Sandbox();
    await box.start();
    expect(await box.svctl("status")).toEqual(DONE);
    expect(await box.svctl("--json", "status")).toEqual({
      ...DONE,
      out: "[]\n",
    });
  });

  test.concurrent("only the named ones count for the exit code", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    box.script("b", FOREVER, 0o644);
    await box.start();
    await box.up("a");
    expect((await box.svctl("status", "a")).code).toBe(0);
    expect((await box.svctl("status", "a", "b")).code).toBe(1);
  });

  test.concurrent(
    "an unknown one is an error on stderr, the others are shown",
    async () => {
      const { box } = await running();
      await using _ = box;
      const { code, out, err } = await box.svctl("status", "nosuch", "a");
      expect(code).toBe(1);
      expect(out).toMatch(/^a: UP \(pid \d+, \d+s\)\n$/);
      expect(err).toMatch(/^svctl: nosuch: [^\n]+\n$/);
    },
  );

  test.concurrent("changes nothing in the run directory", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER, 0o644);
    await box.start();
    await box.svctl("status");
    await box.svctl("status", "a", "nosuch");
    expect(box.leftovers()).not.toContain("nosuch");
    expect(box.state("a", "lock")).toBeUndefined();
  });

  test.concurrent("-q prints nothing and keeps the exit code", async () => {
    const { box } = await running();
    await using _ = box;
    expect(await box.svctl("-q", "status", "a")).toEqual(DONE);
    await box.svctl("stop", "a");
    expect(await box.svctl("status", "--quiet", "a")).toEqual({
      code: 1,
      out: "",
      err: "",
    });
  });
});

describe("--json", () => {
  async function json(box: Sandbox, ...words: string[]): Promise<unknown> {
    const { out, err } = await box.svctl(...words);
    expect(err).toBe("");
    return JSON.parse(out);
  }

  test.concurrent.each([
    [["--json", "status"]],
    [["status", "--json", "a"]],
    [["stat", "a", "--json"]],
  ])("%p of one that is up", async (words) => {
    const { box, pid } = await running();
    await using _ = box;
    expect(await json(box, ...words)).toEqual([
      {
        name: "a",
        state: "UP",
        pid,
        since: expect.any(String),
        locked: false,
        exit: null,
        starts: 1,
        waitingFor: [],
      },
    ]);
  });

  test.concurrent("since is the time of the start", async () => {
    const earliest = Date.now() - 100;
    const { box } = await running();
    await using _ = box;
    const { out } = await box.svctl("--json", "status");
    const since = Date.parse(/"since": "([^"]*)"/.exec(out)?.[1] ?? "");
    expect(since).toBeGreaterThan(earliest);
    expect(since).toBeLessThanOrEqual(Date.now());
  });

  test.concurrent("of several that are not up, each in its way", async () => {
    await using box = new Sandbox();
    box.script("crashed", "exit 3");
    box.script("killed", "kill -KILL $$");
    box.script("locked", FOREVER);
    box.script("never", FOREVER, 0o644);
    box.script("waits", "sysmgr-depends locked never; exec sleep 1000");
    box.lock("locked", "TERM");
    await box.start();
    await until(() => box.state("waits", "waiting"), "waits waits");
    await box.svctl("stop", "crashed", "killed");
    const down = { pid: null, since: null, waitingFor: [], state: "DOWN" };
    expect(await json(box, "--json", "status")).toEqual([
      {
        ...down,
        name: "crashed",
        locked: true,
        exit: 3,
        starts: expect.any(Number),
      },
      {
        ...down,
        name: "killed",
        locked: true,
        exit: "SIGKILL",
        starts: expect.any(Number),
      },
      { ...down, name: "locked", locked: true, exit: null, starts: 0 },
      { ...down, name: "never", locked: false, exit: null, starts: 0 },
      {
        name: "waits",
        state: "WAITING",
        pid: box.pid("waits"),
        since: expect.any(String),
        locked: false,
        exit: null,
        starts: 1,
        waitingFor: ["locked", "never"],
      },
    ]);
  });

  test.concurrent("has the exit code of status", async () => {
    const { box } = await running();
    await using _ = box;
    expect((await box.svctl("--json", "status")).code).toBe(0);
    await box.svctl("stop", "a");
    expect((await box.svctl("--json", "status")).code).toBe(1);
  });
});

describe("several services", () => {
  const THREE = ["a", "b", "c"];

  async function threeSlow(): Promise<Sandbox> {
    const box = new Sandbox();
    for (const name of THREE) box.script(name, SLOW);
    await box.start();
    for (const name of THREE) await happened(box, `up ${name}`);
    return box;
  }

  test.concurrent.each(["stop", "restart"])(
    "are worked on side by side: %s",
    async (operation) => {
      await using box = await threeSlow();
      expect(await box.svctl(operation, ...THREE)).toEqual(DONE);
      const seen = events(box).slice(THREE.length);
      const firstGone = seen.findIndex((event) => event.startsWith("gone"));
      expect(seen.slice(0, firstGone).sort()).toEqual([
        "term a",
        "term b",
        "term c",
      ]);
    },
  );

  test.concurrent(
    "one that fails does not keep the others from being done",
    async () => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      box.script("b", STUBBORN);
      box.script("c", FOREVER);
      await box.start();
      for (const name of THREE) await box.up(name);
      await ready(box);
      const { code, out, err } = await box.svctl(
        "-w",
        "0.6",
        "stop",
        "nosuch",
        "a",
        "b",
        "c",
      );
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err.trimEnd().split("\n").sort()).toEqual([
        "svctl: b: still running after 0.6 s",
        expect.stringMatching(/^svctl: nosuch: /),
      ]);
      expect(box.pid("a")).toBeUndefined();
      expect(box.pid("c")).toBeUndefined();
    },
  );

  test.concurrent("may be named twice", async () => {
    const { box } = await running();
    await using _ = box;
    expect(await box.svctl("restart", "a", "a", "sv/a")).toEqual(DONE);
    expect(box.state("a", "starts")).toBe("2");
    expect(
      (await box.svctl("status", "a", "a")).out.trimEnd().split("\n"),
    ).toHaveLength(1);
  });

  test.concurrent("may be given as paths", async () => {
    await using box = new Sandbox();
    for (const name of THREE) box.script(name, FOREVER);
    await box.start();
    for (const name of THREE) await box.up(name);
    expect(await box.run(["sh", "-c", 'svctl stop "$SYSDIR"/*'])).toEqual(DONE);
    for (const name of THREE) expect(box.pid(name)).toBeUndefined();
    expect(
      await box.svctl("start", "sv/a", "./sv/b/", "/no/such/place/c"),
    ).toEqual(DONE);
    const { out } = await box.svctl(
      "status",
      ...THREE.map((name) => join(box.sysdir, name)),
    );
    expect(out).toMatch(/^a: UP [^\n]*\nb: UP [^\n]*\nc: UP [^\n]*\n$/);
  });

  test.concurrent("fifty at once", async () => {
    await using box = new Sandbox();
    const names = Array.from({ length: 50 }, (_, index) => `s${index}`);
    for (const name of names) box.script(name, FOREVER);
    await box.start();
    for (const name of names) await box.up(name);
    expect(await box.svctl("restart", ...names)).toEqual(DONE);
    for (const name of names) expect(box.state(name, "starts")).toBe("2");
  });
});

describe("how long it waits", () => {
  test.concurrent.each(["0.3", "1"])(
    "-w %s: says that it still runs",
    async (seconds) => {
      const { box, pid } = await running(STUBBORN);
      await using _ = box;
      await ready(box);
      const { outcome, took } = await timed(
        box.svctl("-w", seconds, "stop", "a"),
      );
      expect(outcome).toEqual({
        code: 1,
        out: "",
        err: `svctl: a: still running after ${seconds} s\n`,
      });
      expect(took).toBeGreaterThanOrEqual(Number(seconds) * 1000);
      expect(took).toBeLessThan(AT_ONCE);
      expect(box.pid("a")).toBe(pid);
    },
  );

  test.concurrent("-w 0 says it at once", async () => {
    const { box } = await running(STUBBORN);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("-w", "0", "stop", "a")).toEqual(
      failure("svctl", "a: still running after 0 s"),
    );
  });

  test.concurrent("-w says that it does not run yet", async () => {
    const { box } = await running(STUBBORN);
    await using _ = box;
    await ready(box);
    await box.svctl("--no-wait", "stop", "a");
    await box.logged(/a: stopping/);
    await Bun.sleep(200);
    expect(await box.svctl("-w", "0.3", "start", "a")).toEqual(
      failure("svctl", "a: ", "0.3 s"),
    );
  });

  test.concurrent.each(["start", "stop"])(
    "-w with a sysmgr that hangs: %s",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      if (operation === "start") await box.svctl("stop", "a");
      box.daemon.kill("SIGSTOP");
      const outcome = await box.svctl("-w", "0.4", operation, "a");
      expect(outcome).toEqual(failure("svctl", "a: ", "0.4 s"));
    },
  );

  test.concurrent("--no-wait stop returns while it still runs", async () => {
    const { box } = await running(HELD);
    await using _ = box;
    await happened(box, "up a");
    expect(await box.svctl("--no-wait", "stop", "a")).toEqual(DONE);
    letGo(box);
    await happened(box, "gone a");
    await box.down("a");
    await staysDown(box, "a");
  });

  test.concurrent("--no-wait start starts it", async () => {
    const { box } = await running();
    await using _ = box;
    await box.svctl("stop", "a");
    expect(await box.svctl("start", "--no-wait", "a")).toEqual(DONE);
    await box.up("a");
  });

  test.concurrent("--no-wait restart restarts it", async () => {
    const { box, pid } = await running(HELD);
    await using _ = box;
    await happened(box, "up a");
    expect(await box.svctl("restart", "a", "--no-wait")).toEqual(DONE);
    letGo(box);
    await happened(box, "up a", 2);
    expect(await box.up("a")).not.toBe(pid);
    expect(events(box)).toEqual(["up a", "term a", "gone a", "up a"]);
    expect(box.state("a", "lock")).toBeUndefined();
  });

  test.concurrent.each(["restart", "once"])(
    "--no-wait %s of one that is down starts it",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      await box.svctl("stop", "a");
      expect(await box.svctl("--no-wait", operation, "a")).toEqual(DONE);
      await box.up("a");
    },
  );

  test.concurrent("--no-wait kill kills it", async () => {
    const { box, pid } = await running(STUBBORN);
    await using _ = box;
    await ready(box);
    expect(await box.svctl("--no-wait", "kill", "a")).toEqual(DONE);
    await until(() => !isRunning(pid), "it is dead");
    await staysDown(box, "a");
  });

  test.concurrent(
    "-q changes nothing about what is done and about errors",
    async () => {
      const { box } = await running();
      await using _ = box;
      expect(await box.svctl("-q", "stop", "a")).toEqual(DONE);
      expect(box.pid("a")).toBeUndefined();
      expect(await box.svctl("-q", "stop", "nosuch")).toEqual(
        failure("svctl", "nosuch"),
      );
    },
  );
});

describe("what stands in the way is one clear line at once, exit 1", () => {
  test.concurrent.each([...OPERATIONS, "status"])(
    "unknown service: %s",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      const { outcome, took } = await timed(
        box.svctl(...operation.split(" "), "nosuch"),
      );
      expect(outcome).toEqual(
        failure("svctl", "nosuch: ", "no such service", box.sysdir),
      );
      expect(took).toBeLessThan(AT_ONCE);
      expect(box.leftovers().sort()).toEqual(["a", "pid"]);
    },
  );

  test.concurrent.each(["..", ".", ".hidden", "pid"])(
    "a name that can be no service: %s",
    async (name) => {
      const { box } = await running();
      await using _ = box;
      box.script(".hidden", FOREVER);
      for (const operation of OPERATIONS)
        expect(await box.svctl(...operation.split(" "), name)).toEqual(
          failure("svctl", `${name}: `),
        );
      // That of sysmgr itself is in the way, but that is not what is wrong.
      expect((await box.svctl("stop", name)).err).not.toContain("EEXIST");
      expect((await box.svctl("status", name)).code).toBe(1);
      expect(box.leftovers().sort()).toEqual(["a", "pid"]);
      expect(readdirSync(box.directory).sort()).toEqual(["log", "run", "sv"]);
    },
  );

  test.concurrent.each(OPERATIONS)(
    "no run directory: %s",
    async (operation) => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      const { outcome, took } = await timed(
        box.svctl(...operation.split(" "), "a"),
      );
      expect(outcome).toEqual(failure("svctl", box.rundir));
      expect(took).toBeLessThan(AT_ONCE);
      expect(existsSync(box.rundir)).toBeFalse();
    },
  );

  test.concurrent.each(OPERATIONS)(
    "sysmgr has ended: %s",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      await box.stop();
      mkdirSync(box.rundir, { recursive: true });
      const { outcome, took } = await timed(
        box.svctl(...operation.split(" "), "a"),
      );
      expect(outcome).toEqual(failure("svctl", "sysmgr is not running"));
      expect(took).toBeLessThan(AT_ONCE);
      expect(box.leftovers()).toEqual([]);
    },
  );

  test.concurrent.each(OPERATIONS)(
    "sysmgr was killed: %s",
    async (operation) => {
      const { box, pid } = await running();
      await using _ = box;
      await box.crash();
      const { outcome, took } = await timed(
        box.svctl(...operation.split(" "), "a"),
      );
      expect(outcome).toEqual(failure("svctl", "sysmgr is not running"));
      expect(took).toBeLessThan(AT_ONCE);
      expect(box.state("a", "lock")).toBeUndefined();
      expect(isRunning(pid)).toBeTrue();
    },
  );

  test.concurrent.each([String(process.pid), "1", "4194304", "garbage", ""])(
    "sysmgr's pid file has the pid of another: '%s'",
    async (text) => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      mkdirSync(box.rundir);
      writeFileSync(join(box.rundir, "pid"), `${text}\n`);
      expect(await box.svctl("stop", "a")).toEqual(
        failure("svctl", "sysmgr is not running"),
      );
      expect(box.state("a", "lock")).toBeUndefined();
    },
  );
});

const AS_ROOT = process.getuid?.() === 0;
const needsRoot = AS_ROOT
  ? ""
  : " (skipped: only root can become another user)";
const asOthers = AS_ROOT ? test.concurrent : test.skip;

describe(`another user${needsRoot}`, () => {
  asOthers.each(OPERATIONS)("may not: %s", async (operation) => {
    const { box, pid } = await running();
    await using _ = box;
    // What is to start something has something to do only with one that is down.
    const starts = ["start", "up"].includes(operation);
    if (starts) await box.svctl("stop", "a");
    const lock = box.state("a", "lock");
    const { outcome, took } = await timed(
      box.runAsNobody([SVCTL, ...operation.split(" "), "a"]),
    );
    expect(outcome).toEqual(failure("svctl", "a: ", "permitted".slice(0, 5)));
    expect(outcome.err).toMatch(/permission denied|not permitted/);
    expect(took).toBeLessThan(AT_ONCE);
    expect(box.state("a", "lock")).toBe(lock);
    expect(box.pid("a")).toBe(starts ? undefined : pid);
  });

  asOthers("sees the same status", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    box.script("b", FOREVER, 0o644);
    await box.start();
    await box.up("a");
    const { code, out, err } = await box.runAsNobody([SVCTL, "status"]);
    expect({ code, err }).toEqual({ code: 1, err: "" });
    expect(out).toMatch(
      /^a: UP \(pid \d+, \d+s\)\nb: DOWN \(not executable\)\n$/,
    );
  });

  asOthers("sees the status without a running sysmgr", async () => {
    const { box, pid } = await running();
    await using _ = box;
    await box.crash();
    const { code, out, err } = await box.runAsNobody([SVCTL, "status"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`a: UP (pid ${pid}, `);
  });

  asOthers.each(["status", "stop"])(
    "is told which directory he may not read: %s",
    async (operation) => {
      const { box } = await running();
      await using _ = box;
      chmodSync(box.rundir, 0o700);
      const outcome = await box.runAsNobody([SVCTL, operation, "a"]);
      expect(outcome).toEqual(
        failure("svctl", box.rundir, "permission denied"),
      );
    },
  );

  asOthers("may look after a sysmgr of his own", async () => {
    await using box = new Sandbox();
    chmodSync(box.directory, 0o777);
    const own = join(box.directory, "own");
    const command = `cp -r sv own && chmod 700 own && sysmgr -s "${own}" -r "${own}.run" & pid=$!
until svctl -q -s "${own}" -r "${own}.run" status a 2> "${own}.err"; do sleep 0.05; done
svctl -s "${own}" -r "${own}.run" restart a && svctl -s "${own}" -r "${own}.run" status; kill $pid; wait $pid`;
    box.script("a", FOREVER);
    const user = [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
    ];
    // The sources may be where nobody else can reach them.
    copyFileSync(join(DIST, "sysmgr"), join(box.directory, "sysmgr"));
    symlinkSync("sysmgr", join(box.directory, "svctl"));
    const PATH = `${box.directory}:/usr/bin:/bin`;
    const outcome = await box.run([...user, "sh", "-c", command], { PATH });
    const { code, out } = outcome;
    expect(out).toMatch(/^a: UP \(pid \d+, \d+s\)\n$/);
    expect(code).toBe(0);
  });
});

describe("status without a running sysmgr", () => {
  test.concurrent("before any was started", async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    const { code, out, err } = await box.svctl("status");
    expect({ code, err }).toEqual({ code: 1, err: "" });
    expect(out).toMatch(/^a: DOWN \([^\n]+\)\n$/);
  });

  test.concurrent("after it has ended", async () => {
    const { box } = await running();
    await using _ = box;
    await box.stop();
    const { code, out, err } = await box.svctl("status", "a");
    expect({ code, err }).toEqual({ code: 1, err: "" });
    expect(out).toMatch(/^a: DOWN \([^\n]+\)\n$/);
  });

  test.concurrent(
    "after it was killed: what runs is up, what has ended is down",
    async () => {
      await using box = new Sandbox();
      box.script("a", FOREVER);
      box.script("b", FOREVER);
      await box.start();
      const pid = await box.up("a");
      const other = await box.up("b");
      await box.crash();
      process.kill(other, "SIGKILL");
      await until(() => !isRunning(other), "b has ended");
      const { code, out, err } = await box.svctl("status");
      expect({ code, err }).toEqual({ code: 1, err: "" });
      expect(out).toMatch(
        new RegExp(
          `^a: UP \\(pid ${pid}, \\d+s\\)\\nb: DOWN \\([^\\n]+\\)\\n$`,
        ),
      );
    },
  );

  test.concurrent(
    "a pid that is another process's now is not taken for the service",
    async () => {
      const { box } = await running();
      await using _ = box;
      await box.crash();
      writeFileSync(join(box.rundir, "a/pid"), `${process.pid}\n`);
      const { code, out } = await box.svctl("status", "a");
      expect(code).toBe(1);
      expect(out).toStartWith("a: DOWN");
    },
  );
});

describe("names of any kind", () => {
  const NAMES = [
    "with space",
    `it's "quoted"`,
    "new\nline",
    "-dash",
    "--json",
    "\u001b[31mred\u0007",
    "düne-✓",
    "back\\slash",
    "$(touch pwned)",
    "*",
    "%s%n",
    "x".repeat(200),
    "pid ",
    "a=b",
    "@instance:1",
  ];

  test.concurrent.each(NAMES)(
    "%p can be controlled, and is never printed raw",
    async (name) => {
      await using box = new Sandbox();
      box.script(name, FOREVER);
      await box.start();
      const pid = await box.up(name);
      const printed = [];
      for (const words of [
        ["restart"],
        ["stop"],
        ["start"],
        ["signal", "CONT"],
        ["once"],
        ["start"],
      ]) {
        const outcome = await box.svctl(...words, "--", name);
        expect(outcome).toEqual(DONE);
      }
      expect(box.pid(name)).not.toBe(pid);
      const status = await box.svctl("status", "--", name);
      expect(status.code).toBe(0);
      expect(status.out).toMatch(/^[^\n]+: UP \(pid \d+, \d+s\)\n$/);
      const { out } = await box.svctl("--json", "status");
      expect(JSON.parse(out)).toEqual([
        expect.objectContaining({ name, state: "UP" }),
      ]);
      printed.push(
        status.out,
        (await box.svctl("stop", "--", `${name}-not`)).err,
        box.log(),
      );
      for (const text of printed) expect(text).not.toMatch(CONTROL);
      for (const line of box.log().trimEnd().split("\n"))
        expect(line).toStartWith("sysmgr: ");
      expect(box.read("pwned")).toBeUndefined();
    },
  );

  test.concurrent(
    "a name's newline cannot forge a line of status",
    async () => {
      await using box = new Sandbox();
      box.script("a\nb: UP (pid 1, 1s)", FOREVER, 0o644);
      await box.start();
      const { out } = await box.svctl("status");
      expect(out.trimEnd().split("\n")).toHaveLength(1);
    },
  );
});

describe("several svctl at the same time", () => {
  async function expectOneHealthy(box: Sandbox): Promise<void> {
    expect(box.pid("a")).toBeNumber();
    expect(box.state("a", "lock")).toBeUndefined();
    expect((await box.svctl("status", "a")).code).toBe(0);
    expect(box.processes()).toEqual([box.pid("a") ?? 0]);
    expect(box.read("double")).toBeUndefined();
  }

  test.concurrent("all restarts are done, and none waits in vain", async () => {
    const { box } = await running(EXCLUSIVE);
    await using _ = box;
    for (let lap = 0; lap < 3; lap++) {
      const all = Array.from({ length: 5 }, () =>
        box.svctl("-w", "5", "restart", "a"),
      );
      expect(await Promise.all(all)).toEqual(all.map(() => DONE));
    }
    await expectOneHealthy(box);
  });

  test.concurrent("restart and start", async () => {
    const { box, pid } = await running(EXCLUSIVE);
    await using _ = box;
    for (let lap = 0; lap < 5; lap++) {
      const both = [
        box.svctl("-w", "5", "restart", "a"),
        box.svctl("-w", "5", "start", "a"),
      ];
      expect(await Promise.all(both)).toEqual([DONE, DONE]);
    }
    expect(box.pid("a")).not.toBe(pid);
    await expectOneHealthy(box);
  });

  test.concurrent("stops are all done", async () => {
    const { box } = await running(SLOW);
    await using _ = box;
    await happened(box, "up a");
    const all = ["stop", "down", "stop", "kill"].map((operation) =>
      box.svctl(operation, "a"),
    );
    expect(await Promise.all(all)).toEqual(all.map(() => DONE));
    expect(box.processes()).toEqual([]);
    await staysDown(box, "a");
  });

  test.concurrent(
    "whatever they do to each other, the last word counts",
    async () => {
      const { box } = await running(EXCLUSIVE);
      await using _ = box;
      const words = [
        "stop",
        "start",
        "restart",
        "kill",
        "once",
        "reload",
        "status",
        "restart",
      ];
      const quarrel = async (offset: number) => {
        for (let turn = 0; turn < words.length; turn++) {
          const operation = words[(turn * 3 + offset) % words.length] ?? "";
          const { err } = await box.svctl("-w", "1", operation, "a");
          if (err !== "") expect(err).toMatch(/^svctl: a: [^\n]+\n$/);
        }
      };
      await Promise.all([0, 1, 2, 5].map(quarrel));
      expect(await box.svctl("start", "a")).toEqual(DONE);
      await expectOneHealthy(box);
      expect(await box.svctl("stop", "a")).toEqual(DONE);
      expect(box.processes()).toEqual([]);
      expect(
        readdirSync(join(box.rundir, "a")).filter((name) =>
          name.startsWith("."),
        ),
      ).toEqual([]);
    },
  );

  test.concurrent(
    "one that is killed in the middle of a stop changes nothing for the others",
    async () => {
      const { box } = await running(SLOW);
      await using _ = box;
      await happened(box, "up a");
      const victim = box.begin([SVCTL, "stop", "a"]);
      await happened(box, "term a");
      victim.kill("SIGKILL");
      await victim.exited;
      expect(await box.svctl("start", "a")).toEqual(DONE);
      expect(box.pid("a")).toBeNumber();
      rmSync(join(box.rundir, "a", "lock"), { force: true });
    },
  );
});
