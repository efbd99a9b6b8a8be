/**
 * The daemons of the cookbook that can be run beside those of this machine, on ports and in directories of
 * their own: what each needs for that, and whether it is at work.
 */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { Resolver } from "node:dns/promises";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import type { Sandbox } from "../integration/sandbox.ts";

export const HOST = "127.0.0.1";

/** Debian keeps servers where ordinary users do not look. */
export const PATH = [
  ...[process.env["PATH"] ?? "/usr/bin:/bin", "/usr/sbin", "/sbin"],
  ...new Bun.Glob("/usr/lib/postgresql/*/bin").scanSync({ onlyFiles: false }),
].join(":");

/** A daemon with what it needs to run in a sandbox. */
export interface Daemon {
  /** The commands that must be installed. */
  readonly commands: readonly string[];
  /** It changes its user, which only root can. */
  readonly needsRoot?: boolean;
  /** Makes its files. @returns what its script is to find in the environment. */
  prepare(box: Sandbox, port: number): Record<string, string>;
  /** Something that only this daemon says, once it is at work. */
  answer(box: Sandbox, port: number): Promise<string | undefined>;
  readonly expected: string;
  /** Removes what it has left outside of the sandbox. */
  cleanUp?(): void;
}

/** It cannot be told another place for its chroot, which is left as it was found. */
const SSHD_CHROOT = "/run/sshd";
const hadSshdChroot = existsSync(SSHD_CHROOT);

export const DAEMONS = {
  nginx: {
    commands: ["nginx"],
    prepare(box, port) {
      const { directory } = box;
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
      const NGINX_CONF = put(
        box,
        "nginx.conf",
        `pid ${directory}/nginx.pid;
worker_processes 2;
events {}
http {
  access_log off;
  ${temporary.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join("\n  ")}
  server { listen ${HOST}:${port}; location / { return 200 "hello"; } }
}`,
      );
      return { NGINX_CONF };
    },
    answer: (_box, port) =>
      converse({ port }, "GET / HTTP/1.0\r\n\r\n", /hello$/),
    expected: "hello",
  },
  redis: {
    commands: ["redis-server", "setpriv"],
    needsRoot: true,
    prepare(box, port) {
      mkdirSync(join(box.directory, "data"));
      chmodSync(join(box.directory, "data"), 0o777);
      const REDIS_CONF = put(
        box,
        "redis.conf",
        // As Debian has it.
        `bind ${HOST}
port ${port}
daemonize yes
pidfile ${box.directory}/data/pid
dir ${box.directory}/data`,
      );
      return { REDIS_CONF };
    },
    answer: (_box, port) => converse({ port }, "PING\r\n", /\+PONG/),
    expected: "+PONG",
  },
  dropbear: {
    commands: ["dropbear", "dropbearkey"],
    prepare: (box, port) => ({
      DROPBEAR_KEY: join(box.directory, "key"),
      DROPBEAR_PORT: `${HOST}:${port}`,
      DROPBEAR_PID: join(box.directory, "dropbear.pid"),
    }),
    answer: (_box, port) => converse({ port }, "", /^SSH-2.0-dropbear/),
    expected: "SSH-2.0-dropbear",
  },
  sshd: {
    commands: ["sshd", "ssh-keygen"],
    needsRoot: true,
    prepare(box, port) {
      const key = join(box.directory, "key");
      complete(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]);
      const SSHD_CONFIG = put(
        box,
        "sshd_config",
        `ListenAddress ${HOST}:${port}\nHostKey ${key}\nPidFile none`,
      );
      return { SSHD_CONFIG };
    },
    answer: (_box, port) => converse({ port }, "", /^SSH-2.0-OpenSSH/),
    expected: "SSH-2.0-OpenSSH",
    cleanUp() {
      if (!hadSshdChroot && existsSync(SSHD_CHROOT)) rmdirSync(SSHD_CHROOT);
    },
  },
  crond: {
    commands: ["busybox"],
    needsRoot: true,
    prepare(box) {
      mkdirSync(join(box.directory, "crontabs"));
      return { CROND_DIR: join(box.directory, "crontabs") };
    },
    // There is nothing to ask it, and it has a job for us once a minute at most.
    answer: (box) => Promise.resolve(/crond \(busybox/.exec(box.log())?.[0]),
    expected: "crond (busybox",
  },
  dbus: {
    commands: ["dbus-daemon"],
    prepare(box) {
      const DBUS_CONF = put(
        box,
        "dbus.conf",
        `<busconfig>
  <listen>unix:path=${box.directory}/bus</listen>
  <policy context="default"><allow send_destination="*"/></policy>
</busconfig>`,
      );
      return { DBUS_CONF };
    },
    answer: (box) =>
      converse(
        { unix: join(box.directory, "bus") },
        "\0AUTH\r\n",
        /^REJECTED EXTERNAL/,
      ),
    expected: "REJECTED EXTERNAL",
  },
  chronyd: {
    commands: ["chronyd"],
    needsRoot: true,
    prepare(box, port) {
      const CHRONYD_CONF = put(
        box,
        "chrony.conf",
        `port ${port}
bindaddress ${HOST}
allow ${HOST}
local stratum 9
cmdport 0
bindcmdaddress /
pidfile ${box.directory}/chronyd.pid
user root`,
      );
      // It must leave the clock alone.
      return { CHRONYD_CONF, CHRONYD_OPTIONS: "-x" };
    },
    answer: (_box, port) => askTime(port),
    expected: "stratum 9",
  },
  dnsmasq: {
    commands: ["dnsmasq"],
    prepare(box, port) {
      const DNSMASQ_CONF = put(
        box,
        "dnsmasq.conf",
        `port=${port}
listen-address=${HOST}
bind-interfaces
no-resolv
no-hosts
user=root
address=/sysmgr.test/127.9.9.9`,
      );
      return { DNSMASQ_CONF };
    },
    needsRoot: true,
    answer: (_box, port) => resolve("sysmgr.test", port),
    expected: "127.9.9.9",
  },
  memcached: {
    commands: ["memcached"],
    needsRoot: true,
    prepare: (_box, port) => ({
      MEMCACHED_USER: "root",
      MEMCACHED_LISTEN: `${HOST}:${port}`,
    }),
    answer: (_box, port) => converse({ port }, "version\r\n", /^VERSION/),
    expected: "VERSION",
  },
  postgresql: {
    commands: ["postgres", "initdb", "psql", "setpriv"],
    needsRoot: true,
    prepare(box, port) {
      const PGDATA = join(box.directory, "data");
      mkdirSync(PGDATA, 0o700);
      complete(["chown", "postgres:", PGDATA]);
      const user = ["--reuid=postgres", "--regid=postgres", "--init-groups"];
      const options = ["--auth=trust", "--no-sync", "--no-locale", "-D"];
      complete(["setpriv", ...user, "initdb", ...options, PGDATA]);
      appendFileSync(
        join(PGDATA, "postgresql.conf"),
        `listen_addresses = '${HOST}'\nport = ${port}\nunix_socket_directories = ''\n`,
      );
      return { PGDATA };
    },
    // An SSLRequest, to which the server says yes or no.
    answer: (_box, port) =>
      converse({ port }, "\0\0\0\u0008\u0004\u00d2\u0016\u002f", /^[NS]/),
    expected: "N",
  },
} satisfies Readonly<Record<string, Daemon>>;

