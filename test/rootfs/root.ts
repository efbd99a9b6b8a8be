/**
 * A root directory with nothing in it but the built binary, its links and a static busybox, run in
 * namespaces of its own: what is not put there is missing, process 1 is whatever the test wants, and when
 * process 1 is killed the kernel removes every process and every mount.
 */
import { test } from "bun:test";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
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
import {
  type ProcessStatus,
  readProcess,
  readProcesses,
} from "../../src/proc.ts";
import { readElf, segmentsOf } from "../../src/static-link/elf.ts";
import { DIST, type Outcome, until } from "../integration/sandbox.ts";

/** What there is in a root, beside the binary. */
export interface Furniture {
  /** /proc is mounted; yes unless said otherwise. */
  readonly proc?: boolean;
  /** /dev with a null device, /dev without one, or no /dev. */
  readonly dev?: "null" | "empty" | "none";
  /** Busybox under these names, all in /bin. */
  readonly commands?: readonly string[];
  /** A file system in memory is mounted here. */
  readonly tmpfs?: string;
  /** Nothing can be written but to the tmpfs. */
  readonly readOnly?: boolean;
}

/** How process 1 of a root is started, where it is not in the plainest way. */
export interface Boot {
  /** A command of the host that ends in becoming what its further arguments say, such as `nice`. */
  readonly through?: readonly string[];
  /** Standard descriptors that it is to find closed. */
  readonly closed?: readonly number[];
}

/** A process of a root. */
export interface Inhabitant {
  /** Its pid as this test sees it. */
  readonly outside: number;
  /** Its pid as it sees itself. */
  readonly inside: number;
  readonly status: ProcessStatus;
}

const COMMANDS = [
  "cat",
  "env",
  "init",
  "kill",
  "mount",
  "setsid",
  "sh",
  "sleep",
  "tail",
  "touch",
  "true",
  "wc",
];
const BUSYBOX = "/bin/busybox";
/** Process 1 where a test wants sysmgr to be an ordinary process: it waits for orphans and does no more. */
const KEEPER = ["/bin/sh", "-c", "while :; do sleep 1000; done"];
/** A service that does nothing, needs no shell and leaves its environment as it got it. */
export const IDLE = "#!/bin/tail -f\n";

/** So many lines of the log are shown when something does not happen. */
const MENTIONED_LINES = 20;
/** The host's commands are found in it, and so are those of the root. */
const HOST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const ENVIRONMENT = { PATH: HOST_PATH, SYSDIR: "/sv", RUNDIR: "/run/sysmgr" };
const CHROOT = Bun.which("chroot", { PATH: HOST_PATH }) ?? "chroot";

/** Without root's rights no null device can be made where there is none. */
export const isRoot = process.geteuid?.() === 0;

const UNSHARE = [
  // Should the test be killed, so is everything it has started.
  ...["setpriv", "--pdeathsig", "KILL"],
  ...["unshare", "--pid", "--mount", "--fork", "--kill-child"],
  ...["--propagation", "private"],
  ...(isRoot ? [] : ["--user", "--map-root-user"]),
];
const NSENTER = [
  ...["nsenter", "--pid", "--mount", "--root", "--wd"],
  ...(isRoot ? [] : ["--user", "--preserve-credentials"]),
];

/** Why roots cannot be made here; undefined when they can. */
export const unavailable = whyUnavailable();

/** A test that needs roots: where they cannot be made it is skipped, and says why. */
export function rootTest(name: string, work: () => Promise<void>): void {
  if (unavailable === undefined) {
    test.concurrent(name, work);
    return;
  }
  console.warn(`skipped: ${unavailable}: ${name}`);
  test.skip(`${name} (skipped: ${unavailable})`, work);
}

