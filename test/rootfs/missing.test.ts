/** Whatever a root lacks is done without; what cannot be done is said once. */
import { expect, setDefaultTimeout } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DONE, failure, until } from "../integration/sandbox.ts";
import {
  type Boot,
  type Furniture,
  IDLE,
  procField,
  Root,
  rootTest,
} from "./root.ts";

setDefaultTimeout(180_000);

/** Takes from root what it needs to make a null device of its own. */
const NO_DEVICES = ["setpriv", "--bounding-set=-sys_admin,-mknod"];
const FOREVER = "exec sleep 1000";

rootTest(
  "without /proc services are started, restarted, stopped and signalled as ever",
  async () => {
    await using root = new Root({ proc: false });
    root.script("a", FOREVER);
    root.polite("polite");
    root.script(
      "waiting",
      `sysmgr-depends a polite && touch /run/depended; ${FOREVER}`,
    );
    root.script(
      "reloads",
      `trap 'touch /run/reloaded' HUP; touch /run/trapped; while :; do sleep 0.1; done`,
    );
    await root.boot();
    const daemon = await root.startSysmgr();
    const first = await root.up("a");
    await root.politeUp("polite");
    await until(
      () => root.read("/run/depended") !== undefined,
      "sysmgr-depends has ended",
    );
    expect(await root.svctl("status", "a")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^a: UP \(pid \d+, \d+s\)\n$/),
    });

    root.kill(first, "SIGKILL");
    const second = await root.up("a", first);
    expect(root.state("a", "exit")).toBe("SIGKILL");
    expect(await root.svctl("restart", "a")).toEqual(DONE);
    await root.up("a", second);
    expect(await root.svctl("stop", "a", "polite")).toEqual(DONE);
    expect(root.said()).toEqual(["polite"]);
    expect(await root.svctl("start", "polite")).toEqual(DONE);
    expect(await root.svctl("once", "a")).toEqual(DONE);
    expect(await root.svctl("kill", "a")).toEqual(DONE);
    await until(
      () => root.read("/run/trapped") !== undefined,
      "the trap is set",
    );
    expect(await root.svctl("signal", "HUP", "reloads")).toEqual(DONE);
    await until(
      () => root.read("/run/reloaded") !== undefined,
      "it has got HUP",
    );

    root.unlock("a");
    await root.up("a");
    root.lock("a", "TERM");
    await root.down("a");

    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    expect(root.leftovers()).toEqual([]);
    expect(root.inhabitants().map(({ inside }) => inside)).toHaveLength(2);
  },
);

rootTest(
  "without /proc a service that ignores TERM is killed, and what it leaves behind is stopped",
  async () => {
    await using root = new Root({ proc: false });
    root.script(
      "stubborn",
      `trap '' TERM; touch /run/trapped; while :; do sleep 0.1; done`,
    );
    root.script("leaves", "sleep 1000 & sleep 0.2; exit 3");
    await root.boot();
    const daemon = root.begin(["/bin/sysmgr", "-t", "1"]);
    await until(
      () => Number(root.state("leaves", "starts")) >= 3,
      "it was started again",
    );
    root.lock("leaves", "once");
    await root.down("leaves");
    expect(root.state("leaves", "exit")).toBe("3");
    await until(
      () => root.read("/run/trapped") !== undefined,
      "the trap is set",
    );
    expect(await root.svctl("stop", "stubborn")).toEqual(DONE);
    expect(root.state("stubborn", "exit")).toBe("SIGKILL");
    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    expect(root.inhabitants()).toHaveLength(2);
  },
);

