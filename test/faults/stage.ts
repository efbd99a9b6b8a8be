/**
 * A sandbox with a mount namespace of its own, in which disks can be full, read-only or swapped under a
 * running sysmgr without anything else on the machine noticing. The namespace, and every mount in it, is
 * gone with its last process.
 */
import { test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { errorCode } from "../../src/errors.ts";
import { readProcess, readProcesses, readServiceMark } from "../../src/proc.ts";
import {
  type Launch,
  type Outcome,
  Sandbox,
  until,
} from "../integration/sandbox.ts";

/** What a service does that is there to be kept running. */
export const FOREVER = "exec sleep 1000";

/** Milliseconds after which something that happens once a second has happened again. */
const SEVERAL_SECONDS = 2500;
const NAMESPACE_OBSTACLE = obstacle();

/** Declares a test that needs namespaces of its own; where they are not to be had, the report says so. */
export function faultTest(name: string, body: () => Promise<void>): void {
  if (NAMESPACE_OBSTACLE === undefined) test.concurrent(name, body);
  else test.skip(`${name} (skipped: ${NAMESPACE_OBSTACLE})`, body);
}

let users = 0;

export class Stage extends Sandbox {
  readonly #keeper: Bun.Subprocess;

  private constructor(keeper: Bun.Subprocess) {
    super();
    this.#keeper = keeper;
  }

  static async open(): Promise<Stage> {
    const unshare = ["unshare", "--mount", "--propagation", "private"];
    const keeper = Bun.spawn([...unshare, "sleep", "infinity"], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const own = readlinkSync("/proc/self/ns/mnt");
    await until(
      () => readlinkSync(`/proc/${keeper.pid}/ns/mnt`) !== own,
      "there is a mount namespace",
    );
    return new Stage(keeper);
  }

  /** A path of the namespace, as this process reaches it. */
  outside(path: string): string {
    return `/proc/${this.#keeper.pid}/root${path}`;
  }

  /** The namespace's mounts, for commands to be run in it. */
  get entrance(): string[] {
    return ["nsenter", `--mount=/proc/${this.#keeper.pid}/ns/mnt`, "--"];
  }

  override spawn(
    options: readonly string[] = [],
    environment: Record<string, string> = {},
    launch: Launch = {},
  ): Bun.Subprocess {
    const through = [...this.entrance, ...(launch.through ?? [])];
    return super.spawn(options, environment, { ...launch, through });
  }

  override run(
    command: readonly string[],
    environment: Record<string, string> = {},
  ): Promise<Outcome> {
    return super.run([...this.entrance, ...command], environment);
  }

  /** Runs a command that must succeed. */
  async must(...command: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(command);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${err}`);
    return out;
  }

  /** Mounts a small file system, hiding what is at that place. */
  async mount(target: string, options = "size=256k"): Promise<void> {
    await this.must("mkdir", "-p", target);
    const settings = `mode=755,${options}`;
    await this.must("mount", "-t", "tmpfs", "-o", settings, "tmpfs", target);
  }

  async remount(target: string, options: "ro" | "rw"): Promise<void> {
    await this.must("mount", "-o", `remount,${options}`, target);
  }

  /** Takes the mount away, whoever is still in it. */
  async unmount(target: string): Promise<void> {
    await this.must("umount", "--lazy", target);
  }

  /** Leaves no room in a mounted file system. */
  fill(target: string): void {
    try {
      writeFileSync(this.outside(`${target}/fill`), Buffer.alloc(1 << 20));
    } catch (error) {
      if (errorCode(error) !== "ENOSPC") throw error;
      return;
    }
    throw new Error(`${target} is larger than expected`);
  }

  empty(target: string): void {
    rmSync(this.outside(`${target}/fill`));
  }

  override state(service: string, file: string): string | undefined {
    return this.#read(`${this.rundir}/${service}/${file}`)?.trimEnd();
  }

  override ownPid(): number | undefined {
    const text = this.#read(`${this.rundir}/pid`);
    return text === undefined ? undefined : Number(text);
  }

  override lock(service: string, text: string): void {
    const directory = this.outside(`${this.rundir}/${service}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}/lock`, `${text}\n`);
  }

  override unlock(service: string): void {
    rmSync(this.outside(`${this.rundir}/${service}/lock`));
  }

  override leftovers(): string[] {
    return readdirSync(this.outside(this.rundir));
  }

  /** Services and what they started, whatever their run directory is called. */
  override processes(): number[] {
    return readProcesses()
      .filter(({ ended, pid }) => !ended && this.#isOurs(pid))
      .map(({ pid }) => pid);
  }

  /** The living main processes of a service, whatever the run directory says. */
  alive(service: string): number[] {
    return this.processes().filter((pid) => {
      const leads = readProcess(pid)?.session === pid;
      return leads && readServiceMark(pid)?.service === service;
    });
  }

  /**
   * Lets another user run sysmgr in here, one who has no other process: the kernel counts them.
   * @returns the command that becomes what its further arguments say, as that user.
   */
  handOver(): string[] {
    users += 1;
    const user = 60_000 + (process.pid % 500) * 10 + users;
    for (const path of [this.directory, this.sysdir]) {
      chmodSync(path, 0o755);
      chownSync(path, user, user);
    }
    return ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  }

  /** Waits until a service has exactly one main process, another one than before, and gives its pid. */
  async runs(service: string, before?: number): Promise<number> {
    return until(
      () => {
        const [pid, ...others] = this.alive(service);
        return others.length === 0 && pid !== before && pid;
      },
      () => `${service} runs once; its log:\n${this.log()}`,
    );
  }

  /** Kills a service's main process and waits until sysmgr has replaced it. */
  async revives(service: string): Promise<number> {
    const before = await this.runs(service);
    process.kill(before, "SIGKILL");
    return await this.runs(service, before);
  }

  /** Waits until the run directory says of a service what is true. */
  async recorded(service: string): Promise<void> {
    await until(
      () => {
        const pid = this.pid(service);
        return pid !== undefined && this.alive(service).includes(pid);
      },
      () => `the pid of ${service} is written; the log:\n${this.log()}`,
    );
  }

  /** How many lines of the log match. */
  told(pattern: RegExp): number {
    return this.lines(pattern).length;
  }

  lines(pattern: RegExp): string[] {
    return this.log()
      .split("\n")
      .filter((line) => pattern.test(line));
  }

  /** Waits until sysmgr has told something a number of times. */
  async tells(pattern: RegExp, times = 1): Promise<void> {
    await until(
      () => this.told(pattern) >= times,
      () => `told ${times} times ${pattern}; the log:\n${this.log()}`,
    );
  }

  /** Long enough to see what is done or said once a second. */
  async severalSeconds(): Promise<void> {
    await Bun.sleep(SEVERAL_SECONDS);
  }

  #isOurs(pid: number): boolean {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      const variables = environment.split("\0");
      return (
        variables.includes(`DIR=${this.directory}`) &&
        variables.some((each) => each.startsWith("SYSMGR_SERVICE="))
      );
    } catch (error) {
      // It has ended in the meantime.
      if (errorCode(error) === undefined) throw error;
      return false;
    }
  }

  #read(path: string): string | undefined {
    const place = this.outside(path);
    try {
      return statSync(place).isFile() ? readFileSync(place, "utf8") : undefined;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return undefined;
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    try {
      await super[Symbol.asyncDispose]();
    } finally {
      this.#keeper.kill("SIGKILL");
      await this.#keeper.exited;
    }
  }
}

function obstacle(): string | undefined {
  if (process.geteuid?.() !== 0) return "needs root";
  const { success, stderr } = Bun.spawnSync(["unshare", "--mount", "true"]);
  return success ? undefined : `no mount namespaces: ${stderr.toString()}`;
}
