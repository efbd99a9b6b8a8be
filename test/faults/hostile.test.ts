/** Contract: "Nothing in RUNDIR is trusted blindly", and no name is printed raw. */
import { expect, setDefaultTimeout } from "bun:test";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { DIST, DONE, until } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const ANY_USER = 65_534;
const AS_ANY_USER = [
  "setpriv",
  `--reuid=${ANY_USER}`,
  `--regid=${ANY_USER}`,
  "--clear-groups",
];
const STATE = ["pid", "lock", "exit", "starts", "waiting"];
/** What a terminal would obey, or would show in another order than it is. */
const DANGEROUS = /(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/u;

/** Any line may be the name of a service, so these are no garbage where names are expected. */
const NAMES = /^(a number that is none|two lines),/;

/** What can be in the place of a file; `victim` is a file that must stay as it is. */
const traps: Record<string, (path: string, victim: string) => void> = {
  "a gigabyte": (path) => {
    writeFileSync(path, "");
    truncateSync(path, 1 << 30);
  },
  bytes: (path) => writeFileSync(path, Buffer.from([0, 255, 10, 27, 91])),
  "a number that is none": (path) => writeFileSync(path, "1e3\n"),
  "two lines": (path) => writeFileSync(path, "1\n2\n"),
  "a pipe": (path) => {
    Bun.spawnSync(["mkfifo", path]);
  },
  "a link to a file": (path, victim) => symlinkSync(victim, path),
  "a link to itself": (path) => symlinkSync(path, path),
  "an empty directory": (path) => mkdirSync(path),
  "a link to a device": (path) => symlinkSync("/dev/zero", path),
};

faultTest(
  "whatever is put in the place of any file of RUNDIR is set right and harms nobody",
  async () => {
    await using box = await Stage.open();
    const victim = join(box.directory, "victim");
    writeFileSync(victim, "untouched\n", { mode: 0o600 });
    const before = identity(victim);
    const cases = Object.entries(traps)
      .flatMap(([what, set]) =>
        STATE.map((file) => ({ service: `${what}, ${file}`, file, set })),
      )
      .filter(
        ({ service, file }) => file !== "waiting" || !NAMES.test(service),
      );
    const setAll = async () => {
      for (const { service, file, set } of cases) {
        const path = join(box.rundir, service, file);
        await until(
          () => put(path, () => set(path, victim)),
          `${path} is there before sysmgr has made it again`,
        );
      }
    };
    for (const { service } of cases) box.script(service, FOREVER);
    await box.start();
    for (const { service } of cases) await box.recorded(service);
    const running = cases.map(({ service }) => box.alive(service));

    await setAll();
    for (const { service, file } of cases)
      await until(
        () => isRight(box, service, file),
        () => `${service} is set right; the log:\n${box.log()}`,
      );
    for (const set of Object.values(traps)) {
      const path = join(box.rundir, "pid");
      await until(
        () => put(path, () => set(path, victim)),
        "it is there before sysmgr has written its pid again",
      );
      await until(
        () => box.ownPid() === box.daemon.pid,
        () => `sysmgr's own pid is set right; the log:\n${box.log()}`,
      );
    }
    await box.severalSeconds();
    for (const { service, file } of cases)
      expect(
        box.told(new RegExp(`/${service}/${file}|^sysmgr: ${service}: its`)),
      ).toBe(1);

    // The same again, for one that finds it when it begins.
    await box.crash();
    await setAll();
    await box.start();
    for (const { service, file } of cases)
      await until(
        () => isRight(box, service, file),
        () => `${service} is set right; the log:\n${box.log()}`,
      );
    await box.severalSeconds();
    expect(cases.map(({ service }) => box.alive(service))).toEqual(running);
    expect(memory(box)).toBeLessThan(60_000);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
    expect(identity(victim)).toEqual(before);
  },
);

faultTest(
  "a directory with something in it, in the place of a file, is removed and reported",
  async () => {
    await using box = await Stage.open();
    box.script("p", FOREVER);
    await box.start();
    const p = await box.runs("p");
    await box.recorded("p");
    const path = join(box.rundir, "p", "pid");
    const made = join(box.directory, "made");
    mkdirSync(join(made, "mine"), { recursive: true });
    // sysmgr may be faster in setting right what is only removed.
    await until(() => {
      rmSync(path, { force: true, recursive: true });
      try {
        renameSync(made, path);
        return true;
      } catch (error) {
        if (errorCode(error) !== "ENOTDIR") throw error;
        return false;
      }
    }, "the directory is in its place");
    await box.tells(/p\/pid: a directory/);
    await box.recorded("p");
    await box.severalSeconds();
    expect(box.lines(/p\/pid: a directory/).length).toBe(1);
    expect(box.alive("p")).toEqual([p]);
    expect(await box.stop()).toBe(0);
  },
);

faultTest(
  "a link in the place of a service's directory is not written through, nor removed through",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "goes"]) box.script(name, FOREVER);
    const mine = join(box.directory, "mine");
    mkdirSync(mine);
    for (const file of STATE) writeFileSync(join(mine, file), "mine\n");
    await box.start();
    const a = await box.runs("a");
    const goes = await box.runs("goes");
    for (const name of ["a", "goes"])
      await until(() => {
        const path = join(box.rundir, name);
        return put(path, () => symlinkSync(mine, path));
      }, "the link is there before sysmgr makes the directory again");
    await box.recorded("a");
    expect(box.alive("a")).toEqual([a]);
    await box.revives("a");
    rmSync(join(box.sysdir, "goes"));
    await until(() => box.alive("goes").length === 0, "it is gone");
    expect(goes).toBeGreaterThan(1);
    await box.crash();
    rmSync(join(box.rundir, "a"), { recursive: true });
    symlinkSync(mine, join(box.rundir, "a"));
    await box.start();
    await box.recorded("a");
    expect(await box.stop()).toBe(0);
    for (const file of STATE)
      expect([file, readFileSync(join(mine, file), "utf8")]).toEqual([
        file,
        "mine\n",
      ]);
    expect(readdirSync(mine).sort()).toEqual([...STATE].sort());
  },
);

