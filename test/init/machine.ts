/**
 * A machine in miniature: a root directory of its own and an init as process 1 of namespaces of its own.
 * Nothing of it reaches the machine that the tests run on, and all of it is gone when it is closed.
 */
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readProcesses } from "../../src/proc.ts";
import { readExecutable } from "../../src/release/machine.ts";
import {
  DIST,
  isRunning,
  type Outcome,
  until,
} from "../integration/sandbox.ts";

const INSTALL = join(import.meta.dir, "../../install.sh");
const TOOLS = ["unshare", "nsenter", "busybox"] as const;
/** A shutdown may wait for a service's whole stop timeout, on a slow machine. */
const SHUTDOWN_PATIENCE = 60_000;

/** What programs a machine has. */
export type Userland = "busybox" | "host";

/** Why no machine can be made here; undefined where it can. */
export function obstacle(userland: Userland): string | undefined {
  if (process.geteuid?.() !== 0) return "namespaces and chroot need root";
  const missing = TOOLS.filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `${missing.join(", ")} not installed`;
  const { success } = Bun.spawnSync(
    ["unshare", "--pid", "--mount", "--fork", "true"],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  if (!success) return "no namespaces can be made here";
  if (!existsSync(join(DIST, "sysmgr"))) return "dist/sysmgr is not built";
  const executable = readExecutable(join(DIST, "sysmgr"));
  if (userland === "busybox" && executable?.dynamic !== false)
    return "dist/sysmgr is not static";
  return undefined;
}

export class Machine implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), "sysmgr-machine-"));
  readonly #userland: Userland;
  #init: Bun.Subprocess | undefined;

  /** @param cleanUp is called at the end, when nothing of it runs any more. */
  constructor(
    userland: Userland,
    readonly cleanUp?: (machine: Machine) => void,
  ) {
    this.#userland = userland;
    chmodSync(this.root, 0o755);
    for (const name of ["dev", "etc", "proc", "run", "sys", "tmp", "var/log"])
      mkdirSync(join(this.root, name), { recursive: true });
    if (userland === "busybox") this.#furnishWithBusybox();
    else this.#furnishAsHost();
  }

  #furnishWithBusybox(): void {
    mkdirSync(join(this.root, "bin"));
    cpSync(Bun.which("busybox") ?? "", join(this.root, "bin/busybox"));
    symlinkSync("bin", join(this.root, "sbin"));
    Bun.spawnSync(
      [
        "unshare",
        `--root=${this.root}`,
        "/bin/busybox",
        "--install",
        "-s",
        "/bin",
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
  }

  /** /usr is the host's, which is mounted when it boots; what a test puts into these directories is its own. */
  #furnishAsHost(): void {
    for (const name of ["usr", "sbin", "lib"]) mkdirSync(join(this.root, name));
    symlinkSync("usr/bin", join(this.root, "bin"));
    for (const name of readdirSync("/usr/lib"))
      symlinkSync(`../usr/lib/${name}`, join(this.root, "lib", name));
    if (existsSync("/usr/lib64"))
      symlinkSync("usr/lib64", join(this.root, "lib64"));
  }

  at(path: string): string {
    return join(this.root, path);
  }

  /** Writes a file, and makes the directories that it is in. */
  file(path: string, content: string, mode = 0o644): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), content);
    chmodSync(this.at(path), mode);
  }

  /** Appends lines to a file that may be there already. */
  append(path: string, content: string): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), content, { flag: "a" });
  }

  read(path: string): string | undefined {
    return existsSync(this.at(path))
      ? readFileSync(this.at(path), "utf8")
      : undefined;
  }

  /** Installs sysmgr into it as install.sh does. */
  install(...parameters: readonly string[]): void {
    this.installFrom(INSTALL, ...parameters);
  }

  /** The same from somewhere else, such as an unpacked archive. */
  installFrom(script: string, ...parameters: readonly string[]): void {
    const prefix = this.#userland === "host" ? ["--prefix=/opt"] : [];
    const command = ["sh", script, "--destdir", this.root, ...prefix];
    const { exitCode, stderr } = Bun.spawnSync([...command, ...parameters]);
    if (exitCode !== 0) throw new Error(`install.sh: ${stderr.toString()}`);
  }

  /** Puts a shell script into the service directory. */
  service(name: string, body: string): void {
    this.file(`var/sysmgr/${name}`, `#!/bin/sh\n${body}\n`, 0o755);
  }

  /** Starts its process 1. `before` is done as root of the host, in the machine's namespaces, with $R its root. */
  boot(init: readonly string[], before = ":"): void {
    const log = openSync(this.at("console"), "a");
    this.#init = Bun.spawn(
      [
        "unshare",
        "--pid",
        "--mount",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "sh",
        "-ec",
        `mount -t proc proc "$R/proc"
mount -t tmpfs -o mode=755 dev "$R/dev"
mknod -m 666 "$R/dev/null" c 1 3
mknod -m 666 "$R/dev/zero" c 1 5
mknod -m 666 "$R/dev/urandom" c 1 9
ln -s null "$R/dev/console"
${this.#userland === "host" ? 'mount -o bind,ro /usr "$R/usr"' : ""}
${before}
exec chroot "$R" "$@"`,
        "sh",
        ...init,
      ],
      {
        // Nothing of the one who runs the tests is to be found in it.
        env: {
          PATH: "/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin",
          R: this.root,
        },
        cwd: "/",
        stdio: ["ignore", log, log],
      },
    );
    closeSync(log);
  }

  /** The process of the host that is process 1 in the machine. */
  #hostPid(): number | undefined {
    const outer = this.#init?.pid;
    return readProcesses().find(({ parent }) => parent === outer)?.pid;
  }

  /** Runs a command in the machine. */
  async run(...command: readonly string[]): Promise<Outcome> {
    const target = await until(() => this.#hostPid(), "there is a process 1");
    const child = Bun.spawn(
      [
        "nsenter",
        `--target=${target}`,
        "--pid",
        "--mount",
        "--uts",
        "--ipc",
        "--root",
        "--wd",
        ...command,
      ],
      {
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin" },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const [out, err, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { code, out, err };
  }

  /** The pid in a state file, as it is inside. */
  pid(name: string): number | undefined {
    const text = this.read(`run/sysmgr/${name}`)?.trim();
    return text ? Number(text) : undefined;
  }

  /** Waits until a pid file names another process than `before`. */
  async started(name: string, before?: number): Promise<number> {
    return until(
      () => {
        const pid = this.pid(name);
        return pid !== before && pid;
      },
      () => `${name} names a process\n${this.messages()}`,
    );
  }

  /** Ends it as if the power had failed. */
  halt(): void {
    const inside = this.#hostPid();
    // The kernel ends all processes of a pid namespace with its first.
    if (inside !== undefined) process.kill(inside, "SIGKILL");
  }

  /** What is left in the run directory. */
  leftovers(): string[] {
    const rundir = this.at("run/sysmgr");
    return existsSync(rundir) ? readdirSync(rundir) : [];
  }

  /** Waits until process 1 has ended. */
  async off(): Promise<void> {
    await until(
      () => this.#init?.exitCode !== null || this.#init.signalCode !== null,
      () => `it is off\n${this.messages()}`,
      SHUTDOWN_PATIENCE,
    );
  }

  /** What has been said, for the message of a test that fails. */
  messages(): string {
    return ["console", "var/log/sysmgr.log", "log"]
      .map((name) => `--- ${name}:\n${this.read(name) ?? ""}`)
      .join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const inside = this.#hostPid();
    this.halt();
    this.#init?.kill("SIGKILL");
    await this.#init?.exited;
    // It ends when every other process of the namespace has ended.
    await until(
      () => inside === undefined || !isRunning(inside),
      "nothing of the machine runs any more",
    );
    this.cleanUp?.(this);
    // Mounts are seen in its own namespace only, but what is mounted must never be removed.
    if (readFileSync("/proc/self/mountinfo", "utf8").includes(this.root))
      throw new Error(`something is mounted below ${this.root}`);
    rmSync(this.root, { recursive: true, force: true });
  }
}
