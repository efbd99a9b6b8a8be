import { afterEach, expect, test } from "bun:test";
import { systemProcesses } from "../../src/supervisor/process.ts";
import { until } from "../integration/sandbox.ts";

const groups: number[] = [];
afterEach(() => {
  for (const group of groups.splice(0)) process.kill(-group, "SIGKILL");
});

/** A group whose leader has ended and has been waited for, with another process left in it. */
async function leaderless(): Promise<number> {
  const leader = Bun.spawn(["sh", "-c", "sleep 1000 & kill -9 $$"], {
    stdio: ["ignore", "ignore", "ignore"],
    detached: true,
  });
  groups.push(leader.pid);
  await leader.exited;
  return leader.pid;
}

test("a group is alive as long as anybody is left in it", async () => {
  const { groupAlive, now } = systemProcesses;
  const group = await leaderless();
  expect(groupAlive(group, undefined, undefined)).toBeTrue();
  expect(groupAlive(group, undefined, now())).toBeTrue();
  process.kill(-group, "SIGKILL");
  groups.pop();
  await until(() => !groupAlive(group, undefined, now()), "it is gone");
});

test("a look at all groups says nothing of one that is younger", async () => {
  const { groupAlive, now } = systemProcesses;
  const first = await leaderless();
  // Looks again and again until one is still fresh when the next group is there.
  for (let times = 0; times < 20; times++) {
    expect(groupAlive(first, undefined, now())).toBeTrue();
    const second = await leaderless();
    expect(groupAlive(second, undefined, now())).toBeTrue();
  }
});
