/** Contract: "a pid that is not (or no longer) that service's is never signalled". */
import { expect, setDefaultTimeout } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readProcess } from "../../src/proc.ts";
import { until } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const ANY_USER = 65_534;
const AS_ANY_USER = [
  "setpriv",
  `--reuid=${ANY_USER}`,
  `--regid=${ANY_USER}`,
  "--clear-groups",
];

/** Processes that are not the service's, however much they look like it. */
const strangers: Record<string, (box: Stage) => Stranger> = {
  "a plain process": () => new Stranger(["sleep", "1000"], {}, false),
  "the leader of a session": () => new Stranger(["sleep", "1000"], {}, true),
  "another user's process with the service's environment": (box) =>
    new Stranger([...AS_ANY_USER, "sleep", "1000"], marks(box), true),
};

for (const [who, make] of Object.entries(strangers)) {
  faultTest(
    `a pid file that names ${who} never gets that one signalled`,
    async () => {
      await using box = await Stage.open();
      box.script("a", FOREVER);
      await box.start();
      await box.recorded("a");
      await using stranger = make(box);
      await stranger.ready();
      const name = () =>
        writeFileSync(join(box.rundir, "a", "pid"), `${stranger.pid}\n`);
      // With sysmgr held up, nobody sets the file right before svctl reads it.
      for (const operation of [
        ["signal", "KILL"],
        ["--no-wait", "restart"],
        ["-w", "0.2", "restart"],
        ["-w", "0.2", "stop"],
        ["-w", "0.2", "kill"],
      ]) {
        box.daemon.kill("SIGSTOP");
        name();
        await box.svctl(...operation, "a");
        box.daemon.kill("SIGCONT");
        expect([operation, stranger.lives()]).toEqual([operation, true]);
      }
      await box.svctl("start", "a");
      await box.recorded("a");
      expect(await box.stop()).toBe(0);
      expect(stranger.lives()).toBe(true);
    },
  );

  for (const lock of ["TERM", undefined])
    faultTest(
      `a crash, then a pid file that names ${who}${lock === undefined ? "" : " and a lock"}: it is left alone`,
      async () => {
        await using box = await Stage.open();
        box.script("a", FOREVER);
        await box.start();
        const a = await box.runs("a");
        await box.recorded("a");
        await box.crash();
        process.kill(a, "SIGKILL");
        await until(() => box.alive("a").length === 0, "it has ended");
        await using stranger = make(box);
        await stranger.ready();
        writeFileSync(join(box.rundir, "a", "pid"), `${stranger.pid}\n`);
        if (lock !== undefined) box.lock("a", lock);
        await box.start();
        if (lock === undefined) {
          await until(
            () => box.alive("a").some((pid) => pid !== stranger.pid),
            () => `it is started; the log:\n${box.log()}`,
          );
        }
        await until(() => box.pid("a") !== stranger.pid, "pid is set right");
        await box.severalSeconds();
        expect(stranger.lives()).toBe(true);
        expect(await box.stop()).toBe(0);
        expect(stranger.lives()).toBe(true);
      },
    );
}

/** Ways in which a pid file can come to name another service's process, its time of change included. */
const confusions: Record<string, (a: string, b: string) => void> = {
  exchanged: (a, b) => {
    renameSync(a, `${a}.old`);
    renameSync(b, a);
    renameSync(`${a}.old`, b);
  },
  "a copy of the other": (a, b) => {
    Bun.spawnSync(["cp", "-p", b, a]);
  },
};

for (const [how, confuse] of Object.entries(confusions)) {
  faultTest(
    `a crash, then a pid file that is ${how}: each keeps its own process`,
    async () => {
      await using box = await Stage.open();
      const pids = await twoServices(box);
      await box.crash();
      confuse(join(box.rundir, "a", "pid"), join(box.rundir, "b", "pid"));
      await box.start();
      await until(
        () => box.told(/: adopted/) === 2,
        () => `both are taken over; the log:\n${box.log()}`,
      );
      await box.recorded("a");
      await box.recorded("b");
      expect([box.pid("a"), box.pid("b")]).toEqual(pids);
    },
  );
}

faultTest(
  "svctl signals no process of another service, whatever a pid file says",
  async () => {
    await using box = await Stage.open();
    const [, b] = await twoServices(box);
    box.daemon.kill("SIGSTOP");
    const file = join(box.rundir, "a", "pid");
    Bun.spawnSync(["cp", "-p", join(box.rundir, "b", "pid"), file]);
    const { err } = await box.svctl("signal", "KILL", "a");
    expect(err).toBe("svctl: a: not running\n");
    await box.svctl("--no-wait", "restart", "a");
    expect(box.alive("b")).toEqual([b]);
    box.daemon.kill("SIGCONT");
  },
);

async function twoServices(box: Stage): Promise<[number, number]> {
  box.script("a", FOREVER);
  box.script("b", FOREVER);
  await box.start();
  await box.recorded("a");
  await box.recorded("b");
  return [await box.runs("a"), await box.runs("b")];
}

class Stranger implements AsyncDisposable {
  readonly #process: Bun.Subprocess;
  readonly #name: string;

  constructor(
    command: readonly string[],
    environment: Record<string, string>,
    detached: boolean,
  ) {
    this.#name = command.at(-2) ?? "";
    this.#process = Bun.spawn([...command], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, ...environment },
      detached,
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Waits until it has become what it is to be. */
  async ready(): Promise<void> {
    const file = Bun.file(`/proc/${this.pid}/comm`);
    await until(
      async () => (await file.text()).trim() === this.#name,
      "the stranger is what it is to be",
    );
  }

  lives(): boolean {
    return readProcess(this.pid)?.ended === false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

function marks(box: Stage): Record<string, string> {
  return { ...box.environment, SYSMGR_SERVICE: "a" };
}
