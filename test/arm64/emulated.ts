/**
 * A root directory with nothing in it but the binary for arm64, run by qemu's user-mode emulation in
 * namespaces of its own. That qemu runs such programs is known to the kernel within these namespaces only,
 * where the kernel can keep it so (since Linux 6.7); otherwise it must be known to the whole machine already.
 */
import { test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { readProcess, readProcesses } from "../../src/proc.ts";
import { MACHINES, isHost } from "../../src/static-link/machines.ts";
import {
  ToolchainError,
  findToolchain,
} from "../../src/static-link/toolchain.ts";
import { type Outcome, until } from "../integration/sandbox.ts";

const MACHINE = MACHINES.aarch64;
const NAME = `sysmgr-linux-${MACHINE.hostArch}`;
const BINARY = join(import.meta.dir, "../../dist", NAME);
const ACTOR = join(import.meta.dir, "actor.c");
const HOST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const CHROOT = Bun.which("chroot", { PATH: HOST_PATH }) ?? "chroot";
/** Emulation is slow, and slower on a busy machine (milliseconds). */
export const PATIENCE = 60_000;
const MENTIONED_LINES = 20;

const EMULATOR = Bun.which(`qemu-${MACHINE.name}-static`, { PATH: HOST_PATH });
const FORMATS = "/proc/sys/fs/binfmt_misc";
/** The first bytes of an executable for arm64, of type 2 or 3, and which bits of them count. */
const MAGIC = String.raw`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`;
const MASK = String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`;
/** P: a program learns the name it was called by. F: the emulator is found from within any root. */
const REGISTER = `mount -t binfmt_misc binfmt_misc ${FORMATS} && printf %s ':sysmgr-test:M::${MAGIC}:${MASK}:${EMULATOR}:PF' > ${FORMATS}/register`;

const UNSHARE = [
  // Should the test be killed, so is everything it has started.
  ...["setpriv", "--pdeathsig", "KILL"],
  ...["unshare", "--user", "--map-root-user", "--pid", "--mount"],
  ...["--fork", "--kill-child", "--propagation", "private"],
];
const NSENTER = [
  ...["nsenter", "--user", "--preserve-credentials"],
  ...["--pid", "--mount", "--root", "--wd"],
];

/** How the kernel gets to know the emulator, as a shell says it; undefined when it does not. */
const registration = findRegistration();

/** Why nothing can be tried here; undefined when it can. */
export const unavailable = whyUnavailable();

/** A test under emulation: where that is not possible it is skipped, and says why. */
export function emulatedTest(name: string, work: () => Promise<void>): void {
  if (unavailable === undefined) {
    test(name, work);
    return;
  }
  console.warn(`skipped: ${unavailable}: ${name}`);
  test.skip(`${name} (skipped: ${unavailable})`, work);
}

export interface Furniture {
  /** The names of the binary, directories, and the interpreter of services; nothing but the binary unless given. */
  readonly services?: boolean;
  /** /proc is mounted; not unless given. */
  readonly proc?: boolean;
}

export class EmulatedRoot implements AsyncDisposable {
  readonly #outer = realpathSync(mkdtempSync(join(tmpdir(), "sysmgr-arm64-")));
  readonly directory = join(this.#outer, "root");
  readonly #logFile = join(this.#outer, "log");
  readonly #furniture: Furniture;
  readonly #helpers: Bun.Subprocess[] = [];
  #unshare: Bun.Subprocess | undefined;
  #first: number | undefined;

  constructor(furniture: Furniture = {}) {
    this.#furniture = furniture;
    mkdirSync(this.directory);
    if (!furniture.services) {
      place(BINARY, join(this.directory, NAME));
      return;
    }
    for (const name of ["bin", "sv", "run", "proc"])
      mkdirSync(join(this.directory, name));
    place(BINARY, join(this.directory, "bin/sysmgr"));
    for (const name of ["svctl", "sysmgr-depends"])
      symlinkSync("sysmgr", join(this.directory, "bin", name));
    compileActor(join(this.directory, "bin/actor"));
  }

  /** Puts a service into SYSDIR that plays a part (see actor.c). */
  service(name: string, part: string): void {
    this.file(name, `#!/bin/actor ${part}\n`);
  }

  /** Puts any program into SYSDIR, complete from the first moment. */
  file(name: string, content: string | Uint8Array): void {
    const temporary = join(this.directory, "sv", `.new-${name}`);
    writeFileSync(temporary, content, { mode: 0o755 });
    renameSync(temporary, join(this.directory, "sv", name));
  }

  /** Starts process 1 and waits until it is in the root. */
  async boot(
    command: readonly string[],
    through: readonly string[] = [],
  ): Promise<void> {
    const log = openSync(this.#logFile, "a");
    const unshare = Bun.spawn([...this.#becoming(command, through)], {
      env: this.#environment,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#unshare = unshare;
    this.#first = await until(
      () => {
        if (unshare.exitCode !== null) throw new Error(this.log());
        return readProcesses().find(
          ({ parent, pid }) =>
            parent === unshare.pid && this.#rootOf(pid) === this.directory,
        )?.pid;
      },
      "process 1 is in its root",
      PATIENCE,
    );
  }

  /** Starts sysmgr as process 1 and waits until it supervises. */
  async bootSysmgr(
    options: readonly string[] = [],
    through: readonly string[] = [],
  ): Promise<void> {
    await this.boot(["/bin/sysmgr", ...options], through);
    await this.until(
      () => this.read("/run/sysmgr/pid") === "1\n",
      "sysmgr has written its pid",
    );
  }

  /** Starts sysmgr in the root that has been booted, and waits until it supervises. */
  async startSysmgr(): Promise<Bun.Subprocess> {
    const before = this.read("/run/sysmgr/pid");
    const log = openSync(this.#logFile, "a");
    const helper = Bun.spawn([...this.#entering(["/bin/sysmgr"])], {
      env: this.#environment,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#helpers.push(helper);
    await this.until(
      () => ![before, undefined].includes(this.read("/run/sysmgr/pid")),
      "sysmgr has written its pid",
    );
    return helper;
  }

  /** Runs a command as process 1, to its end. */
  runAlone(
    command: readonly string[],
    through: readonly string[] = [],
  ): Promise<Outcome> {
    return this.#outcome(this.#becoming(command, through));
  }

  svctl(...parameters: readonly string[]): Promise<Outcome> {
    const svctl = ["/bin/svctl", "-w", "60", ...parameters];
    return this.#outcome(this.#entering(svctl));
  }

  depends(...parameters: readonly string[]): Promise<Outcome> {
    return this.#outcome(
      this.#entering(["/bin/sysmgr-depends", ...parameters]),
    );
  }

  /** Writes a lock as `echo` does. */
  lock(service: string, text: string): void {
    writeFileSync(
      join(this.directory, "run/sysmgr", service, "lock"),
      `${text}\n`,
    );
  }

  unlock(service: string): void {
    rmSync(join(this.directory, "run/sysmgr", service, "lock"));
  }

  async down(service: string): Promise<void> {
    await this.until(
      () => this.state(service, "pid") === undefined,
      `${service} is down`,
    );
  }

  /** Ends process 1 by TERM and gives its exit code. */
  async shutDown(): Promise<number> {
    if (this.#unshare === undefined) throw new Error("nothing was booted");
    process.kill(this.#firstProcess, "SIGTERM");
    return await this.#unshare.exited;
  }

  read(inside: string): string | undefined {
    try {
      return readFileSync(join(this.directory, inside), "utf8");
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      return undefined;
    }
  }

  /** What a state file says, without its newline. */
  state(service: string, file: string): string | undefined {
    return this.read(`/run/sysmgr/${service}/${file}`)?.trimEnd();
  }

  /** Waits until a service runs, as another process than `before`, and gives its pid as it sees itself. */
  up(service: string, before?: number): Promise<number> {
    return this.until(() => {
      const pid = Number(this.state(service, "pid") ?? before);
      return pid !== before && pid;
    }, `${service} runs`);
  }

  until<T>(
    condition: () => T | undefined | false | null,
    what: string,
  ): Promise<T> {
    return until(
      condition,
      () =>
        `${what}; the log ends so:\n${this.log().split("\n").slice(-MENTIONED_LINES).join("\n")}`,
      PATIENCE,
    );
  }

  /** The pid that we see of a running process of the root; undefined when there is none. */
  outside(inside: number): number | undefined {
    return readProcesses().find(
      ({ pid, ended }) =>
        !ended &&
        this.#rootOf(pid) === this.directory &&
        innermostPid(pid) === inside,
    )?.pid;
  }

  kill(inside: number, signal: NodeJS.Signals): void {
    const pid = this.outside(inside);
    if (pid === undefined) throw new Error(`there is no process ${inside}`);
    process.kill(pid, signal);
  }

  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, "utf8") : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#unshare !== undefined) {
      this.#unshare.kill("SIGKILL");
      await this.#unshare.exited;
    }
    for (const helper of this.#helpers) {
      helper.kill("SIGKILL");
      await helper.exited;
    }
    const first = this.#first;
    if (first !== undefined)
      await until(
        () => readProcess(first)?.parent !== this.#unshare?.pid,
        "every process of the root is gone",
      );
    rmSync(this.#outer, { recursive: true, force: true });
  }

  get #environment(): Record<string, string> {
    return { PATH: HOST_PATH, SYSDIR: "/sv", RUNDIR: "/run/sysmgr" };
  }

  get #firstProcess(): number {
    if (this.#first === undefined) throw new Error("nothing was booted");
    return this.#first;
  }

  #rootOf(pid: number): string | undefined {
    try {
      return readlinkSync(`/proc/${pid}/root`);
    } catch (error) {
      if (!["ENOENT", "ESRCH", "EACCES"].includes(errorCode(error) ?? ""))
        throw error;
      return undefined;
    }
  }

  #becoming(
    command: readonly string[],
    through: readonly string[],
  ): readonly string[] {
    const steps = [
      ...["set -e", "root=$1", "shift", registration ?? "false"],
      ...(this.#furniture.proc ? ['mount -t proc proc "$root/proc"'] : []),
      'exec "$@"',
    ];
    return [
      ...[...UNSHARE, "sh", "-c", steps.join("; "), "sh", this.directory],
      ...[...through, CHROOT, this.directory, ...command],
    ];
  }

  #entering(command: readonly string[]): readonly string[] {
    return [...NSENTER, `--target=${this.#firstProcess}`, ...command];
  }

  async #outcome(command: readonly string[]): Promise<Outcome> {
    const child = Bun.spawn([...command], {
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [out, err, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { code, out, err };
  }
}

/** Puts a large file somewhere else, and uses the disk only if it must. */
function place(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK"].includes(errorCode(error) ?? ""))
      throw error;
    copyFileSync(from, to);
  }
}

let actor: Uint8Array | undefined;

/** Compiles the actor once, for all roots. */
function compileActor(path: string): void {
  if (actor === undefined) {
    const flags = "-std=gnu11 -O1 -Wall -Wextra -Werror -static";
    const { compiler } = findToolchain(MACHINE);
    const command = [compiler, ...flags.split(" "), ACTOR, "-o", path];
    const { success, stderr } = Bun.spawnSync(command);
    if (!success) throw new Error(stderr.toString());
    actor = readFileSync(path);
  }
  writeFileSync(path, actor, { mode: 0o755 });
}

function innermostPid(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^NSpid:.*\s(\d+)$/m.exec(text)?.[1]);
  } catch (error) {
    if (!["ENOENT", "ESRCH"].includes(errorCode(error) ?? "")) throw error;
    return undefined;
  }
}

