/** The short form of soak.ts, for every day. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { crowd, limitFor, restart } from "./soak.ts";

setDefaultTimeout(180_000);

const RESTARTS = 2000;
const SERVICES = 1000;
/** Kilobytes: what a collection of garbage that has not come yet may amount to. */
const GARBAGE = 4000;

test(`${RESTARTS} restarts leave neither memory, descriptors, threads nor zombies behind`, async () => {
  const { made, before, after, zombies, exitCode } = await restart(RESTARTS);
  expect(made).toBeGreaterThanOrEqual(RESTARTS);
  expect(after.memory).toBeLessThan(before.memory + GARBAGE);
  expect(after.threads).toBeLessThanOrEqual(before.threads);
  expect(Math.abs(after.descriptors - before.descriptors)).toBeLessThan(50);
  expect([zombies, exitCode]).toEqual([0, 0]);
});

const limit = limitFor(SERVICES);
const run = limit === undefined ? test : test.skip;
run(
  `${SERVICES} services at once${limit === undefined ? "" : ` (skipped: ${limit})`}`,
  async () => {
    const found = await crowd(SERVICES);
    expect(found).toMatchObject({
      shownUp: SERVICES,
      exitCode: 0,
      left: 0,
      complaints: [],
    });
    expect(found.size.memory / SERVICES).toBeLessThan(40);
    // To stop a service is less work than to start one, however many there are.
    expect(found.secondsUntilDown).toBeLessThan(found.secondsUntilUp);
  },
);
