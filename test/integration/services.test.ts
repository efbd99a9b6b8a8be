/** Contract: "Services", what is one, when it is started, and what it is started with. */
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { DIST, isRunning, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

const AS_ROOT = process.geteuid?.() === 0;
/** Only the static binary knows the limit that it was given: Bun raises it before any of sysmgr runs. */
const STATIC = !readFileSync(join(DIST, "sysmgr"))
  .subarray(0, 4096)
  .includes("/ld-linux");
const FOREVER = "exec sleep 1000";
/** How often a case is tried again that a busy machine has spoilt. */
const ATTEMPTS = 12;
const O_NONBLOCK = 0o4000;

test.concurrent(
  "a script dropped in is started with nobody asked, after 50 ms and within 200 ms",
  async () => {
    await using box = new Sandbox();
    await box.start();
    const delays: number[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) {
      box.script(name, FOREVER);
      await box.up(name);
      const dropped = lstatSync(join(box.sysdir, name)).ctimeMs;
      delays.push(statSync(join(box.rundir, name, "pid")).mtimeMs - dropped);
    }
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(50);
    // A busy machine may hold up one of them, but not all.
    expect(Math.min(...delays)).toBeLessThan(200);
  },
);

test.concurrent("what is in SYSDIR when sysmgr starts is started", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER);
  box.script("b", FOREVER);
  await box.start();
  expect(await box.up("a")).not.toBe(await box.up("b"));
});

test.concurrent(
  "a script that is being written never runs half-written",
  async () => {
    for (let attempt = 0; ; attempt++) {
      await using box = new Sandbox();
      await box.start();
      const longestPause = await writeSlowly(box, "slow");
      const ranTooEarly = box.read("trace") !== undefined;
      // A machine that held up the writer has left the file alone for long enough.
      if (longestPause > 40 && attempt < ATTEMPTS) continue;
      await until(() => box.read("trace")?.includes("complete"), "it has run");
      expect(ranTooEarly).toBeFalse();
      expect(box.read("trace")).toBe("begun\ncomplete\n");
      expect(box.state("slow", "starts")).toBe("1");
      return;
    }
  },
);

test.concurrent(
  "a script that is being rewritten in place does not run half-written at a restart",
  async () => {
    for (let attempt = 0; ; attempt++) {
      await using box = new Sandbox();
      box.script("slow", "sleep 0.2");
      await box.start();
      const ends = () => box.log().split("slow: exited 0").length - 1;
      await until(() => ends() >= 2, "it has ended twice");
      // It is started a second after its last start, so that this falls into the writing.
      const { mtimeMs } = statSync(join(box.rundir, "slow/starts"));
      const late = Date.now() - mtimeMs > 600;
      const longestPause = await writeSlowly(box, "slow", 1000);
      if ((late || longestPause > 40) && attempt < ATTEMPTS) continue;
      await until(() => box.read("trace")?.includes("complete"), "it has run");
      expect(box.read("trace")).toBe("begun\ncomplete\n");
      return;
    }
  },
);

test.concurrent(
  "a script without an interpreter line is run by the shell",
  async () => {
    await using box = new Sandbox();
    await box.start();
    box.file("plain", 'echo "$0 $#" > "$DIR/said"; exec sleep 1000\n');
    await until(() => box.read("said"), "it has run");
    expect(box.read("said")).toBe(`${join(box.sysdir, "plain")} 0\n`);
    const pid = await box.up("plain");
    expect(isRunning(pid)).toBeTrue();
  },
);

test.concurrent("a C binary is run", async () => {
  await using box = new Sandbox();
  copyFileSync("/usr/bin/env", join(box.sysdir, "env"));
  await box.start();
  await box.logged(/^SYSMGR_SERVICE=env$/);
  await until(() => box.state("env", "exit") === "0", "its end is noted");
});

