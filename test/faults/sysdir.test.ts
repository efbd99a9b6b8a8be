/** Contract: "SYSDIR itself vanishing while sysmgr runs stops nothing". */
import { expect, setDefaultTimeout } from "bun:test";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { until } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const GONE = /not there any more/;
const OTHER_USER = 65_534;
const AS_OTHER_USER = [
  "setpriv",
  `--reuid=${OTHER_USER}`,
  `--regid=${OTHER_USER}`,
  "--clear-groups",
];

faultTest("deleting SYSDIR with all that is in it stops nothing", async () => {
  await using box = await Stage.open();
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) box.script(name, FOREVER);
  await box.start();
  const before = await Promise.all(names.map((name) => box.runs(name)));
  rmSync(box.sysdir, { recursive: true });
  await box.tells(GONE);
  await box.severalSeconds();
  expect(names.map((name) => box.alive(name))).toEqual(
    before.map((pid) => [pid]),
  );
  expect(box.told(GONE)).toBe(1);
  mkdirSync(box.sysdir);
  for (const name of names) box.script(name, FOREVER);
  await box.tells(/there again/);
  await box.severalSeconds();
  expect(names.map((name) => box.alive(name))).toEqual(
    before.map((pid) => [pid]),
  );
  await box.revives("c");
  expect(await box.stop()).toBe(0);
  expect(box.processes()).toEqual([]);
});

faultTest(
  "a service that ends while SYSDIR is away is started when it is there again",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    await box.start();
    const a = await box.runs("a");
    const b = await box.runs("b");
    const away = join(box.directory, "away");
    renameSync(box.sysdir, away);
    await box.tells(GONE);
    process.kill(b, "SIGKILL");
    await box.tells(/ b: killed by SIGKILL/);
    await box.severalSeconds();
    expect([box.alive("a"), box.alive("b")]).toEqual([[a], []]);
    renameSync(away, box.sysdir);
    await box.runs("b", b);
    expect(await box.runs("a")).toBe(a);
    box.script("c", FOREVER);
    await box.runs("c");
  },
);

const replacements: Record<
  string,
  (box: Stage, other: string) => Promise<void>
> = {
  "moved away with another in its place": async (box, other) => {
    renameSync(box.sysdir, join(box.directory, "away"));
    renameSync(other, box.sysdir);
  },
  "a link that is pointed elsewhere": async (box, other) => {
    symlinkSync(other.slice(box.directory.length + 1), `${box.sysdir}.new`);
    await box.must("mv", "-T", `${box.sysdir}.new`, box.sysdir);
    // The kernel says nothing of what a link on the way leads to.
    box.daemon.kill("SIGUSR1");
  },
  "hidden by a mount": async (box, other) => {
    await box.must("mount", "--bind", other, box.sysdir);
    await box.revives("both");
  },
};

for (const [how, replace] of Object.entries(replacements))
  faultTest(
    `with SYSDIR ${how}, what is in both runs on and the rest follows the new one`,
    async () => {
      await using box = await Stage.open();
      for (const name of ["same", "both", "old"]) box.script(name, FOREVER);
      const other = join(box.directory, "other");
      cpSync(box.sysdir, other, { recursive: true });
      rmSync(join(other, "old"));
      cpSync(join(other, "same"), join(other, "new"));
      if (how.includes("link")) {
        renameSync(box.sysdir, join(box.directory, "first"));
        symlinkSync("first", box.sysdir);
      }
      await box.start();
      const same = await box.runs("same");
      await box.runs("both");
      await box.runs("old");
      await replace(box, other);
      await box.runs("new");
      await until(
        () => box.alive("old").length === 0,
        "what is not in the new SYSDIR is down",
      );
      await box.must("cp", join(box.sysdir, "same"), join(box.sysdir, "later"));
      await box.runs("later");
      expect(box.alive("same")).toEqual([same]);
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

faultTest(
  "a SYSDIR that becomes unreadable stops nothing and is reported once",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    handOver(box);
    await box.start([], {}, { through: AS_OTHER_USER });
    const a = await box.runs("a");
    const b = await box.runs("b");
    chmodSync(box.sysdir, 0);
    await box.severalSeconds();
    box.daemon.kill("SIGUSR1");
    process.kill(b, "SIGKILL");
    await box.tells(/ b: killed by SIGKILL/);
    box.daemon.kill("SIGUSR1");
    await box.severalSeconds();
    expect(box.alive("a")).toEqual([a]);
    expect(box.told(/internal error/)).toBe(0);
    // Once for the directory, once for watching it.
    expect(box.told(/sv: .*EACCES/)).toBeLessThanOrEqual(2);
    chmodSync(box.sysdir, 0o755);
    await box.runs("b", b);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "a SYSDIR that cannot be listed at the start is reported once and picked up later",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    handOver(box);
    chmodSync(box.sysdir, 0o311);
    await box.start([], {}, { through: AS_OTHER_USER });
    await box.severalSeconds();
    expect(box.alive("a")).toEqual([]);
    expect(box.told(/EACCES/)).toBeGreaterThan(0);
    expect(box.told(/sv: permission denied/)).toBeLessThanOrEqual(1);
    chmodSync(box.sysdir, 0o755);
    await box.runs("a");
  },
);

faultTest(
  "a name that is not UTF-8 is reported once, however often SYSDIR is looked at",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    await box.must("sh", "-c", `cp "$SYSDIR/a" "$SYSDIR/bad$(printf '\\377')"`);
    await box.start();
    await box.runs("a");
    rmSync(join(box.sysdir, "b"));
    await until(() => box.alive("b").length === 0, "b is down");
    for (let times = 0; times < 3; times++) {
      box.daemon.kill("SIGUSR1");
      await Bun.sleep(100);
    }
    expect(box.told(/UTF-8/)).toBe(1);
    expect(await box.stop()).toBe(0);
  },
);

/** Lets the other user run sysmgr in the sandbox. */
function handOver(box: Stage): void {
  for (const path of [box.directory, box.sysdir]) {
    chmodSync(path, 0o755);
    chownSync(path, OTHER_USER, OTHER_USER);
  }
}
