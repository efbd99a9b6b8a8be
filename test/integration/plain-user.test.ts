/** Somebody who is not root: with directories of his own everything works; without, the errors say how. */
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { DIST, DONE, type Outcome, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

const NOBODY = 65_534;
const IS_ROOT = process.geteuid?.() === 0;
/** Root turns into somebody else; everybody else is a plain user already. */
const AS_PLAIN_USER = IS_ROOT
  ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]
  : [];

/** A home of a plain user, who can reach nothing of whoever runs the tests. */
class Home extends Sandbox {
  readonly bin = join(this.directory, "bin");

  constructor() {
    super();
    mkdirSync(this.bin);
    copyFileSync(join(DIST, "sysmgr"), join(this.bin, "sysmgr"));
    for (const name of ["svctl", "sysmgr-depends"])
      symlinkSync("sysmgr", join(this.bin, name));
    chmodSync(this.directory, 0o755);
    if (!IS_ROOT) return;
    for (const path of [this.directory, this.sysdir])
      chownSync(path, NOBODY, NOBODY);
  }

  override get environment(): Record<string, string> {
    const { PATH, ...rest } = super.environment;
    return { ...rest, PATH: `${this.bin}:${PATH}` };
  }

  as(...command: readonly string[]): Promise<Outcome> {
    return this.run([...AS_PLAIN_USER, ...command]);
  }

  /** Without any setting. */
  bare(...command: readonly string[]): Promise<Outcome> {
    return this.as("env", "-u", "SYSDIR", "-u", "RUNDIR", ...command);
  }
}

/** Starts the copy that a plain user can reach instead of the one whose path follows. */
const LAUNCH = {
  through: [...AS_PLAIN_USER, "sh", "-c", 'shift; exec sysmgr "$@"', "sh"],
};

test("runs, controls and waits for services of his own", async () => {
  await using box = new Home();
  box.script("db", "exec sleep 1000");
  box.script("web", "sysmgr-depends db || exit 1\nexec sleep 1000");
  await box.start([], {}, LAUNCH);
  const db = await box.up("db");
  await box.up("web");
  if (IS_ROOT) expect(statSync(`/proc/${db}`).uid).toBe(NOBODY);

  expect(await box.as("svctl", "restart", "db")).toEqual(DONE);
  expect(await box.as("svctl", "stop", "web")).toEqual(DONE);
  const { code, out } = await box.as("svctl", "status");
  expect(code).toBe(1);
  expect(out).toMatch(/^db: UP \(pid \d+, .*\)\nweb: DOWN \(stopped\)\n$/);
  expect(await box.as("sh", "-c", "rm $RUNDIR/web/lock")).toEqual(DONE);
  await box.up("web");
  expect(await box.as("sysmgr-depends", "-t", "30", "web")).toEqual(DONE);

  expect(await box.stop()).toBe(0);
  expect(box.leftovers()).toEqual([]);
});

test("has his services run where no run directory can be made, and that is said once", async () => {
  await using box = new Home();
  const owned = join(box.directory, "of-root");
  mkdirSync(owned, { mode: 0o555 });
  box.script("a", "touch $DIR/ran; exec sleep 1000");
  const daemon = box.spawn(["-r", join(owned, "run")], {}, LAUNCH);
  await until(() => box.read("ran") !== undefined, "the service runs");
  await until(() => box.log().includes("a: started"), "that is said");
  daemon.kill("SIGTERM");
  expect(await daemon.exited).toBe(0);
  expect(box.logOf("a").at(-1)).toBe("sysmgr: a: stopped");
  const about = box
    .log()
    .split("\n")
    .filter((line) => line.includes(owned));
  expect(about).toEqual([
    `sysmgr: ${owned}/run: cannot be written: permission denied (EACCES); going on from memory`,
  ]);
});

test("is told how to name directories of his own where there are no others", async () => {
  await using box = new Home();
  const sysdir = "no such file or directory (ENOENT); another one is named by";
  if (existsSync("/var/sysmgr"))
    console.warn("not tested: /var/sysmgr is there on this machine");
  else
    for (const command of [["sysmgr"], ["svctl", "status"]])
      expect(await box.bare(...command)).toEqual({
        code: 1,
        out: "",
        err: `${command[0]}: /var/sysmgr: ${sysdir} -s or SYSDIR\n`,
      });
  if (existsSync("/run/sysmgr"))
    console.warn("not tested: /run/sysmgr is there on this machine");
  else {
    box.script("a", "exec sleep 1000");
    const command = ["svctl", "-s", box.sysdir, "stop", "a"];
    expect(await box.bare(...command)).toEqual({
      code: 1,
      out: "",
      err: "svctl: /run/sysmgr: no such file or directory (ENOENT); sysmgr is not running on it; another one is named by -r or RUNDIR\n",
    });
  }
  // One that somebody has chosen needs no advice.
  const chosen = await box.as("sysmgr", "-s", join(box.directory, "absent"));
  expect(chosen.err).toEndWith(": no such file or directory (ENOENT)\n");
  expect(readdirSync(box.directory)).not.toContain("run");
});
