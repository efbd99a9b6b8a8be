/**
 * The binary for arm64, in a root with nothing else in it, under emulation. What emulation cannot show is
 * said by the tests named "emulation:"; besides, it has the page size, the memory limits and the kernel of
 * this machine.
 */
import { expect, setDefaultTimeout } from "bun:test";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import { DONE } from "../integration/sandbox.ts";
import { EmulatedRoot, PATIENCE, emulatedTest } from "./emulated.ts";

setDefaultTimeout(5 * PATIENCE);

const NAME = "/sysmgr-linux-arm64";
const PRLIMIT = Bun.which("prlimit") ?? "prlimit";
const LISTING = "sysmgr\nsvctl\nsysmgr-depends\n";

emulatedTest("the three applets answer where nothing else is", async () => {
  await using root = new EmulatedRoot();
  const done = (out: string) => ({ code: 0, out, err: "" });
  const answers = (...command: string[]) => root.runAlone([NAME, ...command]);
  expect(await answers("--list")).toEqual(done(LISTING));
  for (const applet of ["sysmgr", "svctl", "sysmgr-depends"])
    expect(await answers(applet, "--version")).toEqual(
      done(`sysmgr ${version}\n`),
    );
  expect(await answers("svctl", "status")).toEqual({
    code: 1,
    out: "",
    err: "svctl: /sv: no such file or directory (ENOENT)\n",
  });
  expect(await answers("svctl", "--nonsense")).toMatchObject({ code: 2 });
  expect(await answers("nothing")).toMatchObject({ code: 127 });
});

emulatedTest(
  "a service is killed and restarted, stopped and started",
  async () => {
    await using root = new EmulatedRoot({ services: true });
    root.service("web", "wait");
    // An executable, not a script.
    root.file("other", readFileSync(join(root.directory, "bin/actor")));
    await root.bootSysmgr();
    const killed = await root.up("web");
    const other = await root.up("other");
    root.kill(killed, "SIGKILL");
    const restarted = await root.up("web", killed);
    expect(root.state("web", "exit")).toBe("SIGKILL");
    const status = await root.svctl("status", "web");
    expect(status).toMatchObject({ code: 0, err: "" });
    expect(status.out).toStartWith(`web: UP (pid ${restarted}, `);

    expect(await root.svctl("-q", "stop", "web")).toEqual(DONE);
    expect(root.outside(restarted)).toBeUndefined();
    expect(await root.svctl("status", "web")).toEqual({
      code: 1,
      out: "web: DOWN (stopped)\n",
      err: "",
    });
    expect(await root.svctl("-q", "start", "web")).toEqual(DONE);
    const started = await root.up("web");
    expect(await root.svctl("-q", "restart", "web")).toEqual(DONE);
    await root.up("web", started);
    expect(root.state("web", "starts")).toBe("4");

    expect(await root.up("other")).toBe(other);
    expect(await root.shutDown()).toBe(0);
    expect(readdirSync(join(root.directory, "run/sysmgr"))).toEqual([]);
  },
);

emulatedTest("what does not end when told to is killed", async () => {
  await using root = new EmulatedRoot({ services: true });
  root.service("deaf", "deaf");
  await root.bootSysmgr(["--timeout=1"]);
  await root.until(() => root.read("/run/deaf") !== undefined, "it is deaf");
  expect(await root.svctl("-q", "stop", "deaf")).toEqual(DONE);
  expect(root.state("deaf", "exit")).toBe("SIGKILL");
});

emulatedTest("a service that fails is started again and again", async () => {
  await using root = new EmulatedRoot({ services: true, proc: true });
  root.service("failing", "exit:3");
  await root.bootSysmgr();
  await root.until(() => root.state("failing", "starts") === "3", "3 starts");
  expect(root.state("failing", "exit")).toBe("3");
});

emulatedTest("a service waits for the one that it depends on", async () => {
  await using root = new EmulatedRoot({ services: true });
  await root.bootSysmgr();
  root.service("first", "wait");
  await root.up("first");
  expect(await root.svctl("-q", "stop", "first")).toEqual(DONE);
  root.service("second", "after:first");
  await root.until(
    () => root.state("second", "waiting") === "first",
    "second waits",
  );
  expect(await root.svctl("status", "second")).toMatchObject({
    code: 1,
    out: "second: WAITING (for first)\n",
  });
  expect(root.read("/run/depended")).toBeUndefined();
  expect(await root.svctl("-q", "start", "first")).toEqual(DONE);
  await root.until(() => root.read("/run/depended") === "", "second goes on");
  expect(root.state("second", "starts")).toBe("1");
  expect(await root.depends("first", "second")).toMatchObject({ code: 0 });
  expect(await root.depends("third")).toMatchObject({ code: 1 });
});

