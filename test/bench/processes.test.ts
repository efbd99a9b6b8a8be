import { expect, test } from "bun:test";
import { activityOf, field, memoryOf, spent } from "./processes.ts";

test("what was spent is the difference, and a new thread counts from its start", () => {
  const before = new Map([
    ["1", { switches: 10, cpu: 1000 }],
    ["2", { switches: 5, cpu: 50 }],
  ]);
  const after = new Map([
    ["1", { switches: 12, cpu: 1500 }],
    ["3", { switches: 1, cpu: 7 }],
  ]);
  expect(spent(before, after)).toEqual({ switches: 3, cpu: 507 });
});

test("a number is found by its whole name", () => {
  const text = "Pss:   12 kB\nPss_Anon:    3 kB\nPrivate:\t4\n";
  expect(field(text, "Pss")).toBe(12);
  expect(field(text, "Pss_Anon")).toBe(3);
  expect(field(text, "Private")).toBe(4);
  expect(field(text, "Rss")).toBe(0);
});

test("the memory and the activity of this process are something, those of none are not", () => {
  const pids = [String(process.pid)];
  const memory = memoryOf("/proc", pids);
  expect(memory.private).toBeGreaterThan(0);
  expect(memory.proportional).toBeGreaterThanOrEqual(memory.private);
  expect(memory.resident).toBeGreaterThanOrEqual(memory.proportional);
  const [main] = activityOf("/proc", pids).values();
  expect(main?.cpu).toBeGreaterThan(0);
  expect(memoryOf("/proc", []).resident).toBe(0);
  // No process can have this number.
  expect(activityOf("/proc", ["0"]).size).toBe(0);
});
