/** The service scripts of the cookbook, with Debian's daemons: started, killed, stopped, and nothing left. */
import { expect, test } from "bun:test";
import {
  accessSync,
  chmodSync,
  constants,
  readdirSync,
  readFileSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { readArguments, readProcesses } from "../../src/proc.ts";
import { DONE, Sandbox, until } from "../integration/sandbox.ts";
import { type Daemon, DAEMONS, HOST, PATH } from "./daemons.ts";

const COOKBOOK = join(import.meta.dir, "../../src/cookbook");
const GUIDE = "README.md";
/** A database has to be made first, on a slow machine. */
const LONG = 120_000;

const scripts = readdirSync(COOKBOOK).filter((name) => name !== GUIDE);

/** A port that nobody uses at the moment. */
function freePort(): number {
  const listener = Bun.listen({
    hostname: HOST,
    port: 0,
    socket: { data: () => undefined },
  });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** The processes of a service's session, by which also those are found that have changed their environment. */
function session(pid: number): number[] {
  return readProcesses()
    .filter((status) => status.session === pid && !status.ended)
    .map((status) => status.pid);
}

/** Whether it is a process of PostgreSQL that does what a client wants of it. */
function isSleeping(pid: number): boolean {
  const title = readArguments(pid)?.[0] ?? "";
  return title.startsWith("postgres: ") && title.includes(" SELECT");
}

/** Why a daemon cannot be run here. */
function obstacle({ commands, needsRoot }: Daemon): string | undefined {
  const missing = commands.filter((name) => Bun.which(name, { PATH }) === null);
  if (missing.length > 0) return `${missing.join(", ")} not installed`;
  if (needsRoot && process.geteuid?.() !== 0) return "needs root";
  return undefined;
}

/** Starts sysmgr with one daemon, and waits until that is at work. */
async function supervise(
  box: Sandbox,
  name: string,
  daemon: Daemon,
  port: number,
): Promise<number> {
  chmodSync(box.directory, 0o755);
  const environment = daemon.prepare(box, port);
  symlinkSync(join(COOKBOOK, name), join(box.sysdir, name));
  const path = `${box.environment["PATH"] ?? ""}:${PATH}`;
  await box.start([], { ...environment, PATH: path });
  const pid = await box.up(name);
  await atWork(box, name, daemon, port);
  return pid;
}

async function atWork(
  box: Sandbox,
  name: string,
  daemon: Daemon,
  port: number,
): Promise<void> {
  await until(
    async () => (await daemon.answer(box, port)) === daemon.expected,
    () => `${name} answers; the log is:\n${box.log()}`,
  );
}

/** Stops a service, which must not have to be killed. */
async function stop(box: Sandbox, name: string): Promise<void> {
  const pid = await box.up(name);
  expect(await box.svctl("stop", name)).toEqual(DONE);
  expect(session(pid)).toEqual([]);
  expect(box.processes()).toEqual([]);
  expect(box.logOf(name).at(-1)).toBe(`sysmgr: ${name}: stopped`);
  expect(box.log()).not.toContain("killing it");
}

async function keepAlive(name: string, daemon: Daemon): Promise<void> {
  await using box = new Sandbox();
  const port = freePort();
  const first = await supervise(box, name, daemon, port);

  process.kill(first, "SIGKILL");
  await box.up(name, first);
  await atWork(box, name, daemon, port);
  expect(session(first)).toEqual([]);

  await stop(box, name);

  expect(await box.svctl("start", name)).toEqual(DONE);
  await atWork(box, name, daemon, port);
  expect(await box.stop()).toBe(0);
  expect(box.processes()).toEqual([]);
}

/** Declares a test of a daemon; one that cannot be run here is skipped, and says why. */
function daemonTest(
  title: string,
  daemon: Daemon,
  work: () => Promise<void>,
): void {
  const problem = obstacle(daemon);
  if (problem !== undefined) {
    console.warn(`skipped: ${problem}: ${title}`);
    test.skip(`${title} (skipped: ${problem})`, work);
    return;
  }
  test.concurrent(
    title,
    async () => {
      try {
        await work();
      } finally {
        daemon.cleanUp?.();
      }
    },
    LONG,
  );
}

for (const [name, daemon] of Object.entries(DAEMONS))
  daemonTest(`${name} is started, killed and stopped`, daemon, () =>
    keepAlive(name, daemon),
  );

daemonTest(
  "postgresql sends its clients away when it is stopped",
  DAEMONS.postgresql,
  async () => {
    await using box = new Sandbox();
    const port = freePort();
    await supervise(box, "postgresql", DAEMONS.postgresql, port);
    const user = ["-h", HOST, "-p", `${port}`, "-U", "postgres"];
    const query = ["-c", "select pg_sleep(1000)", "postgres"];
    await using client = Bun.spawn(["psql", ...user, ...query], {
      env: { PATH },
      stdio: ["ignore", "ignore", "pipe"],
    });
    await until(
      () => readProcesses().some(({ pid }) => isSleeping(pid)),
      "the client is served",
    );
    await stop(box, "postgresql");
    expect(await client.stderr.text()).toContain("terminating connection");
  },
);

test("every script can be run, says what it is for, and is in the guide", () => {
  const guide = readFileSync(join(COOKBOOK, GUIDE), "utf8");
  for (const name of scripts) {
    accessSync(join(COOKBOOK, name), constants.X_OK);
    expect(readFileSync(join(COOKBOOK, name), "utf8")).toMatch(
      /^#!\/bin\/sh\n# .+\n/,
    );
    expect(guide).toContain(`\`${name}\``);
  }
});

test("shellcheck has nothing to say about them", () => {
  const shellcheck = Bun.which("shellcheck");
  if (shellcheck === null) {
    console.warn("skipped: shellcheck is not installed");
    return;
  }
  const paths = scripts.map((name) => join(COOKBOOK, name));
  const { stdout } = Bun.spawnSync([shellcheck, ...paths]);
  expect(stdout.toString()).toBe("");
});