emulatedTest("sysmgr that was killed takes over what runs", async () => {
  await using root = new EmulatedRoot({ services: true, proc: true });
  root.service("web", "wait");
  await root.boot(["/bin/actor", "keep"]);
  await root.startSysmgr();
  const web = await root.up("web");
  root.kill(Number(root.read("/run/sysmgr/pid")), "SIGKILL");
  await root.startSysmgr();
  await root.until(() => root.log().includes("web: adopted"), "it is adopted");
  expect(root.state("web", "pid")).toBe(`${web}`);
  root.kill(web, "SIGKILL");
  await root.up("web", web);
});

emulatedTest(
  "services get environment and limits as sysmgr got them, and nothing of Bun is obeyed",
  async () => {
    await using root = new EmulatedRoot({ services: true, proc: true });
    const hostile = [
      "BUN_BE_BUN=1",
      "BUN_OPTIONS=--version",
      "BUN_JSC_useJIT=bad",
      "NODE_OPTIONS=--require=/evil.js",
      "MIMALLOC_SHOW_STATS=1",
      "DO_NOT_TRACK=0",
      "AWKWARD==a=b  \u00fc",
    ];
    // By their numbers: file size, core, processes, open files, locked memory, signals. The kernel has the
    // same numbers for both machines.
    const limits = new Map([
      ["fsize", "1 1000000000 2000000000"],
      ["core", "4 1000 2000"],
      ["nproc", "6 5000 6000"],
      ["nofile", "7 300 4000"],
      ["sigpending", "11 1000 2000"],
    ]);
    const options = [...limits].map(
      ([name, value]) => `--${name}=${value.split(" ").slice(1).join(":")}`,
    );
    const places = ["SYSDIR=/sv", "RUNDIR=/run/sysmgr", "PATH=/bin"];
    root.service("web", "report");
    await root.bootSysmgr(
      [],
      ["env", "-i", ...places, ...hostile, PRLIMIT, ...options],
    );
    await root.until(() => root.read("/run/report"), "it reports");
    const report = root.read("/run/report") ?? "";
    const said = (what: string) => linesOf(report, what);
    expect(said("argument")).toEqual(["/bin/actor", "report", "/sv/web"]);
    expect(said("limit")).toEqual(expect.arrayContaining([...limits.values()]));
    expect(said("ignored")).toEqual([]);
    expect(said("leader")).toEqual(["1"]);
    expect(said("variable").sort()).toEqual(
      [...places, ...hostile, "SYSMGR_SERVICE=web"].sort(),
    );
  },
);

emulatedTest(
  "emulation: an interpreter that is missing looks like an end, not like a failed start, and disturbs nobody",
  async () => {
    await using root = new EmulatedRoot({ services: true, proc: true });
    root.service("web", "wait");
    root.file("broken", "#!/bin/missing\n");
    await root.bootSysmgr();
    const web = await root.up("web");
    // On the machine itself: "cannot start: its interpreter does not exist" (see boot.test.ts), no exit, no start.
    await root.until(() => root.state("broken", "starts") === "2", "2 starts");
    expect(root.state("broken", "exit")).toBe("127");
    expect(root.log()).not.toContain("its interpreter does not exist");
    expect(root.state("web", "pid")).toBe(`${web}`);
  },
);

// There a process that reads its own start time gets another one than all others do. So svctl takes the
// sysmgr that wrote the pid file for another process, and says that none is running.
emulatedTest(
  "emulation: with /proc, which the emulator changes, services are controlled by files alone",
  async () => {
    await using root = new EmulatedRoot({ services: true, proc: true });
    root.service("web", "wait");
    await root.bootSysmgr();
    const killed = await root.up("web");
    root.kill(killed, "SIGKILL");
    const restarted = await root.up("web", killed);
    root.lock("web", "INT");
    await root.down("web");
    expect(root.outside(restarted)).toBeUndefined();
    expect(root.state("web", "exit")).toBe("SIGINT");
    root.unlock("web");
    await root.up("web");
    expect(await root.svctl("status", "web")).toMatchObject({ code: 0 });
    expect(await root.shutDown()).toBe(0);
  },
);

/** What follows a word at the start of lines, in the report of a service. */
function linesOf(report: string, word: string): string[] {
  return report
    .split("\n")
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.slice(word.length + 1));
}
