/**
 * The clock of the machine may be wrong, and be set while services run. Nobody sets it here: a file that
 * was dated an hour ahead is what a clock leaves that was put back by an hour.
 */
import {
  afterEach,
  expect,
  setDefaultTimeout,
  setSystemTime,
  test,
} from "bun:test";
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setModified } from "../../src/system/files.ts";
import {
  type Event,
  newService,
  type Service,
  step,
} from "../../src/supervisor/service.ts";
import { DONE, type Sandbox } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);
afterEach(() => {
  setSystemTime();
});

const HOUR = 3600;
const DAY = 24 * HOUR;
const SHIFTS = {
  "an hour back": HOUR,
  "an hour ahead": -HOUR,
  "a day back": DAY,
  "years ahead": -9000 * DAY,
};

const main = { pid: 100, startedAt: 0, trusted: true };
const life: readonly [Event, number][] = [
  [{ type: "entry", is: "usable" }, 0],
  [{ type: "started", main }, 1],
  [{ type: "ended", pid: 100, exit: 1, othersLeft: false }, 400],
  [{ type: "deadline" }, 1001],
  [{ type: "started", main: { ...main, startedAt: 1002 } }, 1002],
  [{ type: "lock", lock: { asks: "stop", signal: 15 }, removed: false }, 1500],
  [{ type: "ended", pid: 100, exit: "SIGTERM", othersLeft: true }, 1600],
  [{ type: "group", pid: 100, alive: true }, 1602],
  [{ type: "deadline" }, 11_500],
  [{ type: "group", pid: 100, alive: false }, 11_510],
  [{ type: "lock", lock: undefined, removed: true }, 12_000],
];

test("no decision about a service depends on the time of day", () => {
  const undisturbed = liveThrough(() => undefined);
  let tick = 0;
  const disturbed = liveThrough(() => {
    tick += 1;
    setSystemTime(new Date(tick % 2 === 0 ? 0 : 4_000_000_000_000));
  });
  expect(disturbed).toEqual(undisturbed);
  expect(JSON.stringify(undisturbed)).toContain('"signal":9');
});

for (const [shift, seconds] of Object.entries(SHIFTS))
  faultTest(
    `after a crash with the clock then set ${shift} it takes over what runs, and no more`,
    async () => {
      await using box = await Stage.open();
      for (const name of ["a", "b", "dies", "locked"])
        box.script(name, FOREVER);
      await box.start();
      for (const name of ["a", "b", "dies", "locked"]) await box.recorded(name);
      const a = await box.runs("a");
      const b = await box.runs("b");
      box.lock("locked", "TERM");
      await box.down("locked");
      const dies = await box.runs("dies");
      await box.crash();
      process.kill(dies, "SIGKILL");
      shiftAll(box, seconds);

      await box.start();
      await box.runs("dies", dies);
      await box.tells(/ a: adopted/);
      expect(await box.svctl("status", "a", "b", "dies")).toEqual({
        ...DONE,
        out: expect.stringMatching(
          new RegExp(`^a: UP \\(pid ${a}, .*\nb: UP .*\ndies: UP .*\n$`),
        ),
      });
      expect([box.alive("a"), box.alive("b")]).toEqual([[a], [b]]);
      expect(box.alive("locked")).toEqual([]);
      // What was taken over is kept alive, stopped and started as if nothing had been.
      await box.revives("a");
      await box.recorded("a");
      expect(await box.svctl("stop", "b")).toEqual(DONE);
      expect(await box.svctl("start", "b", "locked")).toEqual(DONE);
      expect(box.state("a", "exit")).toBe("unknown");
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

faultTest(
  "a script and a lock from the future are obeyed at once",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    box.script("old", FOREVER);
    setModified(join(box.sysdir, "a"), nanoseconds(Date.now() / 1000 + DAY));
    setModified(join(box.sysdir, "old"), 0n);
    await box.start();
    await box.runs("a");
    await box.runs("old");
    box.lock("a", "TERM");
    setModified(
      join(box.rundir, "a", "lock"),
      nanoseconds(Date.now() / 1000 + DAY),
    );
    await box.down("a");
    box.unlock("a");
    await box.recorded("a");
  },
);

/** Every state and every action of a service's life. */
function liveThrough(before: () => void) {
  let service: Service = newService(10_000);
  return life.map(([event, now]) => {
    before();
    const next = step(service, event, now);
    service = next.service;
    return next;
  });
}

/** Dates everything in RUNDIR as a clock would have that was wrong by so many seconds. */
function shiftAll(box: Sandbox, seconds: number): void {
  for (const entry of readdirSync(box.rundir, { recursive: true })) {
    const path = join(box.rundir, String(entry));
    const { mtimeNs } = lstatSync(path, { bigint: true });
    const shifted = mtimeNs + nanoseconds(seconds);
    setModified(path, shifted > 0n ? shifted : mtimeNs % 1_000_000_000n);
  }
}

function nanoseconds(seconds: number): bigint {
  return BigInt(Math.floor(seconds)) * 1_000_000_000n;
}
