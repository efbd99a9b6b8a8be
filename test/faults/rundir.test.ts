/** Contract: "RUNDIR not writable, full, or gone: supervision goes on from memory, reported once". */
import { expect, setDefaultTimeout } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DIST, DONE } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const TROUBLE = /cannot be written/;
const RELIEF = /written again/;

faultTest(
  "a RUNDIR that is full from the start, and full again later, costs only the files",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    box.script("b", FOREVER);
    await box.mount(box.rundir);
    box.fill(box.rundir);
    box.spawn();
    await box.runs("a");
    const b = await box.runs("b");
    await box.revives("a");
    await box.severalSeconds();
    expect(box.lines(TROUBLE)).toEqual([expect.stringContaining("ENOSPC")]);
    expect(box.told(/set right/)).toBe(0);
    box.empty(box.rundir);
    await box.tells(RELIEF);
    await box.recorded("a");
    expect(box.state("a", "exit")).toBe("SIGKILL");
    expect(box.state("a", "starts")).toBe("2");
    expect(box.ownPid()).toBe(box.daemon.pid);

    box.fill(box.rundir);
    await box.revives("a");
    await box.tells(TROUBLE, 2);
    box.empty(box.rundir);
    await box.tells(RELIEF, 2);
    await box.recorded("a");
    expect(box.state("a", "starts")).toBe("3");
    expect(await box.runs("b")).toBe(b);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
    expect(box.leftovers()).toEqual([]);
  },
);

faultTest(
  "a RUNDIR that is read-only from the start, and again later, costs only the files",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    await box.mount(box.rundir);
    await box.remount(box.rundir, "ro");
    box.spawn();
    await box.revives("a");
    await box.severalSeconds();
    expect(box.lines(TROUBLE)).toEqual([expect.stringContaining("EROFS")]);
    await box.remount(box.rundir, "rw");
    await box.tells(RELIEF);
    await box.recorded("a");
    expect(box.state("a", "starts")).toBe("2");

    await box.remount(box.rundir, "ro");
    await box.revives("a");
    await box.tells(TROUBLE, 2);
    expect(box.told(/set right/)).toBe(0);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "what a service that died waited for is forgotten, also when that could not be written",
  async () => {
    await using box = await Stage.open();
    const wait = `[ -e "$DIR/over" ] || ${join(DIST, "sysmgr-depends")} b`;
    box.script("a", `${wait}\n${FOREVER}`);
    box.script("b", FOREVER);
    await box.mount(box.rundir);
    box.lock("b", "TERM");
    await box.start();
    await box.tells(/sysmgr-depends: a: waiting for b/);
    await box.remount(box.rundir, "ro");
    writeFileSync(join(box.directory, "over"), "");
    for (const pid of box.processes()) process.kill(pid, "SIGKILL");
    await box.tells(TROUBLE);
    await box.remount(box.rundir, "rw");
    await box.tells(RELIEF);
    await box.recorded("a");
    expect(await box.svctl("status", "a")).toEqual({
      ...DONE,
      out: expect.stringMatching(/^a: UP/),
    });
  },
);

