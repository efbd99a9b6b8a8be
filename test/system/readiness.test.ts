/** Waiting for the end of processes, by either way. */
import { expect, test } from "bun:test";
import { openProcess } from "../../src/system/processes.ts";
import {
  whenReadable,
  whenReadableAsSocket,
} from "../../src/system/readiness.ts";
import { until } from "../integration/sandbox.ts";
import { openDescriptors } from "../temporary.ts";

const WAYS = [whenReadable, whenReadableAsSocket].map(
  (wait) => [wait.name, wait] as const,
);
/** More than one queue of the kernel holds. */
const MANY = 40;

test.each(WAYS)(
  "%s tells of each end once, and keeps nothing open",
  async (_, wait) => {
    // What either way needs for itself is opened by the first use.
    await watch(wait, [sleeper()]);
    const before = openDescriptors();
    const children = Array.from({ length: MANY }, sleeper);
    await watch(wait, children);
    await until(() => openDescriptors() <= before, "all are closed");
  },
);

test.each(WAYS)("%s tells of an end that came before", async (_, wait) => {
  const child = Bun.spawn(["sleep", "1000"]);
  const descriptor = open(child.pid);
  child.kill("SIGKILL");
  await child.exited;
  let told = 0;
  wait(descriptor, () => (told += 1), fail);
  await until(() => told === 1, "it is told");
});

test("of many that wait, only what has ended is told", async () => {
  const children = [sleeper(), sleeper(), sleeper()];
  const told: number[] = [];
  for (const [index, { pid }] of children.entries())
    whenReadable(open(pid), () => told.push(index), fail);
  for (const index of [1, 0, 2]) {
    children[index]?.kill("SIGKILL");
    await until(() => told.includes(index), `${index} is told`);
  }
  expect(told).toEqual([1, 0, 2]);
});

async function watch(
  wait: typeof whenReadable,
  children: readonly Bun.Subprocess[],
): Promise<void> {
  const told: number[] = [];
  for (const { pid } of children) wait(open(pid), () => told.push(pid), fail);
  for (const child of children) child.kill("SIGKILL");
  await until(() => told.length >= children.length, "all are told");
  expect(told.toSorted()).toEqual(children.map(({ pid }) => pid).toSorted());
}

function sleeper(): Bun.Subprocess {
  return Bun.spawn(["sleep", "1000"]);
}

function open(pid: number): number {
  const descriptor = openProcess(pid);
  if (descriptor === undefined) throw new Error(`there is no process ${pid}`);
  return descriptor;
}

function fail(): void {
  throw new Error("it cannot be waited for");
}