faultTest(
  "what is not a service's in RUNDIR hides nothing that is",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    await box.start();
    await box.revives("a");
    await box.recorded("a");
    await box.runs("b");
    rmSync(join(box.sysdir, "b"));
    await box.crash();
    await box.must("sh", "-c", `mkdir "$RUNDIR/bad$(printf '\\377')"`);
    mkdirSync(join(box.rundir, "a", ".pid.1"));
    mkdirSync(join(box.rundir, ".pid.1"));
    mkdirSync(join(box.rundir, "dir", "pid", "full"), { recursive: true });
    symlinkSync("/etc", join(box.rundir, "link"));
    await box.start();
    await box.tells(/ a: adopted/);
    await box.severalSeconds();
    expect(box.state("a", "starts")).toBe("2");
    expect(box.told(/starts: says something else/)).toBe(0);
    // Known from RUNDIR alone: its file went while nobody looked.
    expect(box.alive("b")).toEqual([]);
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

faultTest(
  "a file in SYSDIR that is called pid leaves sysmgr's own alone",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    box.script("pid", FOREVER);
    await box.start();
    await box.recorded("a");
    box.daemon.kill("SIGUSR1");
    const own = statSync(join(box.rundir, "pid")).ino;
    box.script("pid", FOREVER);
    await box.revives("a");
    rmSync(join(box.sysdir, "pid"));
    await box.tells(/ pid: removed/);
    expect(box.told(/run\/pid: /)).toBe(0);
    expect(statSync(join(box.rundir, "pid")).ino).toBe(own);
    expect(await box.stop()).toBe(0);
    expect(box.leftovers()).toEqual([]);
  },
);

