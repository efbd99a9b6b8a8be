/** Real servers, as Debian has them, under supervision: what all the promises together are for. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readProcesses } from "../../src/proc.ts";
import { DONE, Sandbox, until } from "./sandbox.ts";

setDefaultTimeout(180_000);

/** Debian keeps servers where ordinary users do not look. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
const HOST = "127.0.0.1";

/** A server that can be had as a package. */
interface Daemon {
  /** The command that must be installed. */
  readonly command: string;
  /** Puts what it needs into the sandbox. @returns its script. */
  prepare(box: Sandbox, port: number): string;
  /** What it says on its port; undefined when it does not answer. */
  ask(port: number): Promise<string | undefined>;
  /** What it is expected to say. */
  readonly answer: string;
}

const DAEMONS: Readonly<Record<string, Daemon>> = {
  "busybox httpd": {
    command: "busybox",
    prepare(box, port) {
      mkdirSync(join(box.directory, "www"));
      writeFileSync(join(box.directory, "www/index.html"), "hello\n");
      return `exec busybox httpd -f -p ${HOST}:${port} -h "$DIR/www"`;
    },
    ask: fetchText,
    answer: "hello\n",
  },
  "redis-server": {
    command: "redis-server",
    prepare: (_box, port) =>
      `exec redis-server --bind ${HOST} --port ${port} --dir "$DIR" --save "3600 1" --daemonize no`,
    ask: (port) => converse(port, "PING\r\n"),
    answer: "+PONG\r\n",
  },
  nginx: {
    command: "nginx",
    prepare(box, port) {
      configureNginx(box, port, "one");
      return 'exec nginx -e "$DIR/nginx.error" -c "$DIR/nginx.conf"';
    },
    ask: fetchText,
    answer: "one\n",
  },
  dropbear: {
    command: "dropbear",
    prepare(box, port) {
      const key = join(box.directory, "hostkey");
      const made = Bun.spawnSync(["dropbearkey", "-t", "ed25519", "-f", key]);
      expect(made.exitCode).toBe(0);
      return `exec dropbear -F -E -r "$DIR/hostkey" -P "$DIR/dropbear.pid" -p ${HOST}:${port}`;
    },
    ask: async (port) =>
      (await converse(port, ""))?.slice(0, "SSH-2.0-dropbear".length),
    answer: "SSH-2.0-dropbear",
  },
};

function configureNginx(box: Sandbox, port: number, answer: string): void {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${box.directory}/${kind};`)
    .join("\n  ");
  writeFileSync(
    join(box.directory, "nginx.conf"),
    `daemon off;
worker_processes 2;
pid ${box.directory}/nginx.pid;
events {}
http {
  access_log off;
  ${temporary}
  server { listen ${HOST}:${port}; location / { return 200 "${answer}\\n"; } }
}
`,
  );
}

async function fetchText(port: number): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${HOST}:${port}/`, {
      keepalive: false,
    });
    return await response.text();
  } catch {
    // Nobody listens, or it has just been killed.
    return undefined;
  }
}

/** Sends something and gives the first that comes back. */
async function converse(
  port: number,
  question: string,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  try {
    const socket = await Bun.connect({
      hostname: HOST,
      port,
      socket: {
        data: (_socket, data) => resolve(data.toString()),
        close: () => resolve(undefined),
        error: () => resolve(undefined),
      },
    });
    if (question !== "") socket.write(question);
    const answer = await promise;
    socket.end();
    return answer;
  } catch {
    // Nobody listens.
    return undefined;
  }
}

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

async function answers(
  { ask }: Daemon,
  port: number,
  answer: string,
): Promise<void> {
  await until(
    async () => (await ask(port)) === answer,
    `it answers ${JSON.stringify(answer)} on its port`,
  );
}

/** Whether the port can be had again, which is what a server's next start needs. */
function isFree(port: number): boolean {
  try {
    Bun.listen({
      hostname: HOST,
      port,
      socket: { data: () => undefined },
    }).stop(true);
    return true;
  } catch {
    return false;
  }
}

interface Served {
  readonly box: Sandbox;
  readonly port: number;
  readonly pid: number;
}

/** Sysmgr with one daemon, named `d`, that answers. */
async function serve(daemon: Daemon): Promise<Served> {
  const box = new Sandbox();
  const port = freePort();
  box.script("d", daemon.prepare(box, port));
  await box.start([], { PATH: `${box.environment["PATH"] ?? ""}:${PATH}` });
  const pid = await box.up("d");
  await answers(daemon, port, daemon.answer);
  return { box, port, pid };
}