for (const [how, options] of [
  ["read-only", "ro"],
  ["full", "rw"],
] as const)
  faultTest(
    `killed while RUNDIR was ${how} it takes over what it had started meanwhile`,
    async () => {
      await using box = await Stage.open();
      box.script("a", FOREVER);
      box.script("b", FOREVER);
      await box.mount(box.rundir);
      await box.start();
      await box.recorded("a");
      if (options === "ro") await box.remount(box.rundir, "ro");
      else box.fill(box.rundir);
      const a = await box.revives("a");
      const b = await box.runs("b");
      await box.tells(TROUBLE);
      await box.crash();
      if (options === "ro") await box.remount(box.rundir, "rw");
      else box.empty(box.rundir);
      await box.start();
      await box.tells(/ a: (adopted|started)/, 2);
      await box.severalSeconds();
      expect([box.alive("a"), box.alive("b")]).toEqual([[a], [b]]);
      await box.recorded("a");
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

for (const [how, options] of [
  ["a writable", "size=256k"],
  ["a read-only", "ro"],
  ["a full", "size=4k"],
] as const)
  faultTest(
    `${how} file system mounted over RUNDIR loses neither service nor lock`,
    async () => {
      await using box = await Stage.open();
      for (const name of ["a", "b", "locked"]) box.script(name, FOREVER);
      await box.start();
      const a = await box.runs("a");
      await box.runs("locked");
      box.lock("locked", "TERM");
      await box.down("locked");

      await box.mount(box.rundir, options);
      if (options === "size=4k") box.fill(box.rundir);
      // The kernel says nothing of a mount: it is noticed when something happens to a service.
      await box.revives("b");
      await box.severalSeconds();
      expect(box.alive("locked")).toEqual([]);
      expect(box.told(TROUBLE)).toBe(options === "size=256k" ? 0 : 1);
      if (options === "size=256k") {
        await box.recorded("a");
        await box.recorded("b");
        expect(box.state("locked", "lock")).toBe("TERM");
        expect((await box.svctl("status", "a", "b")).code).toBe(0);
      }

      await box.unmount(box.rundir);
      box.daemon.kill("SIGUSR1");
      await box.recorded("b");
      await box.severalSeconds();
      expect(box.alive("locked")).toEqual([]);
      expect(await box.runs("a")).toBe(a);
      expect(await box.svctl("start", "locked")).toEqual(DONE);
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
      expect(box.leftovers()).toEqual([]);
    },
  );

faultTest(
  "a lock given while RUNDIR could not be written stays in force once it can",
  async () => {
    await using box = await Stage.open();
    for (const name of ["b", "locked"]) box.script(name, FOREVER);
    await box.start();
    await box.runs("locked");
    box.lock("locked", "TERM");
    await box.down("locked");
    await box.mount(box.rundir);
    await box.remount(box.rundir, "ro");
    await box.revives("b");
    await box.tells(TROUBLE);
    await box.remount(box.rundir, "rw");
    await box.tells(RELIEF);
    await box.recorded("b");
    expect(box.state("locked", "lock")).toBe("TERM");
    expect(box.alive("locked")).toEqual([]);
    expect(await box.svctl("start", "locked")).toEqual(DONE);
  },
);

faultTest(
  "a link that RUNDIR is, pointed elsewhere, loses neither service nor lock",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b", "locked"]) box.script(name, FOREVER);
    for (const name of ["first", "second"])
      mkdirSync(join(box.directory, name));
    symlinkSync("first", box.rundir);
    await box.start();
    const a = await box.runs("a");
    await box.runs("locked");
    box.lock("locked", "TERM");
    await box.down("locked");
    symlinkSync("second", `${box.rundir}.new`);
    renameSync(`${box.rundir}.new`, box.rundir);
    await box.revives("b");
    await box.recorded("a");
    await box.recorded("b");
    expect(box.state("locked", "lock")).toBe("TERM");
    expect(await box.runs("a")).toBe(a);
    // The new place is watched, too.
    box.unlock("locked");
    await box.recorded("locked");
    expect(await box.stop()).toBe(0);
    expect(box.leftovers()).toEqual([]);
  },
);

faultTest(
  "a RUNDIR whose parent went away, and cannot be made, loses neither service nor lock",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b", "locked"]) box.script(name, FOREVER);
    const parent = join(box.directory, "parent");
    const rundir = join(parent, "of", "run");
    const environment = { RUNDIR: rundir };
    box.spawn([], environment);
    const a = await box.runs("a");
    await box.runs("locked");
    writeFileSync(join(rundir, "locked", "lock"), "TERM\n");
    await box.tells(/ locked: stopped/);
    renameSync(parent, `${parent}.away`);
    writeFileSync(parent, "in the way\n");
    await box.revives("b");
    await box.tells(/not there any more/);
    await box.severalSeconds();
    expect(box.alive("locked")).toEqual([]);
    expect(box.told(/not there any more/)).toBe(1);
    expect(box.told(TROUBLE)).toBe(1);
    rmSync(parent);
    await box.tells(RELIEF);
    await box.severalSeconds();
    expect(existsSync(join(rundir, "locked", "lock"))).toBe(true);
    expect(box.alive("locked")).toEqual([]);
    expect(await box.runs("a")).toBe(a);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest("a file in RUNDIR's place costs only the files", async () => {
  await using box = await Stage.open();
  box.script("a", FOREVER);
  writeFileSync(box.rundir, "in the way\n");
  box.spawn();
  await box.revives("a");
  await box.severalSeconds();
  expect(box.told(TROUBLE)).toBe(1);
  rmSync(box.rundir);
  await box.recorded("a");
  box.lock("a", "TERM");
  await box.down("a");
  expect(await box.stop()).toBe(0);
  expect(box.leftovers()).toEqual([]);
});

faultTest(
  "one service's directory in trouble does not hide that RUNDIR is",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    await box.mount(box.rundir);
    await box.start();
    await box.recorded("a");
    await box.recorded("b");
    // Nothing can be written into a directory on which a read-only one is mounted.
    await box.mount(`${box.rundir}/a`, "ro");
    await box.revives("a");
    await box.tells(TROUBLE);
    await box.revives("b");
    await box.recorded("b");
    expect(box.state("b", "exit")).toBe("SIGKILL");
    await box.unmount(`${box.rundir}/a`);
    await box.recorded("a");
    expect(box.state("a", "starts")).toBe("2");
    expect(await box.stop()).toBe(0);
  },
);

faultTest(
  "a RUNDIR that is a link to itself costs only the files",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    symlinkSync(box.rundir, box.rundir);
    box.spawn();
    const a = await box.runs("a");
    await box.revives("a");
    rmSync(box.rundir);
    await box.recorded("a");
    expect(await box.runs("a", a)).not.toBe(a);
    expect(await box.stop()).toBe(0);
  },
);

faultTest(
  "a RUNDIR that is SYSDIR, by whatever name, is refused before it harms a script",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    symlinkSync(box.sysdir, box.rundir);
    const { code, err } = await box.run([join(DIST, "sysmgr")]);
    expect([code, err]).toEqual([
      1,
      `sysmgr: ${box.sysdir}: is the run directory, too\n`,
    ]);
    expect(readdirSync(box.sysdir)).toEqual(["a"]);
  },
);

faultTest(
  "a RUNDIR that its owner closes to himself costs only the files, and locks go on to hold",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    box.script("stopped", FOREVER);
    await box.start([], {}, { through: box.handOver() });
    await box.runs("a");
    await box.runs("stopped");
    box.lock("stopped", "TERM");
    await box.down("stopped");
    chmodSync(box.rundir, 0);
    await box.tells(TROUBLE);
    await box.revives("a");
    await box.revives("a");
    await box.severalSeconds();
    expect(box.lines(TROUBLE)).toEqual([expect.stringContaining("EACCES")]);
    expect(box.told(/its lock cannot be read/)).toBe(0);
    expect(box.processes()).toHaveLength(1);
    chmodSync(box.rundir, 0o755);
    await box.tells(RELIEF);
    await box.recorded("a");
    expect(box.state("a", "starts")).toBe("3");
    box.unlock("stopped");
    await box.runs("stopped");
    expect(await box.stop()).toBe(0);
  },
);