faultTest("services of any name live and are told apart", async () => {
  await using box = await Stage.open();
  const names = [
    "sp ace",
    "quo'te",
    'double"quote',
    "new\nline",
    "..x",
    "-dash",
    "--help",
    "escape\u001b[31m",
    "csi\u009b31m",
    "bell\u0007",
    "delete\u007f",
    "return\rx",
    "override\u202ex",
    "$(id)",
    "*",
    "back\\slash",
    "ünïcode",
    "pid.1",
    "x".repeat(255),
    "\ufffd",
    "50%s%n",
  ].filter((name) => !name.startsWith("."));
  box.script("plain", FOREVER);
  for (const name of names)
    writeFileSync(join(box.sysdir, name), `#!/bin/sh\n${FOREVER}\n`, {
      mode: 0o755,
    });
  await box.start();
  for (const name of names) await box.recorded(name);
  const before = names.map((name) => box.alive(name));
  await box.crash();
  await box.start();
  for (const name of names) await box.recorded(name);
  expect(names.map((name) => box.alive(name))).toEqual(before);
  const outputs = [
    await box.svctl("status"),
    await box.svctl("--json", "status"),
    await box.svctl("status", "no\u001b[31msuch"),
    await box.svctl("stop", "--", ...names),
    await box.svctl("--json", "status"),
    await box.svctl("start", "--", ...names),
    await box.svctl("wrong\u009b31m"),
    await box.svctl("signal", "\u202e", "plain"),
    await box.run([join(DIST, "sysmgr-depends"), "no\u001b[31msuch"]),
    await box.run([join(DIST, "sysmgr"), "\u001b[31m"]),
  ];
  expect(outputs.slice(3, 6).map(({ code }) => code)).toEqual([0, 1, 0]);
  expect(
    JSON.parse(outputs[1]?.out ?? "")
      .map(({ name }: { name: string }) => name)
      .sort(),
  ).toEqual([...names, "plain"].sort());
  const text = outputs.map(({ out, err }) => out + err).join("");
  for (const line of `${text}${box.log()}`.split("\n"))
    expect(line).not.toMatch(DANGEROUS);
  // A name is escaped in the same way wherever it is shown.
  expect(box.told(/^sysmgr: new\\nline: adopted/)).toBe(1);
  expect(box.told(/^sysmgr: back\\\\slash: adopted/)).toBe(1);
  expect(await box.stop()).toBe(0);
  expect(box.processes()).toEqual([]);
  expect(box.leftovers()).toEqual([]);
});

for (const [whose, owner, mode] of [
  ["that belongs to somebody else", ANY_USER, 0o755],
  ["that everybody may write to", 0, 0o777],
] as const)
  faultTest(`as root a RUNDIR ${whose} is refused or made safe`, async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    mkdirSync(box.rundir);
    chownSync(box.rundir, owner, owner);
    chmodSync(box.rundir, mode);
    const daemon = await box.start();
    await until(
      () => daemon.exitCode !== null || box.alive("a").length > 0,
      "it has refused, or begun",
    );
    if (daemon.exitCode === null) {
      const { uid, mode: after } = statSync(box.rundir);
      expect([uid, after & 0o002]).toEqual([0, 0]);
    } else {
      expect(daemon.exitCode).toBe(1);
      expect(box.log()).toContain(box.rundir);
    }
  });

