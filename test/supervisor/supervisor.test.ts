/** All services together, on real directories and without processes. */
import { expect, test } from "bun:test";
import {
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { Adoption } from "../../src/supervisor/adopt.ts";
import type { Processes } from "../../src/supervisor/process.ts";
import { Records } from "../../src/supervisor/records.ts";
import { Supervisor } from "../../src/supervisor/supervisor.ts";
import { until } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";

/** A script is not started before it has been left alone for so many milliseconds. */
const SETTLED = 100;
const PID = 4_000_000;

test("a run directory that goes away between two looks does not count as a removed lock", async () => {
  using stage = new Stage();
  await stage.locked("a");
  stage.begin();
  // The first look comes just before the run directory is exchanged, the second one just after it.
  const looks = [stage.exchange, () => stage.supervisor.rundirReplaced()];
  stage.occasion = () => looks.shift()?.();
  stage.supervisor.rescanLocks();
  expect(stage.started).toBeEmpty();
  expect(looks).toBeEmpty();
  expect(readFileSync(stage.lock("a"), "utf8")).toBe("TERM\n");
});

test("a lock that is moved away is answered at once, one that is removed when things are quiet", async () => {
  using stage = new Stage();
  await stage.locked("a");
  stage.begin();
  unlinkSync(stage.lock("a"));
  stage.supervisor.lockChanged("a", false);
  expect(stage.started).toBeEmpty();
  stage.supervisor.lockChanged("a", true);
  expect(stage.started).toEqual(["a"]);
});

test("a removed lock is one", async () => {
  using stage = new Stage();
  await stage.locked("a");
  stage.begin();
  unlinkSync(stage.lock("a"));
  stage.supervisor.rescanLocks();
  expect(stage.started).toEqual(["a"]);
});

class Stage implements Disposable {
  readonly started: string[] = [];
  readonly supervisor: Supervisor;
  occasion: () => void = () => undefined;
  readonly #directory = new TemporaryDirectory();
  readonly #sysdir = this.#directory.directory("sv");
  readonly #rundir = this.#directory.directory("run");
  readonly #records: Records;

  constructor() {
    const log = { info: () => undefined, warn: () => undefined };
    const processes: Processes = {
      now: () => performance.now(),
      start: ({ path }) => {
        this.started.push(path.slice(this.#sysdir.length + 1));
        return PID;
      },
      watch: () => undefined,
      signalGroup: () => undefined,
      groupAlive: () => false,
      maySignal: () => false,
      status: () => undefined,
    };
    this.#records = new Records(this.#rundir, log);
    this.supervisor = new Supervisor(
      { sysdir: this.#sysdir, rundir: this.#rundir, stopTimeout: 1000 },
      processes,
      this.#records,
      log,
      {},
      {
        allDown: () => undefined,
        worked: () => undefined,
        occasion: () => this.occasion(),
        catchUp: () => true,
      },
    );
  }

  /** Another, empty run directory is in the place of the one that was there. */
  readonly exchange = (): void => {
    renameSync(this.#rundir, `${this.#rundir}.old`);
    mkdirSync(this.#rundir);
  };

  lock(name: string): string {
    return `${this.#rundir}/${name}/lock`;
  }

  /** A service that is stopped, and whose script may be started. */
  async locked(name: string): Promise<void> {
    const script = this.#directory.file(`sv/${name}`, "#!/bin/sh\n", 0o755);
    this.#directory.directory(`run/${name}`);
    this.#directory.file(`run/${name}/lock`, "TERM\n");
    await until(
      () => Date.now() - statSync(script).ctimeMs > SETTLED,
      "the script is old enough",
    );
  }

  begin(): void {
    const adoption = new Adoption(this.#sysdir, this.#rundir);
    this.supervisor.begin(["a"], adoption);
  }

  [Symbol.dispose](): void {
    this.#records.close();
    this.#directory[Symbol.dispose]();
  }
}