test.concurrent(
  "symlinks to any of these are run under their own names",
  async () => {
    await using box = new Sandbox();
    const said = 'echo "$SYSMGR_SERVICE" >> "$DIR/said"; exec sleep 1000\n';
    const target = executable(box, "target", `#!/bin/sh\n${said}`);
    const plain = executable(box, "plain-target", said);
    await box.start();
    symlinkSync(target, join(box.sysdir, "absolute"));
    symlinkSync("../target", join(box.sysdir, "relative"));
    symlinkSync("relative", join(box.sysdir, "twice"));
    symlinkSync(plain, join(box.sysdir, "plain"));
    symlinkSync("/usr/bin/env", join(box.sysdir, "binary"));
    for (const name of ["absolute", "relative", "twice", "plain"])
      await box.up(name);
    await box.logged(/^SYSMGR_SERVICE=binary$/);
    const names = await until(() => {
      const lines = (box.read("said") ?? "").trim().split("\n");
      return lines.length === 4 && lines.sort();
    }, "all of them have run");
    expect(names).toEqual(["absolute", "plain", "relative", "twice"]);
  },
);

test.concurrent(
  "a dangling link is reported once and picked up when its target appears",
  async () => {
    await using box = new Sandbox();
    await box.start();
    symlinkSync("../later/target", join(box.sysdir, "link"));
    await box.logged(/: link: /);
    await Bun.sleep(2500);
    expect(box.logOf("link")).toHaveLength(1);
    mkdirSync(join(box.directory, "later"));
    executable(box, "later/target", `#!/bin/sh\n${FOREVER}\n`);
    await box.up("link");
  },
);

test.concurrent(
  "a link is picked up when its target becomes executable",
  async () => {
    await using box = new Sandbox();
    const target = executable(box, "target", `#!/bin/sh\n${FOREVER}\n`);
    chmodSync(target, 0o644);
    symlinkSync(target, join(box.sysdir, "link"));
    await box.start();
    await box.logged(/: link: not executable/);
    chmodSync(target, 0o755);
    await box.up("link");
  },
);

test.concurrent("a file is picked up when it becomes executable", async () => {
  await using box = new Sandbox();
  box.script("a", FOREVER, 0o644);
  await box.start();
  await box.logged(/: a: not executable/);
  expect(box.pid("a")).toBeUndefined();
  chmodSync(join(box.sysdir, "a"), 0o755);
  await box.up("a");
});

test.concurrent(
  "one that runs and stops being executable goes on, and is not started again until it is",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const pid = await box.up("a");
    chmodSync(join(box.sysdir, "a"), 0o644);
    await box.logged(/: a: not executable/);
    expect(box.pid("a")).toBe(pid);
    process.kill(pid, "SIGKILL");
    await box.down("a");
    await Bun.sleep(1500);
    expect(box.pid("a")).toBeUndefined();
    chmodSync(join(box.sysdir, "a"), 0o755);
    await box.up("a");
  },
);

test.concurrent(
  "what is not an executable regular file is reported once, whatever else happens",
  async () => {
    await using box = new Sandbox();
    box.script("plainfile", FOREVER, 0o644);
    mkdirSync(join(box.sysdir, "directory"));
    symlinkSync("directory", join(box.sysdir, "dirlink"));
    symlinkSync("nothing", join(box.sysdir, "dangling"));
    symlinkSync("circle", join(box.sysdir, "circle"));
    await box.run(["mkfifo", "-m", "755", join(box.sysdir, "fifo")]);
    symlinkSync("/dev/null", join(box.sysdir, "device"));
    box.script("restarts", "sleep 0.1");
    const daemon = await box.start();
    for (let round = 0; round < 12; round++) {
      await Bun.sleep(300);
      if (round % 2 === 0) daemon.kill("SIGUSR1");
      box.script(`new${round}`, FOREVER);
      rmSync(join(box.sysdir, `new${round - 1}`), { force: true });
    }
    const unusable = readdirSync(box.sysdir).filter(
      (name) => !/^new|^restarts$/.test(name),
    );
    expect(unusable).toHaveLength(7);
    const reports = unusable.map((name) => [name, box.logOf(name).length]);
    expect(reports).toEqual(unusable.map((name) => [name, 1]));
  },
);