faultTest(
  "who may only read RUNDIR cannot keep sysmgr from starting on it",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    chmodSync(box.directory, 0o755);
    await box.start();
    const a = await box.runs("a");
    // One of those lies in wait for the moment in which nobody has it.
    const jealous = Bun.spawn(
      [
        ...AS_ANY_USER,
        "flock",
        box.rundir,
        "sh",
        "-c",
        "echo mine; exec sleep 1000",
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    const nested = Bun.spawn(
      [...AS_ANY_USER, "flock", join(box.rundir, "pid"), "sleep", "1000"],
      { stdio: ["ignore", "ignore", "ignore"], detached: true },
    );
    try {
      await box.crash();
      await jealous.stdout.getReader().read();
      const daemon = await box.start();
      await until(
        () => daemon.exitCode !== null || box.told(/ a: adopted/) > 0,
        "it has given up, or begun",
      );
      expect([daemon.exitCode, box.log()]).toEqual([
        null,
        expect.stringContaining("a: adopted"),
      ]);
      expect(await box.runs("a")).toBe(a);
      expect(await box.stop()).toBe(0);
    } finally {
      await box
        .must("pkill", "-KILL", "-P", String(nested.pid))
        .catch(() => DONE);
      await box
        .must("pkill", "-KILL", "-P", String(jealous.pid))
        .catch(() => DONE);
      jealous.kill("SIGKILL");
      nested.kill("SIGKILL");
      await jealous.exited;
      await nested.exited;
    }
  },
);

faultTest(
  "what everybody may change is reported once, however often it is looked at",
  async () => {
    await using box = await Stage.open();
    box.script("writable", FOREVER, 0o777);
    box.script("fine", FOREVER);
    await box.start();
    await box.runs("fine");
    for (let times = 0; times < 3; times++) {
      box.daemon.kill("SIGUSR1");
      await Bun.sleep(50);
    }
    await box.severalSeconds();
    expect(box.told(/^sysmgr: writable: writable by everybody/)).toBe(1);
    expect(box.alive("writable")).toEqual([]);
    chmodSync(join(box.sysdir, "writable"), 0o755);
    const fine = await box.runs("fine");
    await box.runs("writable");
    // A writable SYSDIR stops nothing that runs, and starts nothing.
    chmodSync(box.sysdir, 0o777);
    await box.tells(/ fine: .*writable by everybody/);
    process.kill(fine, "SIGKILL");
    await box.tells(/ fine: killed by SIGKILL, not started again/);
    await box.severalSeconds();
    expect(box.alive("fine")).toEqual([]);
    expect(box.alive("writable").length).toBe(1);
    expect(box.told(/ fine: .*writable by everybody/)).toBe(1);
    chmodSync(box.sysdir, 0o755);
    await box.runs("fine");
    expect(await box.stop()).toBe(0);
  },
);

faultTest(
  "a RUNDIR exchanged for one that somebody has prepared harms nobody",
  async () => {
    await using box = await Stage.open();
    for (const name of ["a", "b"]) box.script(name, FOREVER);
    await box.start();
    const a = await box.runs("a");
    const bystander = box.bystander();
    const prepared = join(box.directory, "prepared");
    mkdirSync(join(prepared, "a"), { recursive: true });
    writeFileSync(join(prepared, "pid"), `${bystander.pid}\n`);
    writeFileSync(join(prepared, "a", "pid"), `${bystander.pid}\n`);
    writeFileSync(join(prepared, "a", "starts"), "77\n");
    symlinkSync(box.sysdir, join(prepared, "b"));
    // Held up for a moment, so that it does not make a new one in between.
    box.daemon.kill("SIGSTOP");
    renameSync(box.rundir, join(box.directory, "away"));
    renameSync(prepared, box.rundir);
    box.daemon.kill("SIGCONT");
    await box.recorded("a");
    await box.revives("b");
    await box.recorded("b");
    expect(box.alive("a")).toEqual([a]);
    expect(box.state("a", "starts")).toBe("1");
    expect(readdirSync(box.sysdir).sort()).toEqual(["a", "b"]);
    expect(bystander.exitCode).toBeNull();
    expect(await box.stop()).toBe(0);
    expect(bystander.exitCode).toBeNull();
  },
);

function identity(path: string) {
  const { mtimeNs, size, mode, ino } = lstatSync(path, { bigint: true });
  return { mtimeNs, size, mode, ino, text: readFileSync(path, "utf8") };
}

/** Whether a file that was garbage says what it should, or is gone where it has nothing to say. */
function isRight(box: Stage, service: string, file: string): boolean {
  const text = box.state(service, file);
  if (file === "pid") return Number(text) === box.alive(service)[0];
  if (file === "lock") return text === "0";
  if (file === "starts") return /^[01]$/.test(text ?? "0");
  const path = join(box.rundir, service, file);
  return lstatSync(path, { throwIfNoEntry: false }) === undefined;
}

/** Kilobytes that sysmgr has of its own. */
function memory(box: Stage): number {
  const status = readFileSync(`/proc/${box.daemon.pid}/status`, "utf8");
  return Number(/^RssAnon:\s*(\d+)/m.exec(status)?.[1]);
}

/** Makes something in the place of what lies at a path; false when somebody else has made it again meanwhile. */
function put(path: string, make: () => void): boolean {
  rmSync(path, { recursive: true, force: true });
  try {
    make();
    return true;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    return false;
  }
}
