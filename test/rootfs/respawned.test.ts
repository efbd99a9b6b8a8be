/** sysmgr under busybox's init, which starts it again whenever it ends. */
import { expect, setDefaultTimeout } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DIST, until } from "../integration/sandbox.ts";
import { Root, rootTest } from "./root.ts";

setDefaultTimeout(180_000);

const RESPAWN = "::respawn:/bin/sysmgr\n";

rootTest(
  "killed or upgraded under init, sysmgr is back with the same processes and locks",
  async () => {
    await using root = new Root();
    inittab(root, RESPAWN);
    root.script("a", "exec sleep 1000");
    root.polite("polite");
    root.script("stopped", "exec sleep 1000");
    await root.boot(["/bin/init"]);
    const pids = {
      a: await root.up("a"),
      polite: await root.politeUp("polite"),
    };
    await root.up("stopped");
    root.lock("stopped", "TERM");
    await root.down("stopped");

    for (let round = 1; round <= 2; round++) {
      await respawned(root, () => root.signalSysmgr("SIGKILL"));
      expect({ a: root.pid("a"), polite: root.pid("polite") }).toEqual(pids);
    }

    root.upgrade(join(DIST, "sysmgr"));
    const sysmgr = await respawned(root, () => root.signalSysmgr("SIGUSR2"));
    expect(executable(root, sysmgr)).toBe(
      statSync(join(root.directory, "bin/sysmgr")).ino,
    );
    expect({ a: root.pid("a"), polite: root.pid("polite") }).toEqual(pids);

    expect(root.state("stopped", "lock")).toBe("TERM");
    expect(root.pid("stopped")).toBeUndefined();
    expect(root.state("stopped", "starts")).toBe("1");
    // What was adopted is kept alive as before.
    root.kill(pids.a, "SIGKILL");
    await root.up("a", pids.a);
    root.unlock("stopped");
    await root.up("stopped");
    await until(
      () => !root.inhabitants().some(({ status }) => status.ended),
      "no zombie is left",
    );
  },
);

rootTest("init powering off ends all services in their own way", async () => {
  // Init kills everything after a second. A busy machine may use that up, but not each time.
  let end = await powerOff();
  for (let again = 2; again > 0 && end.said.length < 2; again--)
    end = await powerOff();
  expect(end.said).toEqual(["one", "two"]);
  expect(end.log).toContain("sysmgr: stopping all services\n");
});

rootTest(
  "init rebooting gives services their time if told to end sysmgr first",
  async () => {
    await using root = new Root();
    inittab(root, `${RESPAWN}::shutdown:/bin/sh /etc/end-sysmgr\n`);
    writeFileSync(
      root.path("/etc/end-sysmgr"),
      "kill $(cat /run/sysmgr/pid)\nwhile [ -e /run/sysmgr/pid ]; do sleep 0.1; done\n",
    );
    // Longer than the second that init gives to all processes.
    root.polite("slow", 2);
    root.polite("quick");
    await root.boot(["/bin/init"]);
    await root.politeUp("slow");
    await root.politeUp("quick");
    process.kill(root.firstProcess, "SIGTERM");
    expect(await root.ended()).toBe("SIGHUP");
    expect(root.read("/run/said")).toBe("quick\nslow\n");
    expect(root.leftovers()).toEqual([]);
  },
);

async function powerOff(): Promise<{ said: string[]; log: string }> {
  await using root = new Root();
  inittab(root, RESPAWN);
  root.polite("one");
  root.polite("two");
  await root.boot(["/bin/init"]);
  await root.politeUp("one");
  await root.politeUp("two");
  process.kill(root.firstProcess, "SIGUSR2");
  // This is how the kernel shows that a namespace was powered off.
  expect(await root.ended()).toBe("SIGINT");
  expect(root.leftovers()).toEqual([]);
  return { said: root.said(), log: root.log() };
}

function inittab(root: Root, text: string): void {
  writeFileSync(root.path("/etc/inittab"), text);
}

/** Does what ends sysmgr and waits until another one supervises; gives its pid as it sees itself. */
async function respawned(root: Root, end: () => void): Promise<number> {
  const before = root.read("/run/sysmgr/pid");
  const adoptions = count(root, /adopted/);
  end();
  await until(
    () => ![before, undefined].includes(root.read("/run/sysmgr/pid")),
    "another sysmgr has written its pid",
  );
  await until(
    () => count(root, /adopted/) === adoptions + 2,
    "both services are adopted",
  );
  return Number(root.read("/run/sysmgr/pid"));
}

function count(root: Root, pattern: RegExp): number {
  return root.messages().filter((line) => pattern.test(line)).length;
}

function executable(root: Root, inside: number): number {
  return statSync(`/proc/${root.outside(inside)}/exe`).ino;
}