test.concurrent("names that start with a dot are skipped", async () => {
  await using box = new Sandbox();
  box.script(".before", 'touch "$DIR/ran"; sleep 1000');
  await box.start();
  box.script(".later", 'touch "$DIR/ran"; sleep 1000');
  box.script("a", FOREVER);
  await box.up("a");
  box.script("b", FOREVER);
  await box.up("b");
  expect(box.read("ran")).toBeUndefined();
  expect(box.leftovers().sort()).toEqual(["a", "b", "pid"]);
  expect(box.log()).not.toMatch(/before|later/);
});

test.concurrent(
  "any name that a file can have is a service's name",
  async () => {
    await using box = new Sandbox();
    const names = ["with space", "-n", "größe", "$HOME", "a'b\"c", "new\nline"];
    for (const name of names) box.script(name, FOREVER);
    await box.start();
    for (const name of names) {
      const pid = await box.up(name);
      await until(
        async () => (await variables(pid)).includes(`SYSMGR_SERVICE=${name}`),
        `${name} is told its name`,
      );
    }
    await box.logged(/^sysmgr: with space: started/);
    expect(box.log()).not.toContain("\nline");
  },
);

test.concurrent(
  "an entry that goes away is stopped and its state removed",
  async () => {
    await using box = new Sandbox();
    box.script("a", "sleep 1000 & sleep 1000; :");
    box.script("other", FOREVER);
    await box.start();
    await box.up("a");
    const other = await box.up("other");
    await until(() => box.processes().length === 4, "all of it runs");
    rmSync(join(box.sysdir, "a"));
    await until(
      () => !existsSync(join(box.rundir, "a")),
      "its state is removed",
    );
    expect(box.processes()).toEqual([other]);
  },
);

test.concurrent(
  "an entry that goes away while it is locked or waits for its restart leaves nothing",
  async () => {
    await using box = new Sandbox();
    box.script("locked", FOREVER);
    box.script("crash", "exit 1");
    await box.start();
    await box.up("locked");
    box.lock("locked", "TERM");
    await box.down("locked");
    await until(() => box.state("crash", "exit") === "1", "it has crashed");
    rmSync(join(box.sysdir, "locked"));
    rmSync(join(box.sysdir, "crash"));
    await until(
      () => box.leftovers().join() === "pid",
      "their state is removed",
    );
    box.script("locked", FOREVER);
    await box.up("locked");
    expect(box.state("locked", "starts")).toBe("1");
  },
);

test.concurrent(
  "a dangling or removed link stops its service like a removed file",
  async () => {
    await using box = new Sandbox();
    const target = executable(box, "target", `#!/bin/sh\n${FOREVER}\n`);
    symlinkSync(target, join(box.sysdir, "link"));
    await box.start();
    const pid = await box.up("link");
    rmSync(join(box.sysdir, "link"));
    await until(() => !existsSync(join(box.rundir, "link")), "it is removed");
    expect(isRunning(pid)).toBeFalse();
  },
);

test.concurrent(
  "a replacement by rename neither stops nor restarts what runs, and runs at the next start",
  async () => {
    await using box = new Sandbox();
    box.script("a", 'echo old >> "$DIR/said"; exec sleep 1000');
    await box.start();
    const pid = await box.up("a");
    await until(() => box.read("said"), "it has said what it is");
    box.script("a", 'echo new >> "$DIR/said"; exec sleep 1000');
    await Bun.sleep(1500);
    expect(box.pid("a")).toBe(pid);
    expect(box.state("a", "starts")).toBe("1");
    process.kill(pid);
    await box.up("a", pid);
    await until(() => box.read("said") === "old\nnew\n", "the new file runs");
  },
);

