import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  bootIdentity,
  parseStatus,
  processOwner,
  procMounted,
  readArguments,
  readProcess,
  readProcesses,
  readServiceMark,
  type ServiceMark,
} from "../src/proc.ts";
import { TemporaryDirectory } from "./temporary.ts";
import { Neglected } from "./zombie.ts";

const REST = "1 2 3 0 -1 4194560 90 0 0 0 1 2 0 0 20 0 1 0 5678 2797568 230";

const BODY = "echo ready; read line";

/** A process that is executed to the end, and lives until it is told to end. */
async function running(
  command: readonly string[],
  env: Record<string, string> = {},
) {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    env: { ...env, PATH: "/usr/bin:/bin" },
    detached: true,
  });
  await child.stdout.getReader().read();
  const end = async () => {
    await child.stdin.end();
    await child.exited;
  };
  return { pid: child.pid, [Symbol.asyncDispose]: end, end };
}

describe("a status line", () => {
  const parsed = (pid: number, ended: boolean) => ({
    pid,
    ended,
    parent: 1,
    group: 2,
    session: 3,
    startTicks: 5678,
  });

  test.each<[string, boolean]>([
    ["R", false],
    ["S", false],
    ["D", false],
    ["T", false],
    ["I", false],
    ["Z", true],
    ["X", true],
  ])("in state %s, ended: %p", (state, ended) => {
    expect(parseStatus(`42 (web) ${state} ${REST}\n`)).toEqual(
      parsed(42, ended),
    );
  });

  test.each([
    "",
    " ",
    ")",
    "(",
    "a) Z 1 (b",
    ") Z 9 9 9 (",
    "a b",
    "((()))",
    "\n",
    "\u00ff\u0080",
  ])("is not misled by the name %j", (name) => {
    expect(parseStatus(`42 (${name}) S ${REST}`)).toEqual(parsed(42, false));
  });

  test("is not misled by any name", () => {
    const bytes = fc.uint8Array({ maxLength: 15 });
    fc.assert(
      fc.property(
        bytes,
        fc.integer({ min: 1, max: 4_194_304 }),
        (name, pid) => {
          const text = Buffer.from(name).toString("latin1");
          expect(parseStatus(`${pid} (${text}) S ${REST}`)).toEqual(
            parsed(pid, false),
          );
        },
      ),
    );
  });

  test("that is cut off anywhere says nothing rather than half of it", () => {
    const line = `42 (web) S ${REST}`;
    const needed = line.indexOf(" 2797568");
    for (let length = 0; length <= needed; length++)
      expect([length, parseStatus(line.slice(0, length))]).toEqual([
        length,
        undefined,
      ]);
  });

  test.each([
    "",
    "\n",
    "no parenthesis at all",
    `(web) S ${REST}`,
    `x (web) S ${REST}`,
    `42 (web) S ${REST.replace("5678", "never")}`,
    `42 (web) S ${REST.replace("5678", "")}`,
    `42 (web) S ${REST.replace("1 2 3", "1 x 3")}`,
  ])("is not %j", (text) => {
    expect(parseStatus(text)).toBeUndefined();
  });

  test("never crashes the parser", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        parseStatus(text);
        parseStatus(`1 (${text}`);
        parseStatus(`1 (a) ${text}`);
      }),
    );
  });
});

describe("a process", () => {
  test("of this moment is shown as it is", () => {
    expect(procMounted()).toBe(true);
    const status = readProcess(process.pid);
    expect(status).toMatchObject({
      pid: process.pid,
      parent: process.ppid,
      ended: false,
    });
    expect(readProcesses()).toContainEqual(
      expect.objectContaining({
        pid: process.pid,
        startTicks: status?.startTicks,
      }),
    );
    expect(processOwner(process.pid)).toBe(process.geteuid?.());
  });

  test("leads its group and its session when it was started so", async () => {
    const { pid, end } = await running(["sh", "-c", BODY]);
    expect(readProcess(pid)).toMatchObject({ pid, group: pid, session: pid });
    expect(readArguments(pid)).toEqual(["sh", "-c", BODY]);
    await end();
    expect(readProcess(pid)).toBeUndefined();
  });

  test("with a name made to mislead is not mistaken", async () => {
    using place = new TemporaryDirectory();
    const path = place.file(") Z 1 1 1 (", `#!/bin/sh\n${BODY}\n`, 0o755);
    await using child = await running([path]);
    const { pid } = child;
    expect(readProcess(pid)).toMatchObject({
      pid,
      ended: false,
      parent: process.pid,
      group: pid,
    });
    expect(readArguments(pid)).toEqual(["/bin/sh", path]);
  });

  test("that nobody has waited for has ended and shows nothing", async () => {
    await using child = await Neglected.start();
    await child.die();
    expect(readProcess(child.pid)).toMatchObject({ ended: true });
    expect(readArguments(child.pid)).toBeUndefined();
    expect(readServiceMark(child.pid)).toBeUndefined();
  });

  test("that does not exist has nothing to show", () => {
    const pid = 4_194_304;
    expect(readProcess(pid)).toBeUndefined();
    expect(processOwner(pid)).toBeUndefined();
    expect(readServiceMark(pid)).toBeUndefined();
    expect(readArguments(pid)).toBeUndefined();
  });

  test("is told from one before a reboot", () => {
    expect(bootIdentity()).toMatch(/^[0-9a-f-]{36}$/);
    expect(bootIdentity()).toBe(bootIdentity());
  });
});

describe("the mark of a service", () => {
  test.each<[Record<string, string>, ServiceMark | undefined]>([
    [
      { SYSMGR_SERVICE: "web", RUNDIR: "/run/sysmgr" },
      { service: "web", rundir: "/run/sysmgr" },
    ],
    [
      { SYSMGR_SERVICE: "a=b c\nRUNDIR=/evil", RUNDIR: "/run/a=b" },
      { service: "a=b c\nRUNDIR=/evil", rundir: "/run/a=b" },
    ],
    [{ SYSMGR_SERVICE: "web" }, undefined],
    [{ RUNDIR: "/run/sysmgr" }, undefined],
    [{ OTHER: "SYSMGR_SERVICE=web", XRUNDIR: "/run" }, undefined],
    [{ X: "\nSYSMGR_SERVICE=web", Y: "\nRUNDIR=/run" }, undefined],
    [
      { XSYSMGR_SERVICE: "evil", SYSMGR_SERVICE: "web", RUNDIR: "/run" },
      { service: "web", rundir: "/run" },
    ],
  ])("is read from the environment %j", async (environment, mark) => {
    await using child = await running(["sh", "-c", BODY], environment);
    expect(readServiceMark(child.pid)).toEqual(mark);
  });
});
