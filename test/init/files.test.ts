/** What the files for init do besides starting sysmgr, and that their own checkers find nothing wrong. */
import { describe, expect, test } from "bun:test";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isRunning, Sandbox, until } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";
import { Machine, obstacle } from "./machine.ts";
import { lacks } from "./packages.ts";

const INIT = join(import.meta.dir, "../../src/init");
const INSTALL = join(import.meta.dir, "../../install.sh");
const LONG = 120_000;

describe("stop", () => {
  test("returns when sysmgr and every service are down", async () => {
    await using sandbox = new Sandbox();
    sandbox.script(
      "slow",
      "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done",
    );
    const { pid } = await sandbox.start();
    const service = await sandbox.up("slow");
    expect(await stop(sandbox)).toMatchObject({ code: 0, err: "" });
    expect(isRunning(service)).toBe(false);
    expect(sandbox.leftovers()).toEqual([]);
    await until(() => !isRunning(pid), "sysmgr has ended");
  });

  test("has nothing to do where there is no sysmgr", async () => {
    await using sandbox = new Sandbox();
    expect(await stop(sandbox)).toMatchObject({ code: 0, err: "" });
  });

  test("leaves a process alone that has got the pid of a dead sysmgr", async () => {
    await using sandbox = new Sandbox();
    const bystander = sandbox.bystander();
    mkdirSync(sandbox.rundir);
    writeFileSync(join(sandbox.rundir, "pid"), `${bystander.pid}\n`);
    expect(await stop(sandbox)).toMatchObject({ code: 0, err: "" });
    expect(isRunning(bystander.pid)).toBe(true);
  });

  test("does not wait for what sysmgr has left when it was killed", async () => {
    await using sandbox = new Sandbox();
    await sandbox.start();
    await sandbox.crash();
    expect(sandbox.ownPid()).toBeNumber();
    expect(await stop(sandbox)).toMatchObject({ code: 0, err: "" });
  });

  test("gives up in the end, so that a shutdown goes on", async () => {
    await using sandbox = new Sandbox();
    sandbox.script("stubborn", "trap '' TERM; while :; do sleep 0.1; done");
    await sandbox.start(["-t", "60"]);
    await sandbox.up("stubborn");
    const patience = (script: string) =>
      script.replace(/^patience=\d+$/m, "patience=1");
    const { code, err } = await stop(sandbox, patience);
    expect(code).toBe(1);
    expect(err).toContain(`sysmgr (pid ${sandbox.daemon.pid}) is still`);
  });

  /** Runs it as it is installed for the run directory of a sandbox. */
  async function stop(
    sandbox: Sandbox,
    change: (script: string) => string = (script) => script,
  ) {
    const script = await Bun.file(join(INIT, "stop")).text();
    const placed = script.replaceAll("/run/sysmgr", sandbox.rundir);
    return sandbox.run(["sh", "-c", change(placed)]);
  }
});

const noRunit = obstacle("host") ?? lacks("runsvdir", "runsv", "sv");
test.skipIf(noRunit !== undefined)(
  noRunit
    ? `skipped: runit: ${noRunit}`
    : "sv force-stop ends sysmgr with all its services, also before their time is over",
  async () => {
    await using machine = new Machine("host");
    machine.install("--init", "runit");
    mkdirSync(machine.at("service"));
    symlinkSync("/etc/sv/sysmgr", machine.at("service/sysmgr"));
    machine.service(
      "stubborn",
      "trap '' TERM\necho $$ >/pids\nwhile :; do sleep 0.1; done",
    );
    machine.boot(["/usr/bin/runsvdir", "-P", "/service"]);
    await until(() => machine.read("pids"), "the service runs");
    const stubborn = await machine.started("stubborn/pid");

    await machine.run("sv", "-w", "1", "force-stop", "/service/sysmgr");
    await until(
      () => machine.leftovers().length === 0,
      () => `sysmgr has ended\n${machine.messages()}`,
      // Long before its services' ten seconds are over.
      6000,
    );
    const alive = await machine.run("kill", "-0", String(stubborn));
    expect(alive.code).not.toBe(0);
    await until(async () => {
      const { out } = await machine.run("sv", "status", "/service/sysmgr");
      return out.startsWith("down: ");
    }, "sv says that it is down");
  },
  LONG,
);

const noSystemd = lacks("systemd-analyze");
test.skipIf(noSystemd !== undefined)(
  noSystemd
    ? `skipped: systemd: ${noSystemd}`
    : "systemd-analyze finds nothing wrong with the unit",
  () => {
    using directory = new TemporaryDirectory();
    directory.file("sysmgr", "#!/bin/sh\n", 0o755);
    const unit = readFileSync(join(INIT, "systemd/sysmgr.service"), "utf8");
    const text = unit.replaceAll("/usr/bin/sysmgr", directory.at("sysmgr"));
    const path = directory.file("sysmgr.service", text);
    const { exitCode, stdout, stderr } = Bun.spawnSync([
      "systemd-analyze",
      "verify",
      "--man=no",
      "--recursive-errors=no",
      path,
    ]);
    expect(`${stdout}${stderr}${exitCode}`).toBe("0");
  },
);

const noDinit = lacks("dinitcheck");
test.skipIf(noDinit !== undefined)(
  noDinit
    ? `skipped: dinit: ${noDinit}`
    : "dinitcheck finds nothing wrong with the service description",
  () => {
    using directory = new TemporaryDirectory();
    const root = directory.at("root");
    Bun.spawnSync(["sh", INSTALL, "--destdir", root, "--init", "dinit"]);
    const services = join(root, "etc/dinit.d");
    expect(readdirSync(services)).toEqual(["sysmgr"]);
    const check = ["dinitcheck", "--services-dir", services, "sysmgr"];
    expect(Bun.spawnSync(check).exitCode).toBe(0);
  },
);