test.concurrent(
  "removed and made again within a second is a replacement",
  async () => {
    await using box = new Sandbox();
    box.script("a", 'echo old >> "$DIR/said"; exec sleep 1000');
    await box.start();
    const pid = await box.up("a");
    await until(() => box.read("said"), "it has said what it is");
    rmSync(join(box.sysdir, "a"));
    await Bun.sleep(500);
    box.script("a", 'echo new >> "$DIR/said"; exec sleep 1000');
    await Bun.sleep(1500);
    expect(box.pid("a")).toBe(pid);
    process.kill(pid);
    await box.up("a", pid);
    await until(() => box.read("said") === "old\nnew\n", "the new file runs");
  },
);

test.concurrent(
  "a link that is pointed at another file is a replacement",
  async () => {
    await using box = new Sandbox();
    const said = (word: string) =>
      `#!/bin/sh\necho ${word} >> "$DIR/said"\n${FOREVER}\n`;
    const link = join(box.directory, "link");
    executable(box, "old", said("old"));
    executable(box, "new", said("new"));
    symlinkSync("../old", join(box.sysdir, "a"));
    await box.start();
    const pid = await box.up("a");
    await until(() => box.read("said"), "it has said what it is");
    symlinkSync("../new", link);
    renameSync(link, join(box.sysdir, "a"));
    await Bun.sleep(1200);
    expect(box.pid("a")).toBe(pid);
    process.kill(pid);
    await box.up("a", pid);
    await until(() => box.read("said") === "old\nnew\n", "the new file runs");
  },
);

test.concurrent(
  "SYSDIR vanishing stops nothing, and is looked for again",
  async () => {
    await using box = new Sandbox();
    const away = join(box.directory, "away");
    box.script("stays", FOREVER);
    box.script("goes", FOREVER);
    await box.start();
    const stays = await runsSleep(box, "stays");
    const goes = await runsSleep(box, "goes");
    renameSync(box.sysdir, away);
    await box.logged(new RegExp(`^sysmgr: ${box.sysdir}: `));
    await Bun.sleep(2500);
    expect([...box.logOf("stays"), ...box.logOf("goes")]).toEqual([
      `sysmgr: stays: started (pid ${stays})`,
      `sysmgr: goes: started (pid ${goes})`,
    ]);
    expect([box.pid("stays"), box.pid("goes")]).toEqual([stays, goes]);
    expect(reportsOf(box, box.sysdir)).toHaveLength(1);
    rmSync(join(away, "goes"));
    renameSync(away, box.sysdir);
    box.script("new", FOREVER);
    await box.up("new");
    await until(() => !existsSync(join(box.rundir, "goes")), "goes is removed");
    expect(isRunning(goes)).toBeFalse();
    expect(box.pid("stays")).toBe(stays);
  },
);

test.concurrent(
  "SYSDIR removed and made again is watched as before",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const pid = await runsSleep(box, "a");
    for (let round = 0; round < 3; round++) {
      rmSync(box.sysdir, { recursive: true });
      mkdirSync(box.sysdir);
      box.script("a", FOREVER);
      box.script(`b${round}`, FOREVER);
      await box.up(`b${round}`);
      expect(box.pid("a")).toBe(pid);
    }
  },
);

test.concurrent(
  "a service that ends while SYSDIR is gone is started when it is back",
  async () => {
    await using box = new Sandbox();
    const away = join(box.directory, "away");
    box.script("a", FOREVER);
    await box.start();
    const pid = await runsSleep(box, "a");
    renameSync(box.sysdir, away);
    await box.logged(new RegExp(`^sysmgr: ${box.sysdir}: `));
    process.kill(pid, "SIGKILL");
    await box.down("a");
    await Bun.sleep(1200);
    renameSync(away, box.sysdir);
    await box.up("a", pid);
  },
);

test.concurrent("SYSDIR missing at start is an error", async () => {
  await using box = new Sandbox();
  for (const sysdir of [join(box.directory, "none"), "/etc/passwd"]) {
    const outcome = await box.run([join(DIST, "sysmgr"), "-s", sysdir]);
    expect(outcome.code).toBe(1);
    expect(outcome.err).toMatch(new RegExp(`^sysmgr: ${sysdir}: .+\n$`));
    expect(existsSync(box.rundir)).toBeFalse();
  }
});