rootTest(
  "without /proc what an earlier sysmgr left is not doubled and never signalled",
  async () => {
    await using root = new Root({ proc: false });
    root.script("a", FOREVER);
    root.script("b", FOREVER);
    await root.boot();
    const killed = await root.startSysmgr();
    const a = await root.up("a");
    const b = await root.up("b");
    root.signalSysmgr("SIGKILL");
    await root.end(killed);
    const daemon = await root.startSysmgr();
    await root.logged(/^sysmgr: a: .*cannot be verified/);
    await root.logged(/^sysmgr: b: .*cannot be verified/);
    expect([root.pid("a"), root.pid("b")]).toEqual([a, b]);
    expect(await root.svctl("-w", "1", "stop", "a")).toEqual(
      failure("svctl", "a", "running"),
    );
    expect(root.isRunning(a)).toBe(true);
    // Its end is seen all the same.
    root.kill(a, "SIGKILL");
    await root.down("a");
    expect(root.state("a", "exit")).toBe("unknown");
    expect(await root.svctl("start", "a")).toEqual(DONE);
    await root.up("a", a);

    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    expect(root.isRunning(b)).toBe(true);
    for (const name of ["a", "b"]) {
      const doubts = root
        .messages()
        .filter(
          (line) =>
            line.startsWith(`sysmgr: ${name}: `) &&
            line.includes("may be its process"),
        );
      expect(doubts).toHaveLength(1);
    }
  },
);

rootTest(
  "without /proc a pid that is somebody else's by now is left alone",
  async () => {
    await using root = new Root({ proc: false });
    root.script("a", FOREVER);
    root.script("b", FOREVER);
    await root.boot();
    const killed = await root.startSysmgr();
    const own = [await root.up("a"), await root.up("b")];
    root.signalSysmgr("SIGKILL");
    await root.end(killed);
    for (const pid of own) root.kill(pid, "SIGKILL");
    // One leads a session, as a service does; the other one cannot be a service.
    root.begin(["/bin/setsid", "/bin/sleep", "2001"]);
    root.begin(["/bin/sleep", "2002"]);
    const leader = await stranger(root, "2001");
    const other = await stranger(root, "2002");
    writeFileSync(root.path("/run/sysmgr/a/pid"), `${leader}\n`);
    writeFileSync(root.path("/run/sysmgr/b/pid"), `${other}\n`);
    const daemon = await root.startSysmgr();
    await root.up("b", other);
    expect(root.pid("a")).toBe(leader);
    expect(await root.svctl("stop", "b")).toEqual(DONE);
    expect(await root.svctl("-w", "1", "kill", "a")).toEqual(
      failure("svctl", "a", "running"),
    );
    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    expect([leader, other].map((pid) => root.isRunning(pid))).toEqual([
      true,
      true,
    ]);
  },
);

rootTest(
  "without /proc and /dev sysmgr sleeps and is silent when there is nothing to do",
  async () => {
    await using root = new Root({ proc: false, dev: "none" });
    for (let index = 0; index < 10; index++) root.service(`s${index}`, IDLE);
    await root.bootSysmgr();
    for (let index = 0; index < 10; index++) await root.up(`s${index}`);
    await Bun.sleep(1500);
    const before = { ...effort(root), log: root.log() };
    await Bun.sleep(4000);
    const after = { ...effort(root), log: root.log() };
    expect(after.log).toBe(before.log);
    expect(after.ticks - before.ticks).toBeLessThanOrEqual(1);
    expect(after.wakings - before.wakings).toBeLessThanOrEqual(2);
  },
);

const WITHOUT_NULL: readonly {
  readonly name: string;
  readonly furniture: Furniture;
  readonly boot?: Boot;
}[] = [
  { name: "without /dev", furniture: { dev: "none" } },
  { name: "without a null device in /dev", furniture: { dev: "empty" } },
  {
    name: "without /dev and with closed standard descriptors",
    furniture: { dev: "none" },
    boot: { closed: [0, 1, 2] },
  },
  {
    name: "without /dev and the right to make devices",
    furniture: { dev: "none" },
    boot: { through: NO_DEVICES },
  },
  {
    name: "without /dev, the right to make devices and open standard descriptors",
    furniture: { dev: "none", readOnly: true, tmpfs: "/run" },
    boot: { through: NO_DEVICES, closed: [0, 1, 2] },
  },
];