function findRegistration(): string | undefined {
  if (isHost(MACHINE)) return "true";
  if (EMULATOR === null) return undefined;
  const entry = `${FORMATS}/qemu-${MACHINE.name}`;
  const known = existsSync(entry) ? readFileSync(entry, "latin1") : "";
  const flags = /^flags: (.*)$/m.exec(known)?.[1] ?? "";
  if (/^enabled$/m.test(known) && flags.includes("P") && flags.includes("F"))
    return "true";
  const trial = Bun.spawnSync([...UNSHARE, "sh", "-c", REGISTER], {
    env: { PATH: HOST_PATH },
  });
  return trial.success ? REGISTER : undefined;
}

function whyUnavailable(): string | undefined {
  if (!isHost(MACHINE) && EMULATOR === null)
    return `no qemu-${MACHINE.name}-static (Debian: qemu-user-static)`;
  if (registration === undefined)
    return "no namespaces in which binfmt_misc can be mounted, and none that knows the emulator";
  if (!existsSync(BINARY))
    return `no dist/${NAME}; run: bun run build --target=linux-${MACHINE.hostArch}`;
  try {
    findToolchain(MACHINE);
    return undefined;
  } catch (error) {
    if (!(error instanceof ToolchainError)) throw error;
    return error.message;
  }
}
