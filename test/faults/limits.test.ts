/** Contract: "What cannot be started … None of it ends sysmgr or delays another service." */
import { expect, setDefaultTimeout } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { DIST, until } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const NAMES = ["a", "b", "c", "d", "e", "f"];
/** They take the low descriptors, which a shell that is started under a limit needs. */
const FIRST = ["first1", "first2", "first3", "first4", "first5", "first6"];
/** Threads of sysmgr's own. */
const OWN_THREADS = 1;

faultTest(
  "at the limit of processes what runs is kept running, and the rest comes up once it may",
  async () => {
    await using box = await Stage.open();
    for (const name of NAMES) box.script(name, FOREVER);
    const user = box.handOver();
    const room = 3;
    const few = `--nproc=${OWN_THREADS + room}:200`;
    await box.start([], {}, { through: [...user, "prlimit", few] });
    await until(() => count(box) === room, "as many run as may");
    await box.tells(/cannot start: .*EAGAIN.* in 1 s/, 4);
    for (let times = 0; times < 3; times++) {
      const [victim] = box.processes();
      if (victim !== undefined) process.kill(victim, "SIGKILL");
      await until(
        () => count(box) === room && !box.processes().includes(victim ?? 0),
        "another one runs in its place",
      );
    }
    expect(readdirSync(`/proc/${box.daemon.pid}/task`).length).toBe(
      OWN_THREADS,
    );
    const pid = String(box.daemon.pid);
    await box.must(...user, "prlimit", "--nproc=200", "--pid", pid);
    for (const name of NAMES) await box.recorded(name);
    expect(box.told(/internal error/)).toBe(0);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest("where no process can be made at all, sysmgr lives on", async () => {
  await using box = await Stage.open();
  box.script("a", FOREVER);
  const user = box.handOver();
  await box.start(
    [],
    {},
    {
      through: [...user, "prlimit", "--nproc=1:200"],
    },
  );
  await box.tells(/ a: cannot start: .*EAGAIN/, 2);
  const pid = String(box.daemon.pid);
  await box.must(...user, "prlimit", "--nproc=200", "--pid", pid);
  await box.recorded("a");
  expect(await box.stop()).toBe(0);
});

faultTest(
  "at the limit of descriptors what runs is kept running, and the rest comes up once it may",
  async () => {
    await using box = await Stage.open();
    await startCrowded(box);
    for (const name of NAMES) box.script(name, FOREVER);
    await box.tells(/EMFILE/);
    await until(() => count(box) > FIRST.length, "some more run");
    await box.severalSeconds();
    const running = count(box);
    expect(running).toBeGreaterThan(FIRST.length);
    expect(running).toBeLessThan(FIRST.length + NAMES.length);
    for (let times = 0; times < 3; times++) {
      const [victim] = box.processes();
      if (victim !== undefined) process.kill(victim, "SIGKILL");
      await until(
        () => count(box) >= running && !box.processes().includes(victim ?? 0),
        "another one runs in its place",
      );
    }
    await limitDescriptors(box, 200);
    for (const name of NAMES) await box.recorded(name);
    expect(box.told(/internal error/)).toBe(0);
    expect(await stopWithin(box, 8000)).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "what was started with the last descriptor can be stopped like any other",
  async () => {
    await using box = await Stage.open();
    await startCrowded(box);
    for (const name of NAMES) box.script(name, FOREVER);
    await box.tells(/EMFILE/);
    await until(() => count(box) > FIRST.length, "some more run");
    expect(await stopWithin(box, 8000)).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "an end that comes while no descriptor is left is not missed",
  async () => {
    await using box = await Stage.open();
    box.script("a", "sleep 1000 &\nexec sleep 1001");
    await box.start();
    await until(() => box.processes().length === 2, "it has a helper");
    const [a] = box.alive("a");
    await limitDescriptors(box, 3);
    process.kill(a ?? 0, "SIGKILL");
    await box.severalSeconds();
    await limitDescriptors(box, 200);
    await box.runs("a", a);
    await until(() => box.processes().length === 2, "the helper was replaced");
    expect(box.told(/internal error/)).toBe(0);
    expect(await stopWithin(box, 8000)).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "an heir without the descriptors to take over all services neither loses nor doubles one",
  async () => {
    await using box = await Stage.open();
    for (const name of NAMES) box.script(name, FOREVER);
    await box.start();
    const before = await Promise.all(NAMES.map((name) => box.runs(name)));
    const few = `--nofile=${descriptors(box) - NAMES.length + 3}`;
    await box.crash();
    box.spawn([], {}, { through: ["prlimit", few] });
    for (const name of NAMES) await box.tells(new RegExp(` ${name}: adopted`));
    box.daemon.kill("SIGUSR1");
    await box.severalSeconds();
    expect(NAMES.map((name) => box.alive(name))).toEqual(
      before.map((pid) => [pid]),
    );
    expect(box.daemon.exitCode).toBeNull();
    await box.crash();
    await box.start();
    for (const name of NAMES) await box.recorded(name);
    expect(NAMES.map((name) => box.alive(name))).toEqual(
      before.map((pid) => [pid]),
    );
    expect(await stopWithin(box, 8000)).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "an heir that cannot look at all processes waits until it can, and then takes over",
  async () => {
    await using box = await Stage.open();
    const names = ["a", "b"];
    for (const name of names) box.script(name, FOREVER);
    await box.start();
    const before = await Promise.all(names.map((name) => box.runs(name)));
    for (const name of names) await box.recorded(name);
    await box.crash();
    const other = box.bystander();
    const unreadable = `/proc/${other.pid}/environ`;
    // Nothing can be read at the place where this begins to be read.
    await box.must("mount", "--bind", `/proc/${other.pid}/mem`, unreadable);
    box.spawn();
    for (const name of names)
      await box.tells(new RegExp(` ${name}: cannot be looked for`));
    await box.severalSeconds();
    expect(box.told(/cannot be looked for/)).toBe(2);
    expect(names.map((name) => box.alive(name))).toEqual(
      before.map((pid) => [pid]),
    );
    await box.unmount(unreadable);
    for (const name of names) await box.tells(new RegExp(` ${name}: adopted`));
    expect(names.map((name) => box.pid(name))).toEqual(before);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "with no room for files of any size it supervises from memory",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    box.spawn([], {}, { through: ["prlimit", "--fsize=0:unlimited"] });
    await box.revives("a");
    const pid = String(box.daemon.pid);
    await box.must("prlimit", "--fsize=unlimited", "--pid", pid);
    await box.recorded("a");
    expect(box.state("a", "starts")).toBe("2");
    // The log is a file as well.
    await box.tells(/log lines could not be written/);
    expect(await box.stop()).toBe(0);
  },
);

for (const [applet, operand] of [
  ["sysmgr"],
  ["svctl", "status"],
  ["sysmgr-depends", "a"],
] as const)
  faultTest(
    `with too little memory ${applet} says so in one line`,
    async () => {
      await using box = await Stage.open();
      box.script("a", FOREVER);
      const call = ["prlimit", "--as=2000000000", join(DIST, applet)];
      const operands = operand === undefined ? [] : [operand];
      const { code, out, err } = await box.run([...call, ...operands]);
      expect([code, out]).toEqual([1, ""]);
      expect(err).toMatch(
        new RegExp(`^${applet}: cannot begin: .*memory.*\n$`),
      );
    },
  );

faultTest(
  "a lock is obeyed in a directory that could not be looked into before",
  async () => {
    await using box = await Stage.open();
    const user = box.handOver();
    box.script("a", FOREVER);
    const state = join(box.rundir, "a");
    mkdirSync(state, { recursive: true });
    chownToOwnerOf(box.sysdir, box.rundir);
    chownToOwnerOf(box.sysdir, state);
    chmodSync(state, 0);
    await box.start([], {}, { through: user });
    await box.tells(/ a: cannot/);
    chmodSync(state, 0o755);
    await box.recorded("a");
    box.lock("a", "TERM");
    await box.down("a");
    expect(box.alive("a")).toEqual([]);
    expect(await box.stop()).toBe(0);
  },
);

const WATCHES = "/proc/sys/user/max_inotify_watches";

const watchLimits = {
  "no directory can be watched": ["max_inotify_instances", 0, 2],
  "not all directories can be watched": ["max_inotify_watches", 3, 1],
} as const;

for (const [where, [limit, value, lines]] of Object.entries(watchLimits))
  faultTest(
    `where ${where} it says so once and looks once a second`,
    async () => {
      await using box = await Stage.open();
      for (const name of NAMES) box.script(name, FOREVER);
      const set = `echo ${value} > /proc/sys/user/${limit} && exec "$@"`;
      await box.start(
        [],
        {},
        {
          through: [
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            set,
            "-",
          ],
        },
      );
      for (const name of NAMES) await box.recorded(name);
      box.script("late", FOREVER);
      await box.recorded("late");
      box.lock("a", "TERM");
      await until(() => box.alive("a").length === 0, "a lock is obeyed");
      box.unlock("a");
      await box.recorded("a");
      await box.revives("b");
      await box.severalSeconds();
      expect(box.told(/cannot be watched/)).toBe(lines);
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

faultTest(
  "what happens while it could not be watched is not missed when it can be again",
  async () => {
    await using box = await Stage.open();
    for (const name of NAMES) box.script(name, FOREVER);
    await box.start([], {}, { through: watching(3) });
    for (const name of NAMES) await box.recorded(name);
    await box.tells(/cannot be watched/);
    box.lock("a", "TERM");
    await until(() => box.alive("a").length === 0, "a lock is obeyed");
    await box.down("a");
    const { pid } = box.daemon;
    box.daemon.kill("SIGSTOP");
    box.unlock("a");
    const user = ["nsenter", `--user=/proc/${pid}/ns/user`];
    await box.must(...user, "sh", "-c", `echo 99 > ${WATCHES}`);
    for (const name of NAMES)
      for (const each of box.alive(name)) process.kill(each, "SIGKILL");
    box.daemon.kill("SIGCONT");
    await box.recorded("a");
    for (const name of NAMES) await box.recorded(name);
    expect(await box.stop()).toBe(0);
  },
);

for (const visible of ["noaccess", "invisible"])
  faultTest(
    `with other users' processes ${visible} in /proc it does its work`,
    async () => {
      await using box = await Stage.open();
      box.script("a", FOREVER);
      box.script("b", "sleep 1000 &\nexec sleep 1001");
      const user = box.handOver();
      const options = `hidepid=${visible}`;
      await box.must("mount", "-t", "proc", "-o", options, "proc", "/proc");
      await box.start([], {}, { through: user });
      const a = await box.runs("a");
      await box.revives("b");
      await box.crash();
      await box.start([], {}, { through: user });
      await box.recorded("a");
      await box.recorded("b");
      expect(await box.runs("a")).toBe(a);
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

/** Starts sysmgr with some services and leaves it the descriptors for three more. */
async function startCrowded(box: Stage): Promise<void> {
  for (const name of FIRST) box.script(name, FOREVER);
  await box.start();
  for (const name of FIRST) await box.recorded(name);
  // sysmgr keeps four free, so that locks can be read: there is room for two more.
  await limitDescriptors(box, descriptors(box) + 6);
}

function count(box: Stage): number {
  return box.processes().length;
}

/** One more than the highest descriptor that sysmgr has open. */
function descriptors(box: Stage): number {
  const open = readdirSync(`/proc/${box.daemon.pid}/fd`);
  return Math.max(...open.map(Number)) + 1;
}

async function limitDescriptors(box: Stage, limit: number): Promise<void> {
  const pid = String(box.daemon.pid);
  await box.must("prlimit", `--nofile=${limit}:`, "--pid", pid);
}

/** A shutdown that hangs is a failure, not a reason to wait for ever. */
async function stopWithin(
  box: Stage,
  milliseconds: number,
): Promise<number | string> {
  return await Promise.race([
    box.stop(),
    Bun.sleep(milliseconds).then(
      () => `still stopping; the log:\n${box.log()}`,
    ),
  ]);
}

/** Becomes what is said behind it, in a user namespace with so many inotify watches. */
function watching(watches: number): string[] {
  const set = `echo ${watches} > ${WATCHES} && exec "$@"`;
  return ["unshare", "--user", "--map-root-user", "sh", "-c", set, "-"];
}

function chownToOwnerOf(model: string, path: string): void {
  const { uid, gid } = statSync(model);
  chownSync(path, uid, gid);
}