export class Root implements AsyncDisposable {
  readonly #outer = realpathSync(mkdtempSync(join(tmpdir(), "sysmgr-root-")));
  /** The root directory as it lies on the disk. */
  readonly directory = join(this.#outer, "root");
  readonly #logFile = join(this.#outer, "log");
  readonly #furniture: Furniture;
  readonly #helpers: Bun.Subprocess[] = [];
  #unshare: Bun.Subprocess | undefined;
  #first: number | undefined;

  constructor(furniture: Furniture = {}) {
    this.#furniture = furniture;
    chmodSync(this.#outer, 0o755);
    for (const name of ["", "bin", "sv", "run", "proc", "etc"])
      mkdirSync(join(this.directory, name));
    place(join(DIST, "sysmgr"), join(this.directory, "bin/sysmgr"));
    for (const name of ["svctl", "sysmgr-depends"])
      symlinkSync("sysmgr", join(this.directory, "bin", name));
    place(BUSYBOX, join(this.directory, "bin/busybox"));
    for (const name of furniture.commands ?? COMMANDS)
      symlinkSync("busybox", join(this.directory, "bin", name));
    if (furniture.dev !== "none") mkdirSync(join(this.directory, "dev"));
    if (this.#hasNull) writeFileSync(join(this.directory, "dev/null"), "");
  }

  get #hasNull(): boolean {
    return (this.#furniture.dev ?? "null") === "null";
  }

  /** Replaces the binary by another file, while the old one may be running. */
  upgrade(from: string): void {
    const temporary = join(this.directory, "bin/.new");
    copyFileSync(from, temporary);
    renameSync(temporary, join(this.directory, "bin/sysmgr"));
  }

  /** Leaves nothing in the root but the binary, under another name. */
  empty(name: string): void {
    renameSync(join(this.directory, "bin/sysmgr"), join(this.directory, name));
    for (const each of readdirSync(this.directory))
      if (each !== name)
        rmSync(join(this.directory, each), { recursive: true });
  }

  /** Puts a program into SYSDIR, complete from the first moment. */
  service(name: string, content: string): void {
    const temporary = join(this.path("/sv"), `.new-${name}`);
    writeFileSync(temporary, content);
    chmodSync(temporary, 0o755);
    renameSync(temporary, join(this.path("/sv"), name));
  }

  /** Puts a shell script into SYSDIR. */
  script(name: string, body: string): void {
    this.service(name, `#!/bin/sh\n${body}\n`);
  }

  /** Puts a service into SYSDIR that takes some seconds to end when told to, and then says so in /run/said. */
  polite(name: string, seconds = 0): void {
    this.script(
      name,
      `trap 'sleep ${seconds}; echo ${name} >> /run/said; exit 0' TERM
touch /run/ready-${name}
while :; do sleep 0.1; done`,
    );
  }

  /** Waits until a polite service runs and knows what to do when told to end. */
  async politeUp(name: string): Promise<number> {
    await until(
      () => this.read(`/run/ready-${name}`) !== undefined,
      () => `${name} is ready; the log ends so:\n${this.#logEnd()}`,
    );
    return await this.up(name);
  }

  /** The services that have said that they ended as they were told to, in alphabetical order. */
  said(): string[] {
    return (this.read("/run/said") ?? "").split("\n").filter(Boolean).sort();
  }

  /** Starts process 1 and waits until it is in the root. */
  async boot(
    command: readonly string[] = KEEPER,
    boot: Boot = {},
  ): Promise<void> {
    const log = openSync(this.#logFile, "a");
    this.#unshare = Bun.spawn([...this.#becoming(command, boot)], {
      env: ENVIRONMENT,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const unshare = this.#unshare;
    this.#first = await until(() => {
      if (unshare.exitCode !== null) throw new Error(this.#logEnd());
      return readProcesses().find(
        ({ parent, pid }) => parent === unshare.pid && this.#isInside(pid),
      )?.pid;
    }, "process 1 is in its root");
  }

  /** Starts sysmgr as process 1 and waits until it supervises. */
  async bootSysmgr(boot: Boot = {}, ...options: string[]): Promise<void> {
    await this.boot(["/bin/sysmgr", ...options], boot);
    await until(
      () => this.read("/run/sysmgr/pid") === "1\n",
      () => `sysmgr has written its pid; its log ends so:\n${this.#logEnd()}`,
    );
  }

  /** Runs a command as process 1 of namespaces of its own, to its end. */
  async runAlone(
    command: readonly string[],
    boot: Boot = {},
  ): Promise<Outcome> {
    return await outcomeOf(this.#becoming(command, boot));
  }

  /** Runs a command in the root that has been booted, to its end. */
  run(command: readonly string[]): Promise<Outcome> {
    return outcomeOf(this.#entering(command));
  }

  svctl(...parameters: readonly string[]): Promise<Outcome> {
    return this.run(["/bin/svctl", ...parameters]);
  }

  /** Starts a command in the root that has been booted; what it says goes to the log. */
  begin(command: readonly string[]): Bun.Subprocess {
    const log = openSync(this.#logFile, "a");
    const helper = Bun.spawn([...this.#entering(command)], {
      env: ENVIRONMENT,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#helpers.push(helper);
    return helper;
  }

  /** Starts sysmgr in the root that has been booted, and waits until it supervises. */
  async startSysmgr(): Promise<Bun.Subprocess> {
    const before = this.read("/run/sysmgr/pid");
    const helper = this.begin(["/bin/sysmgr"]);
    await until(
      () =>
        ![before, undefined].includes(this.read("/run/sysmgr/pid")) ||
        helper.exitCode !== null,
      "sysmgr has written its pid",
    );
    return helper;
  }

  /** Sends a signal to sysmgr, whichever process it is. */
  signalSysmgr(signal: NodeJS.Signals): void {
    process.kill(this.outside(Number(this.read("/run/sysmgr/pid"))), signal);
  }

  /** Waits for the end of process 1: its exit code, or the signal that the kernel says has ended it. */
  async ended(): Promise<number | string> {
    if (this.#unshare === undefined) throw new Error("nothing was booted");
    return await this.end(this.#unshare);
  }

  /** Waits for the end of a command: its exit code, or the signal that has ended it. */
  async end(command: Bun.Subprocess): Promise<number | string> {
    const { status } = await until(
      () => {
        const status = command.signalCode ?? command.exitCode;
        return status !== null && { status };
      },
      () => `it has ended; the log ends so:\n${this.#logEnd()}`,
    );
    return status;
  }

  /** Where a file of the root is found from outside, mounted file systems included. */
  path(inside: string): string {
    const unshare = this.#unshare;
    return unshare?.exitCode === null && unshare.signalCode === null
      ? `/proc/${this.firstProcess}/root${inside}`
      : join(this.directory, inside);
  }

  /** What a file of the root says; undefined when it is not there. */
  read(inside: string): string | undefined {
    try {
      return readFileSync(this.path(inside), "utf8");
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "ESRCH"].includes(errorCode(error) ?? ""))
        return undefined;
      throw error;
    }
  }

  /** What a state file says, without its newline. */
  state(service: string, file: string): string | undefined {
    return this.read(`/run/sysmgr/${service}/${file}`)?.trimEnd();
  }

  /** The pid of a service, as it sees itself. */
  pid(service: string): number | undefined {
    const text = this.state(service, "pid");
    return text === undefined ? undefined : Number(text);
  }

  /** Waits until a service runs, as another process than `before`, and gives its pid as it sees itself. */
  up(service: string, before?: number): Promise<number> {
    return until(
      () => {
        const pid = this.pid(service);
        return pid !== before && pid;
      },
      () => `${service} runs; the log ends so:\n${this.#logEnd()}`,
    );
  }

  async down(service: string): Promise<void> {
    await until(
      () => this.pid(service) === undefined,
      () => `${service} is down; the log ends so:\n${this.#logEnd()}`,
    );
  }

  /** Writes a lock as `echo` does. */
  lock(service: string, text: string): void {
    mkdirSync(this.path(`/run/sysmgr/${service}`), { recursive: true });
    writeFileSync(this.path(`/run/sysmgr/${service}/lock`), `${text}\n`);
  }

  unlock(service: string): void {
    rmSync(this.path(`/run/sysmgr/${service}/lock`));
  }

  /** All processes of the root that has been booted. */
  inhabitants(): Inhabitant[] {
    const namespace = namespaceOf(this.firstProcess);
    if (namespace === undefined) return [];
    return readProcesses().flatMap((status) => {
      const inside = innermostPid(status.pid);
      return inside !== undefined && namespaceOf(status.pid) === namespace
        ? [{ outside: status.pid, inside, status }]
        : [];
    });
  }

  /** What has ended and still waits for process 1 to take note. */
  zombies(): number {
    return readProcesses().filter(
      ({ ended, parent }) => ended && parent === this.firstProcess,
    ).length;
  }

  /** The pid that a process of the root has for us. */
  outside(inside: number): number {
    const found = this.inhabitants().find(
      (inhabitant) => inhabitant.inside === inside,
    );
    if (found === undefined) throw new Error(`there is no process ${inside}`);
    return found.outside;
  }

  /** Whether a process of the root runs; a zombie does not. */
  isRunning(inside: number): boolean {
    return this.inhabitants().some(
      (inhabitant) => inhabitant.inside === inside && !inhabitant.status.ended,
    );
  }

  kill(inside: number, signal: NodeJS.Signals): void {
    process.kill(this.outside(inside), signal);
  }

  /** Process 1, as we see it. */
  get firstProcess(): number {
    if (this.#first === undefined) throw new Error("nothing was booted");
    return this.#first;
  }

  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, "utf8") : "";
  }

  /** The lines that sysmgr has logged. */
  messages(): string[] {
    return this.log()
      .split("\n")
      .filter((line) => line.startsWith("sysmgr: "));
  }

  /** Waits for a line of the log. */
  logged(pattern: RegExp): Promise<string> {
    return until(
      () =>
        this.log()
          .split("\n")
          .find((line) => pattern.test(line)),
      () => `the log has ${pattern}; it ends so:\n${this.#logEnd()}`,
    );
  }

  /** What is left in the run directory. */
  leftovers(): string[] {
    return readdirSync(this.path("/run/sysmgr"));
  }

  /** Every file of the root by its path, without what is mounted and what the run directory holds. */
  files(): string[] {
    return readdirSync(this.directory, { recursive: true, encoding: "utf8" })
      .filter((name) => !name.startsWith("run/"))
      .sort();
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
        () => readProcess(first) === undefined || !this.#isInside(first),
        "every process of the root is gone",
      );
    rmSync(this.#outer, { recursive: true, force: true });
  }

  #logEnd(): string {
    return this.log().split("\n").slice(-MENTIONED_LINES).join("\n");
  }

  #isInside(pid: number): boolean {
    return readLink(`/proc/${pid}/root`) === this.directory;
  }

  /** The command line that makes the namespaces, mounts what is to be mounted and becomes a command. */
  #becoming(command: readonly string[], boot: Boot): readonly string[] {
    const { proc = true, tmpfs, readOnly = false } = this.#furniture;
    const steps = [
      ...(readOnly ? ['mount --bind "$root" "$root"'] : []),
      ...(proc ? ['mount -t proc proc "$root/proc"'] : []),
      ...(this.#hasNull ? ['mount --bind /dev/null "$root/dev/null"'] : []),
      ...(tmpfs === undefined ? [] : [`mount -t tmpfs tmpfs "$root${tmpfs}"`]),
      ...(readOnly ? ['mount -o remount,bind,ro "$root"'] : []),
    ];
    const closing = (boot.closed ?? []).map((descriptor) => `${descriptor}>&-`);
    const script = `set -e; root=$1; shift; ${[
      ...steps,
      `exec "$@" ${closing.join(" ")}`,
    ].join("; ")}`;
    return [
      ...[...UNSHARE, "sh", "-c", script, "sh", this.directory],
      ...[...(boot.through ?? []), CHROOT, this.directory, ...command],
    ];
  }

  #entering(command: readonly string[]): readonly string[] {
    return [...NSENTER, `--target=${this.firstProcess}`, ...command];
  }
}

/** What a file of /proc/PID with lines of the form `Name: value` says under a name. */
export function procField(
  pid: number,
  file: string,
  name: string,
): string | undefined {
  const line = readFileSync(`/proc/${pid}/${file}`, "latin1")
    .split("\n")
    .find((each) => each.startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
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

async function outcomeOf(command: readonly string[]): Promise<Outcome> {
  const child = Bun.spawn([...command], {
    env: ENVIRONMENT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, out, err };
}

function namespaceOf(pid: number): string | undefined {
  return readLink(`/proc/${pid}/ns/pid`);
}

function innermostPid(pid: number): number | undefined {
  try {
    const pids = procField(pid, "status", "NSpid")?.split(/\s+/) ?? [];
    return Number(pids.at(-1));
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes(errorCode(error) ?? ""))
      return undefined;
    throw error;
  }
}

function whyUnavailable(): string | undefined {
  if (!existsSync(BUSYBOX)) return `there is no ${BUSYBOX}`;
  const busybox = readElf(readFileSync(BUSYBOX));
  if (segmentsOf(busybox, "interpreter").length > 0)
    return `${BUSYBOX} is not static`;
  for (const name of ["setpriv", "unshare", "nsenter", "chroot", "mount"])
    if (Bun.which(name, { PATH: HOST_PATH }) === null)
      return `there is no ${name}`;
  const trial = Bun.spawnSync(
    [...UNSHARE, "mount", "-t", "proc", "proc", "/proc"],
    { env: ENVIRONMENT },
  );
  if (trial.success) return undefined;
  const [reason] = trial.stderr.toString().split("\n", 1);
  return `neither root nor user namespaces (${reason})`;
}
