import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isAlive, stampedTime, stampOf, verify } from "../src/identity.ts";
import { type ProcessStatus, readProcess } from "../src/proc.ts";
import { withoutPrivileges } from "./temporary.ts";
import { Neglected } from "./zombie.ts";

const STARTED = 1_700_000_000_123;

function statusOf(pid: number): ProcessStatus {
  const status = readProcess(pid);
  if (status === undefined) throw new Error(`no process ${pid}`);
  return status;
}

describe("a pid in a file", () => {
  test("is the process that it was written for", () => {
    const written = stampedTime(statusOf(process.pid), STARTED);
    expect(verify(process.pid, written)).toBe("same");
  });

  test("is still that process when the clock was set meanwhile", () => {
    const written = stampedTime(statusOf(process.pid), Date.now() - 1e9);
    expect(verify(process.pid, written)).toBe("same");
  });

  test("is not a process that was started at another time", () => {
    const status = statusOf(process.pid);
    const earlier = { ...status, startTicks: status.startTicks - 1 };
    expect(verify(status.pid, stampedTime(earlier, STARTED))).toBe("other");
  });

  test("is not another process", () => {
    const written = stampedTime(statusOf(process.ppid), STARTED);
    expect(verify(process.pid, written)).toBe("other");
  });

  test("without a stamp is nobody's", () => {
    expect(verify(process.pid, 0n)).toBe("other");
  });

  test("is nobody's once the process has ended", async () => {
    const child = Bun.spawn(["sleep", "1000"]);
    const written = stampedTime(statusOf(child.pid), STARTED);
    expect(verify(child.pid, written)).toBe("same");
    child.kill("SIGKILL");
    await child.exited;
    expect(verify(child.pid, written)).toBe("other");
    expect(isAlive(child.pid)).toBe(false);
  });

  test("is nobody's once it has ended, although nobody waited for it", async () => {
    await using child = await Neglected.start();
    const written = stampedTime(statusOf(child.pid), STARTED);
    expect(verify(child.pid, written)).toBe("same");
    await child.die();
    expect(verify(child.pid, written)).toBe("other");
    expect(isAlive(child.pid)).toBe(true);
  });
});

describe("the time in a file", () => {
  const status: fc.Arbitrary<ProcessStatus> = fc.record({
    pid: fc.integer({ min: 2, max: 4_194_304 }),
    startTicks: fc.nat(),
    ended: fc.boolean(),
    parent: fc.nat(),
    group: fc.nat(),
    session: fc.nat(),
  });

  test("shows the start to the millisecond and hides the stamp below it", () => {
    fc.assert(
      fc.property(status, fc.nat({ max: 4e12 }), (any, startedAt) => {
        const time = stampedTime(any, startedAt + 0.7);
        expect(time / 1_000_000n).toBe(BigInt(startedAt));
        expect(time % 1_000_000n).toBe(stampOf(any));
      }),
    );
  });

  test("depends on nothing that changes while a process lives", () => {
    fc.assert(
      fc.property(status, status, (one, other) => {
        const { pid, startTicks } = one;
        expect(stampOf({ ...other, pid, startTicks })).toBe(stampOf(one));
      }),
    );
  });

  test("hardly ever is the same for two users of one pid", () => {
    const stamps = new Set<bigint>();
    const { pid, ...rest } = statusOf(process.pid);
    for (let startTicks = 0; startTicks < 1000; startTicks++)
      stamps.add(stampOf({ ...rest, pid, startTicks }));
    expect(stamps.size).toBeGreaterThan(980);
  });
});

test("a process of another user is alive, too", () => {
  expect(isAlive(process.pid)).toBe(true);
  expect(withoutPrivileges(() => isAlive(1))).toBe(true);
  expect(isAlive(4_194_304)).toBe(false);
});