test.concurrent(
  "a service leads a session and a process group of its own",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start();
    const pid = await box.up("a");
    const [, , group, session] = statFields(pid);
    expect([group, session]).toEqual([String(pid), String(pid)]);
  },
);

test.concurrent(
  "a service has stdin from /dev/null, sysmgr's stdout and stderr, and nothing else open",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    box.file("plain", FOREVER);
    const daemon = await box.start([], {}, shell("exec 7</etc/passwd 9>>log"));
    for (const name of ["a", "plain"]) {
      const pid = await runsSleep(box, name);
      const open = () => readdirSync(`/proc/${pid}/fd`).toSorted().join();
      // Until it is ready, the program has its libraries open.
      await until(
        () => open() === "0,1,2",
        () => `${name} has three descriptors open; it has ${open()}`,
        3000,
      );
      expect(readlinkSync(`/proc/${pid}/fd/0`)).toBe("/dev/null");
      for (const descriptor of [1, 2]) {
        expect(readlinkSync(`/proc/${pid}/fd/${descriptor}`)).toBe(
          readlinkSync(`/proc/${daemon.pid}/fd/${descriptor}`),
        );
      }
    }
  },
);

test.concurrent(
  "stdout and stderr are blocking, as they were, even when they are a pipe and sysmgr logs to it",
  async () => {
    await using box = new Sandbox();
    const pipe = join(box.directory, "pipe");
    await box.run(["mkfifo", pipe]);
    const output = openSync(pipe, "r+");
    try {
      box.script("a", FOREVER);
      await box.start([], {}, { output });
      const pid = await runsSleep(box, "a");
      for (let round = 0; round < 3; round++) {
        box.script(`b${round}`, "exit 1");
        await until(() => box.state(`b${round}`, "exit"), "it is logged");
        for (const each of [pid, box.daemon.pid])
          for (const descriptor of [1, 2])
            expect(openFlags(each, descriptor) & O_NONBLOCK).toBe(0);
      }
    } finally {
      closeSync(output);
    }
  },
);

test.concurrent("a service is given no argument", async () => {
  await using box = new Sandbox();
  box.script("a", 'printf "%s\\n" "$0" "$@" > "$DIR/said"; sleep 1000');
  await box.start();
  await until(() => box.read("said"), "it has said its arguments");
  const path = join(box.sysdir, "a");
  expect(box.read("said")).toBe(`${path}\n`);
  const command = readFileSync(`/proc/${await box.up("a")}/cmdline`, "utf8");
  expect(command).toBe(`/bin/sh\0${path}\0`);
});

test.concurrent(
  "a service has sysmgr's working directory, umask, niceness and resource limits",
  async () => {
    await using box = new Sandbox();
    const where = join(box.directory, "elsewhere");
    mkdirSync(where);
    box.script("a", FOREVER);
    await box.start(
      [],
      {},
      shell(
        `cd "${where}"; umask 027; ulimit -c 0; ulimit -S -s 4096; ulimit -n 5000; renice -n 3 $$ > /dev/null`,
      ),
    );
    const pid = await runsSleep(box, "a");
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(where);
    expect(statusLine(pid, "Umask")).toBe("0027");
    // Field 19 of proc(5), "nice", counted from the state, which is field 3.
    expect(statFields(pid)[16]).toBe("3");
    expect(limit(pid, "Max core file size")).toEqual(["0", "0"]);
    expect(limit(pid, "Max stack size")[0]).toBe(String(4096 * 1024));
    expect(limit(pid, "Max open files")[1]).toBe("5000");
    // What sysmgr itself writes is readable by all in spite of the umask.
    const mode = (path: string) =>
      statSync(join(box.rundir, path)).mode & 0o777;
    expect([mode("a"), mode("a/pid"), mode("a/starts")]).toEqual([
      0o755, 0o644, 0o644,
    ]);
  },
);