for (const { name, furniture, boot = {} } of WITHOUT_NULL) {
  rootTest(`${name}, a service's stdin reads empty`, async () => {
    await using root = new Root(furniture);
    const names = ["a", "b", "c"];
    for (const each of names)
      root.script(
        each,
        `wc -c > /run/read-${each}; echo hello; wc -c >> /run/read-${each}; ${FOREVER}`,
      );
    await root.bootSysmgr(boot);
    const haveRead = () =>
      until(
        () =>
          names.every((each) => root.read(`/run/read-${each}`) === "0\n0\n"),
        "all have read nothing twice",
      );
    await haveRead();
    const before = names.map((each) => root.pid(each));
    for (const { outside } of others(root)) process.kill(outside, "SIGKILL");
    for (const [index, each] of names.entries())
      await root.up(each, before[index]);
    await haveRead();
    if (furniture.dev === "none")
      expect(existsSync(root.path("/dev"))).toBe(false);
    else expect(readdirSync(root.path("/dev"))).toEqual([]);
    const complaints = root
      .messages()
      .filter((line) => /\/dev|null|stdin/.test(line));
    expect(complaints.length).toBeLessThanOrEqual(1);
    if (boot.closed === undefined) expect(root.log()).toContain("\nhello\n");
    process.kill(root.firstProcess, "SIGTERM");
    expect(await root.ended()).toBe(0);
  });
}

rootTest("a null device that cannot be opened is done without", async () => {
  await using root = new Root();
  root.script("a", `wc -c > /run/read; ${FOREVER}`);
  await root.boot();
  const nodev = ["/bin/mount", "-o", "remount,bind,nodev", "/dev/null"];
  expect(await root.run(nodev)).toEqual(DONE);
  const daemon = await root.startSysmgr();
  await until(() => root.read("/run/read") === "0\n", "a has read nothing");
  root.signalSysmgr("SIGTERM");
  expect(await root.end(daemon)).toBe(0);
});

rootTest("a file that is no device is not taken for one", async () => {
  await using root = new Root({ dev: "empty" });
  // This is what a shell leaves that was to redirect something to the null device.
  writeFileSync(root.path("/dev/null"), "not empty\n");
  root.script("a", `wc -c > /run/read; ${FOREVER}`);
  await root.bootSysmgr();
  const read = await until(() => root.read("/run/read"), "a has read");
  expect(read).toBe("0\n");
  expect(readFileSync(root.path("/dev/null"), "utf8")).toBe("not empty\n");
});

rootTest(
  "in a read-only root with a run directory in memory nothing is amiss",
  async () => {
    await using root = new Root({ readOnly: true, tmpfs: "/run" });
    root.script("a", FOREVER);
    await root.boot();
    const daemon = await root.startSysmgr();
    const first = await root.up("a");
    expect(await root.svctl("restart", "a")).toEqual(DONE);
    await root.up("a", first);
    expect(await root.svctl("stop", "a")).toEqual(DONE);
    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    expect(root.leftovers()).toEqual([]);
    expect(root.log()).not.toMatch(/cannot|EROFS/);
  },
);

rootTest(
  "a run directory that becomes read-only stops nothing, and is written again once it can be",
  async () => {
    await using root = new Root({ readOnly: true, tmpfs: "/run" });
    root.script("a", FOREVER);
    await root.bootSysmgr();
    const first = await root.up("a");
    await remount(root, "ro");
    for (let round = 1; round <= 2; round++) {
      const services = others(root);
      for (const { outside } of services) process.kill(outside, "SIGKILL");
      await until(
        () =>
          others(root).some(
            ({ inside }) => !services.some((old) => old.inside === inside),
          ),
        "a was started again",
      );
    }
    expect(root.pid("a")).toBe(first);
    await remount(root, "rw");
    const pid = await root.up("a", first);
    expect(others(root).map(({ inside }) => inside)).toEqual([pid]);
    await root.logged(/written again/);
    expect(
      root.messages().filter((line) => line.includes("EROFS")),
    ).toHaveLength(1);
    expect(root.state("a", "starts")).toBe("3");
    process.kill(root.firstProcess, "SIGTERM");
    expect(await root.ended()).toBe(0);
  },
);