/** Declares a test of a daemon; one that is not installed is skipped, and says so. */
function testOf(
  name: string,
  what: string,
  check: (daemon: Daemon, served: Served) => Promise<void>,
): void {
  const daemon = DAEMONS[name];
  if (daemon === undefined) throw new Error(`no daemon ${name}`);
  if (Bun.which(daemon.command, { PATH }) === null) {
    test.skip(`${name} ${what} (skipped: ${daemon.command} is not installed)`, () =>
      undefined);
    return;
  }
  test.concurrent(`${name} ${what}`, async () => {
    const served = await serve(daemon);
    await using box = served.box;
    try {
      await check(daemon, served);
    } finally {
      // Nginx overwrites its environment, by which the sandbox finds what is left.
      const last = box.pid("d") ?? served.pid;
      for (const pid of session(last)) process.kill(pid, "SIGKILL");
    }
  });
}

for (const name of Object.keys(DAEMONS)) {
  testOf(
    name,
    "answers again after kill -9 of its main process",
    async (daemon, { box, port, pid }) => {
      for (let before = pid, lap = 0; lap < 3; lap++) {
        process.kill(before, "SIGKILL");
        const now = await box.up("d", before);
        await answers(daemon, port, daemon.answer);
        expect(session(before)).toEqual([]);
        before = now;
      }
      // Its port was free each time, so no start was in vain.
      expect(box.state("d", "starts")).toBe("4");
    },
  );

  testOf(
    name,
    "answers after svctl restart",
    async (daemon, { box, port, pid }) => {
      for (let lap = 0; lap < 3; lap++)
        expect(await box.svctl("restart", "d")).toEqual(DONE);
      await answers(daemon, port, daemon.answer);
      expect(session(pid)).toEqual([]);
      expect(box.state("d", "starts")).toBe("4");
    },
  );

  testOf(
    name,
    "frees its port at svctl stop and leaves no process",
    async (daemon, { box, port, pid }) => {
      expect(await box.svctl("stop", "d")).toEqual(DONE);
      expect(session(pid)).toEqual([]);
      expect(await daemon.ask(port)).toBeUndefined();
      expect(isFree(port)).toBeTrue();
      expect(await box.svctl("start", "d")).toEqual(DONE);
      await answers(daemon, port, daemon.answer);
    },
  );

  testOf(
    name,
    "goes on when sysmgr is killed, and is kept by the next",
    async (daemon, { box, port, pid }) => {
      await box.crash();
      await answers(daemon, port, daemon.answer);
      await box.start();
      await box.logged(/d: adopted/);
      expect(box.pid("d")).toBe(pid);
      process.kill(pid, "SIGKILL");
      await box.up("d", pid);
      await answers(daemon, port, daemon.answer);
      expect(session(pid)).toEqual([]);
    },
  );

  testOf(name, "goes with sysmgr", async (_daemon, { box, port, pid }) => {
    expect(await box.stop()).toBe(0);
    expect(session(pid)).toEqual([]);
    expect(isFree(port)).toBeTrue();
    expect(box.leftovers()).toEqual([]);
  });
}

testOf(
  "nginx",
  "reads its configuration again at svctl reload",
  async (daemon, { box, port, pid }) => {
    configureNginx(box, port, "two");
    expect(await box.svctl("reload", "d")).toEqual(DONE);
    await answers(daemon, port, "two\n");
    expect(box.pid("d")).toBe(pid);
    expect(box.state("d", "starts")).toBe("1");
  },
);

testOf(
  "redis-server",
  "has time to save its data before it is restarted",
  async (daemon, { box, port }) => {
    expect(await converse(port, "SET key value\r\n")).toBe("+OK\r\n");
    expect(await box.svctl("restart", "d")).toEqual(DONE);
    await answers(daemon, port, daemon.answer);
    await until(
      async () => (await converse(port, "GET key\r\n")) === "$5\r\nvalue\r\n",
      "it has its data",
    );
  },
);

testOf("busybox httpd", "can be waited for", async (daemon, { box, port }) => {
  await box.svctl("stop", "d");
  box.script("client", `sysmgr-depends d; touch $DIR/passed; exec sleep 1000`);
  await until(() => box.state("client", "waiting") === "d", "the client waits");
  expect(await box.svctl("start", "d")).toEqual(DONE);
  await until(() => box.read("passed") !== undefined, "the client goes on");
  await answers(daemon, port, daemon.answer);
});