function put(box: Sandbox, name: string, content: string): string {
  const path = join(box.directory, name);
  writeFileSync(path, `${content}\n`);
  return path;
}

function complete(command: readonly string[]): void {
  const { stderr, success } = Bun.spawnSync([...command], {
    env: { ...process.env, PATH },
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (!success) throw new Error(stderr.toString());
}

type Address = { readonly port: number } | { readonly unix: string };

/** Sends something; gives what in the answer matches, or undefined when nothing does or nobody answers. */
async function converse(
  address: Address,
  question: string,
  pattern: RegExp,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let heard = "";
  const socket = {
    open: (connection: Bun.Socket): void => {
      connection.write(Buffer.from(question, "latin1"));
    },
    data: (connection: Bun.Socket, data: Buffer): void => {
      heard += data.toString("latin1");
      const found = pattern.exec(heard)?.[0];
      if (found === undefined) return;
      resolve(found);
      connection.end();
    },
    close: () => resolve(undefined),
    error: () => resolve(undefined),
    connectError: () => resolve(undefined),
  };
  try {
    await ("unix" in address
      ? Bun.connect({ unix: address.unix, socket })
      : Bun.connect({ hostname: HOST, port: address.port, socket }));
  } catch (error) {
    // Nobody listens yet.
    if (!["ECONNREFUSED", "ENOENT"].includes(errorCode(error) ?? ""))
      throw error;
  }
  return await promise;
}

const NTP_BYTES = 48;
const NTP_CLIENT = 0x23;
/** How long a datagram may be on its way before another is sent. */
const ANSWER_PATIENCE = 500;

/** Asks a time server how far it says that it is from a clock. */
async function askTime(port: number): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = await Bun.udpSocket({
    hostname: HOST,
    connect: { hostname: HOST, port },
    socket: {
      data: (_socket, data) => resolve(`stratum ${data[1]}`),
      error: () => resolve(undefined),
    },
  });
  const timer = setTimeout(resolve, ANSWER_PATIENCE);
  const question = Buffer.alloc(NTP_BYTES);
  question[0] = NTP_CLIENT;
  socket.send(question);
  const answer = await promise;
  clearTimeout(timer);
  socket.close();
  return answer;
}

async function resolve(
  name: string,
  port: number,
): Promise<string | undefined> {
  const resolver = new Resolver({ timeout: ANSWER_PATIENCE, tries: 1 });
  resolver.setServers([`${HOST}:${port}`]);
  try {
    return (await resolver.resolve4(name))[0];
  } catch (error) {
    // Nobody listens yet.
    if (!["ECONNREFUSED", "ETIMEOUT"].includes(errorCode(error) ?? ""))
      throw error;
    return undefined;
  }
}