test.concurrent.if(STATIC)(
  "the soft limit of open files is as sysmgr was given it (static binary only)",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    const low = "ulimit -H -n 20000; ulimit -S -n 1000";
    await box.start([], {}, shell(low));
    const pid = await runsSleep(box, "a");
    expect(limit(pid, "Max open files")).toEqual(["1000", "20000"]);
  },
);

test.concurrent(
  "a service has default signal actions and an empty signal mask, whatever sysmgr was given",
  async () => {
    await using box = new Sandbox();
    const through = [
      "env",
      "--ignore-signal=TERM,INT,HUP,QUIT,USR1,CHLD,PIPE,WINCH,TSTP,XFSZ",
      "--block-signal=TERM,USR1,USR2,CHLD,ALRM,RTMIN",
    ];
    box.script("a", FOREVER);
    copyFileSync("/usr/bin/sleep", join(box.directory, "sleep"));
    await box.start([], {}, { through });
    const pid = await runsSleep(box, "a");
    expect(BigInt(`0x${statusLine(pid, "SigBlk")}`)).toBe(0n);
    expect(BigInt(`0x${statusLine(pid, "SigIgn")}`)).toBe(0n);
    process.kill(pid, "SIGTERM");
    await box.up("a", pid);
    expect(box.state("a", "exit")).toBe("SIGTERM");
    // And sysmgr itself obeys.
    expect(await box.stop()).toBe(0);
  },
);

test.concurrent(
  "a service has sysmgr's environment plus SYSDIR, RUNDIR and SYSMGR_SERVICE",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    const given: Record<string, string> = {
      ODD: " two  words\nand a line ",
      EMPTY: "",
      LD_LIBRARY_PATH: "/nowhere",
      BUN_CONFIG_X: "1",
      NODE_ENV: "test",
      SYSMGR_SERVICE: "forged",
    };
    // Options beat the environment, and what is in force is what services are told.
    const options = ["-s", box.sysdir, "-r", box.rundir];
    const elsewhere = { SYSDIR: "/nowhere", RUNDIR: "/nowhere" };
    await box.start(options, { ...given, ...elsewhere });
    const pid = await runsSleep(box, "a");
    const expected = {
      ...box.environment,
      ...given,
      SYSMGR_SERVICE: "a",
      // The shell's own.
      PWD: box.directory,
    };
    const lines = Object.entries(expected).map(
      ([key, value]) => `${key}=${value}`,
    );
    const actual = (await variables(pid)).filter(
      (line) => !/^(OLDPWD|_|SHLVL)=/.test(line),
    );
    expect(actual.sort()).toEqual(lines.sort());
  },
);

test.concurrent(
  "SYSDIR and RUNDIR given relative to the working directory are absolute for services",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    await box.start([], { SYSDIR: "sv", RUNDIR: "./run/" });
    const pid = await runsSleep(box, "a");
    expect(await variables(pid)).toContain(`SYSDIR=${box.sysdir}`);
    expect(await variables(pid)).toContain(`RUNDIR=${box.rundir}`);
  },
);

test.concurrent.if(AS_ROOT)(
  "a script that everybody can change is not run as root, and reported once",
  async () => {
    await using box = new Sandbox();
    const target = executable(box, "target", `#!/bin/sh\n${FOREVER}\n`, 0o757);
    box.script("loose", FOREVER, 0o757);
    box.script("fine", FOREVER);
    symlinkSync(target, join(box.sysdir, "link"));
    await box.start();
    await box.up("fine");
    await box.logged(/: loose: .*writable/);
    await box.logged(/: link: .*writable/);
    await Bun.sleep(2000);
    box.daemon.kill("SIGUSR1");
    await Bun.sleep(300);
    for (const name of ["loose", "link"]) {
      expect(box.pid(name)).toBeUndefined();
      expect(box.logOf(name)).toHaveLength(1);
    }
    chmodSync(join(box.sysdir, "loose"), 0o755);
    chmodSync(target, 0o755);
    await box.up("loose");
    await box.up("link");
  },
);

