/** sysmgr as process 1 of a container or a chroot. */
import { expect, setDefaultTimeout } from "bun:test";
import { until } from "../integration/sandbox.ts";
import { Root, rootTest } from "./root.ts";

setDefaultTimeout(240_000);

/** Milliseconds that thousands of processes may take on a slow machine under load. */
const LONG = 200_000;

const FOREVER = "exec sleep 1000";
/** Starts a process in a session of its own and forgets it, as a daemon does. */
const ORPHAN = (command: string) => `(setsid ${command} &)`;

for (const signal of ["TERM", "INT", "HUP"]) {
  rootTest(
    `as process 1 it keeps services alive, and ${signal} ends it with exit code 0`,
    async () => {
      await using root = new Root();
      root.script("a", FOREVER);
      root.polite("b");
      await root.bootSysmgr();
      const first = await root.up("a");
      await root.politeUp("b");
      root.kill(first, "SIGKILL");
      await root.up("a", first);
      expect(root.state("a", "exit")).toBe("SIGKILL");
      // From inside: the kernel drops signals to process 1 that it has no handler for.
      await root.run(["/bin/kill", `-${signal}`, "1"]);
      expect(await root.ended()).toBe(0);
      expect(root.said()).toEqual(["b"]);
      expect(root.leftovers()).toEqual([]);
    },
  );
}

rootTest("as process 1 it looks again when USR1 asks it to", async () => {
  await using root = new Root();
  await root.bootSysmgr();
  // A file system mounted over the directory gives no event.
  const mounted = await root.run([
    "/bin/mount",
    "-t",
    "tmpfs",
    "-o",
    "mode=755",
    "t",
    "/sv",
  ]);
  expect(mounted.err).toBe("");
  root.script("a", FOREVER);
  await root.run(["/bin/kill", "-USR1", "1"]);
  await root.up("a");
});

for (const proc of [true, false]) {
  rootTest(
    `as process 1 ${proc ? "with" : "without"} /proc it reaps orphans by the thousand and no exit status of its services`,
    async () => {
      await using root = new Root({ proc });
      root.script(
        "breeder",
        `i=0; while [ $i -lt 2000 ]; do (true &); i=$((i+1)); done; touch /run/bred; ${FOREVER}`,
      );
      const codes = Array.from({ length: 10 }, (_, index) => 30 + index);
      for (const code of codes)
        root.script(
          `exits-${code}`,
          `${ORPHAN("true")}; ${ORPHAN("sleep 0.05")}; exit ${code}`,
        );
      await root.bootSysmgr();
      await until(
        () => {
          for (const code of codes)
            expect([undefined, `${code}`]).toContain(
              root.state(`exits-${code}`, "exit"),
            );
          return (
            root.read("/run/bred") !== undefined &&
            codes.every(
              (code) => Number(root.state(`exits-${code}`, "starts")) >= 4,
            )
          );
        },
        "all orphans are born and all services have ended some times",
        LONG,
      );
      for (const code of codes) root.lock(`exits-${code}`, "once");
      await until(() => root.zombies() === 0, "no zombie is left");
      expect(await root.run(["/bin/kill", "1"])).toMatchObject({ code: 0 });
      expect(await root.ended()).toBe(0);
    },
  );
}

rootTest(
  "as process 1 it reaps orphans that end together with services",
  async () => {
    await using root = new Root();
    const names = Array.from({ length: 30 }, (_, index) => `s${index}`);
    const orphans = Array.from({ length: 8 }, () => ORPHAN("sleep 1000")).join(
      "; ",
    );
    for (const name of names) root.script(name, `${orphans}; ${FOREVER}`);
    await root.bootSysmgr();
    for (let round = 1; round <= 6; round++) {
      await until(
        () => root.inhabitants().length === 1 + names.length * 9,
        "all services and their orphans are there",
      );
      const before = names.map((name) => root.pid(name));
      // All but process 1.
      await root.run(["/bin/sh", "-c", "kill -9 -1"]);
      for (const [index, name] of names.entries())
        await root.up(name, before[index]);
      // What is left now stays, since nothing else ends that would remind of it.
      await until(
        () => root.zombies() === 0,
        `no zombie is left after round ${round}`,
      );
      for (const name of names)
        expect(root.state(name, "exit")).toBe("SIGKILL");
    }
  },
);
