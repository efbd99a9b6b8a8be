/** What README.md says of runit and s6 beside sysmgr, on Debian's own: each claim of its table. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { readArguments, readProcess } from "../../src/proc.ts";
import { lacks } from "../init/packages.ts";
import { isRunning, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

interface Manager {
  readonly name: string;
  readonly problem: string | undefined;
  /** Of one service, as ps shows its first word. */
  readonly supervisor: string;
  scan(directory: string): string[];
  stop(service: string): string[];
  kill(service: string): string[];
}

const MANAGERS: readonly Manager[] = [
  {
    name: "runit",
    problem: lacks("runsvdir", "runsv", "sv"),
    supervisor: "runsv",
    scan: (directory) => ["runsvdir", directory],
    stop: (service) => ["sv", "-w", "1", "stop", service],
    kill: (service) => ["sv", "-w", "1", "force-stop", service],
  },
  {
    name: "s6",
    problem: lacks("s6-svscan", "s6-supervise", "s6-svc"),
    supervisor: "s6-supervise",
    scan: (directory) => ["s6-svscan", directory],
    stop: (service) => ["s6-svc", "-wD", "-T1000", "-d", service],
    kill: (service) => ["s6-svc", "-wD", "-T20000", "-dk", service],
  },
];

/** Leaves word of itself and of a child, which it does not look after. */
const PARENT = `echo $$ >>"$DIR/$1.pids"
sleep 1000 &
echo $! >"$DIR/$1.child"
exec sleep 1000`;
const STUBBORN = `trap '' TERM; echo $$ >>"$DIR/$1.pids"; while :; do sleep 0.1; done`;

class Scan extends Sandbox {
  constructor(readonly manager: Manager) {
    super();
  }

  /** Makes a service directory with a run that begins like this. */
  add(name: string, body: string): string {
    const service = join(this.sysdir, name);
    mkdirSync(service);
    const run = join(service, "run");
    writeFileSync(run, `#!/bin/sh\nset -- ${name}\n${body}\n`);
    chmodSync(run, 0o755);
    return service;
  }

  beginScan(): void {
    // With the mark by which the sandbox finds what it has to end.
    Bun.spawn(this.manager.scan(this.sysdir), {
      env: { ...this.environment, SYSMGR_SERVICE: this.manager.name },
      stdio: ["ignore", "ignore", "ignore"],
    });
  }

  pids(name: string): number[] {
    const lines = this.read(`${name}.pids`)?.trim().split("\n") ?? [];
    return lines.filter(Boolean).map(Number);
  }

  started(name: string, times = 1): Promise<number> {
    return until(
      () => this.pids(name)[times - 1],
      `${name} was started ${times} times`,
    );
  }

  supervisors(): number[] {
    return this.processes().filter(
      (pid) => readArguments(pid)?.[0] === this.manager.supervisor,
    );
  }
}

for (const manager of MANAGERS)
  describe.skipIf(manager.problem !== undefined)(
    manager.problem === undefined
      ? manager.name
      : `skipped: ${manager.name}: ${manager.problem}`,
    () => {
      test.concurrent(
        "has a supervisor for each service, which is told what to do by a FIFO",
        async () => {
          await using box = new Scan(manager);
          const services = [box.add("a", PARENT), box.add("b", PARENT)];
          box.beginScan();
          for (const name of ["a", "b"]) await box.started(name);
          expect(box.supervisors()).toHaveLength(2);
          for (const service of services) {
            const supervise = join(service, "supervise");
            expect(lstatSync(join(supervise, "control")).isFIFO()).toBeTrue();
            // Not a text.
            expect(readFileSync(join(supervise, "status"))).toContain(0);
          }
        },
      );

      test.concurrent("gives what a service says to its log/run", async () => {
        await using box = new Scan(manager);
        const log = join(box.add("a", "echo said; exec sleep 1000"), "log");
        mkdirSync(log);
        const run = '#!/bin/sh\nexec cat >"$DIR/a.log"\n';
        writeFileSync(join(log, "run"), run, { mode: 0o755 });
        box.beginScan();
        await until(() => box.read("a.log") === "said\n", "it is in the log");
      });

      test.concurrent("stops the main process only", async () => {
        await using box = new Scan(manager);
        const service = box.add("a", PARENT);
        box.beginScan();
        const pid = await box.started("a");
        const child = await until(() => box.read("a.child"), "it has a child");
        expect(await box.run(manager.stop(service))).toMatchObject({ code: 0 });
        expect(isRunning(pid)).toBeFalse();
        expect(isRunning(Number(child))).toBeTrue();
      });

      test.concurrent("does not kill by itself what ignores TERM", async () => {
        await using box = new Scan(manager);
        const service = box.add("a", STUBBORN);
        box.beginScan();
        const pid = await box.started("a");
        // The service may have begun before its supervisor has noted that it has; then that takes it for down.
        await until(
          async () => (await box.run(manager.stop(service))).code !== 0,
          "its end is waited for in vain",
        );
        expect(isRunning(pid)).toBeTrue();
        await box.run(manager.kill(service));
        await until(() => !isRunning(pid), "it was killed on request");
      });

      test.concurrent(
        "runs a service twice when its supervisor was killed",
        async () => {
          await using box = new Scan(manager);
          box.add("a", PARENT);
          box.beginScan();
          const first = await box.started("a");
          for (const pid of box.supervisors()) process.kill(pid, "SIGKILL");
          const second = await box.started("a", 2);
          expect([first, second].filter(isRunning)).toEqual([first, second]);
        },
      );
    },
  );

const [runit, s6] = MANAGERS;
const problem = runit?.problem ?? s6?.problem;
const title = problem === undefined ? "of a new" : `skipped: ${problem}: a new`;
describe.skipIf(problem !== undefined)(`${title} service`, () => {
  if (runit === undefined || s6 === undefined) return;

  test.concurrent("runit finds out by itself", async () => {
    await using box = new Scan(runit);
    box.add("a", PARENT);
    box.beginScan();
    await box.started("a");
    box.add("b", PARENT);
    await box.started("b");
  });

  test.concurrent("s6 has to be told", async () => {
    await using box = new Scan(s6);
    box.add("a", PARENT);
    box.beginScan();
    await box.started("a");
    box.add("b", PARENT);
    // It has things to do for seconds, but looks for nothing new.
    for (const times of [2, 3, 4]) {
      process.kill(await box.started("a", times - 1), "SIGKILL");
      await box.started("a", times);
    }
    expect(box.pids("b")).toEqual([]);
    await box.run(["s6-svscanctl", "-a", box.sysdir]);
    await box.started("b");
  });
});

describe("sysmgr", () => {
  test.concurrent(
    "stops the whole group, kills what ignores TERM, and needs no supervisor for each",
    async () => {
      await using box = new Sandbox();
      box.script("a", `set -- a\n${PARENT}`);
      box.script("b", `set -- b\n${STUBBORN}`);
      const daemon = await box.start(["-t", "1"]);
      const [a, b] = [await box.up("a"), await box.up("b")];
      await until(() => box.read("b.pids"), "it ignores TERM");
      const child = Number(
        await until(() => box.read("a.child"), "a has a child"),
      );
      // Nobody is between sysmgr and its services.
      for (const pid of [a, b])
        expect(readProcess(pid)?.parent).toBe(daemon.pid);
      expect((await box.svctl("stop", "a", "b")).code).toBe(0);
      expect([a, b, child].filter(isRunning)).toEqual([]);
    },
  );
});