rootTest(
  "without any place for a run directory services are supervised, and that is said once",
  async () => {
    await using root = new Root({ readOnly: true });
    root.script("a", FOREVER);
    await root.boot(["/bin/sysmgr"]);
    for (let round = 1; round <= 3; round++) {
      const services = await until(() => {
        const found = others(root);
        return found.length === 1 && found;
      }, "a runs");
      for (const { outside } of services) process.kill(outside, "SIGKILL");
      await until(
        () =>
          !others(root).some(({ inside }) =>
            services.some((old) => old.inside === inside),
          ),
        "it is gone",
      );
    }
    expect(
      root.messages().filter((line) => line.includes("/run/sysmgr")),
    ).toHaveLength(1);
    process.kill(root.firstProcess, "SIGTERM");
    expect(await root.ended()).toBe(0);
  },
);

rootTest(
  "without /tmp, a shell and any environment, programs run and a plain script's failure is explained",
  async () => {
    await using root = new Root({ commands: ["tail"] });
    root.service("program", IDLE);
    root.service("plain", "echo this needs a shell\n");
    root.service("interpreted", "#!/bin/python\n");
    await root.bootSysmgr(
      { through: ["env", "-i"] },
      "-s",
      "/sv",
      "-r",
      "/run/sysmgr",
    );
    const pid = await root.up("program");
    const environment = readFileSync(
      `/proc/${root.outside(pid)}/environ`,
      "latin1",
    );
    expect(environment.split("\0").sort()).toEqual([
      "",
      "RUNDIR=/run/sysmgr",
      "SYSDIR=/sv",
      "SYSMGR_SERVICE=program",
    ]);
    await root.logged(/^sysmgr: plain: cannot start: .*\/bin\/sh.*ENOENT/);
    await root.logged(
      /^sysmgr: interpreted: cannot start: .*interpreter.*ENOENT/,
    );
    expect(await root.svctl("-w", "1", "start", "plain")).toEqual(
      failure("svctl", "plain"),
    );
  },
);

/** The pid of the sleep that was started with this argument, as it sees itself. */
async function stranger(root: Root, argument: string): Promise<number> {
  const found = await until(
    () =>
      root
        .inhabitants()
        .find(
          ({ outside }) =>
            readFileSync(`/proc/${outside}/cmdline`, "latin1").includes(
              `\0${argument}\0`,
            ) && readFileSync(`/proc/${outside}/comm`, "latin1") === "sleep\n",
        ),
    "the stranger runs",
  );
  return found.inside;
}

async function remount(root: Root, mode: "ro" | "rw"): Promise<void> {
  expect(
    await root.run(["/bin/mount", "-o", `remount,bind,${mode}`, "/run"]),
  ).toEqual(DONE);
}

/** All living processes but process 1. */
function others(root: Root) {
  return root
    .inhabitants()
    .filter(({ inside, status }) => inside !== 1 && !status.ended);
}

/** What sysmgr as process 1 has done so far: processor time, and how often one of its threads has woken up. */
function effort(root: Root): { ticks: number; wakings: number } {
  const pid = root.firstProcess;
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const threads = readdirSync(`/proc/${pid}/task`);
  const wakings = threads.map((thread) =>
    Number(
      procField(pid, join("task", thread, "status"), "voluntary_ctxt_switches"),
    ),
  );
  return {
    ticks: Number(fields[11]) + Number(fields[12]),
    wakings: wakings.reduce((sum, each) => sum + each, 0),
  };
}