test.concurrent.if(AS_ROOT)(
  "nothing in a SYSDIR that everybody can change is run as root",
  async () => {
    await using box = new Sandbox();
    box.script("a", FOREVER);
    chmodSync(box.sysdir, 0o777);
    await box.start();
    await box.logged(/: a: .*writable/);
    await Bun.sleep(1200);
    expect(box.pid("a")).toBeUndefined();
    expect(box.logOf("a")).toHaveLength(1);
    chmodSync(box.sysdir, 0o755);
    const pid = await box.up("a");
    // Later the same: what runs goes on, nothing is started any more.
    chmodSync(box.sysdir, 0o777);
    box.script("b", FOREVER);
    await box.logged(/: b: .*writable/);
    process.kill(pid, "SIGKILL");
    await box.down("a");
    await Bun.sleep(1200);
    expect([box.pid("a"), box.pid("b")]).toEqual([undefined, undefined]);
  },
);

/**
 * Writes a script one piece at a time, for about `duration` milliseconds.
 * @returns the longest time that it may have been left alone.
 */
async function writeSlowly(
  box: Sandbox,
  name: string,
  duration = 400,
): Promise<number> {
  const path = join(box.sysdir, name);
  let before = performance.now();
  let longestPause = 0;
  const stopAt = before + duration;
  const measured = (write: () => void) => {
    const now = performance.now();
    try {
      write();
      longestPause = Math.max(longestPause, performance.now() - before);
    } catch (error) {
      // It is being executed right now, so it was left alone for too long.
      if (errorCode(error) !== "ETXTBSY") throw error;
      longestPause = Number.POSITIVE_INFINITY;
    }
    before = now;
  };
  measured(() => writeFileSync(path, "#!/bin/sh\n", { mode: 0o755 }));
  measured(() => appendFileSync(path, 'echo begun >> "$DIR/trace"\n'));
  while (performance.now() < stopAt) {
    await Bun.sleep(5);
    measured(() => appendFileSync(path, ": more\n"));
  }
  const end = `echo complete >> "$DIR/trace"\n${FOREVER}\n`;
  measured(() => appendFileSync(path, end));
  return longestPause;
}

/** Makes an executable file outside of SYSDIR. */
function executable(
  box: Sandbox,
  name: string,
  content: string,
  mode = 0o755,
): string {
  const path = join(box.directory, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** Starts sysmgr from a shell that has done something before. */
function shell(before: string): { through: string[] } {
  return { through: ["sh", "-c", `${before}; exec "$@"`, "sh"] };
}

/** Waits until a service has become the `sleep` that its script ends in. */
async function runsSleep(box: Sandbox, name: string): Promise<number> {
  const pid = await box.up(name);
  await until(
    () => basename(readlinkSync(`/proc/${pid}/exe`)) === "sleep",
    `${name} has replaced its shell`,
  );
  return pid;
}

function reportsOf(box: Sandbox, subject: string): string[] {
  const start = `sysmgr: ${subject}: `;
  return box
    .log()
    .split("\n")
    .filter((line) => line.startsWith(start));
}

/** The fields of /proc/PID/stat from the third, the state, on. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function statusLine(pid: number, key: string): string {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${key}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
}

/** The soft and the hard limit. */
function limit(pid: number, name: string): string[] {
  const text = readFileSync(`/proc/${pid}/limits`, "utf8");
  const line = text.split("\n").find((each) => each.startsWith(name)) ?? "";
  return line.slice(name.length).trim().split(/ +/).slice(0, 2);
}

/** While a process is just being executed it shows none. */
async function variables(pid: number): Promise<string[]> {
  const text = await until(
    () => readFileSync(`/proc/${pid}/environ`, "utf8"),
    "it has been executed",
  );
  return text.split("\0").filter((line) => line !== "");
}

function openFlags(pid: number, descriptor: number): number {
  const text = readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "utf8");
  const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? "";
  return Number.parseInt(flags, 8);
}
