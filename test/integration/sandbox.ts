/**
 * A service directory and a run directory of their own, with the built binary under its three names:
 * what every test of the real thing works in. Whatever it starts is gone when it is closed.
 */
import { expect } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { readProcess, readProcesses, readServiceMark } from "../../src/proc.ts";

export const DIST = join(import.meta.dir, "../../dist");

/** The outcome of a command. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How sysmgr is started, where it is not in the plainest way. */
export interface Launch {
  /** A command that ends in becoming what its further arguments say, such as `nice`. */
  readonly through?: readonly string[];
  /** The descriptor that becomes stdout and stderr; the log file unless given. */
  readonly output?: number;
}

/** A character that a terminal would obey, other than the end of a line. */
export const CONTROL = /(?!\n)\p{Cc}/u;

/** A command that has done what it should and has nothing to say. */
export const DONE: Outcome = { code: 0, out: "", err: "" };

/** A failure: exactly one line on stderr, of the applet's form and fit for a terminal, which names what is at fault. */
export function failure(applet: string, ...facts: readonly string[]): Outcome {
  const named = facts.map((fact) => `(?=\\P{Cc}*${RegExp.escape(fact)})`);
  const line = new RegExp(`^${named.join("")}${applet}: \\P{Cc}+\\n$`, "u");
  return { code: 1, out: "", err: expect.stringMatching(line) };
}

/** How long a condition may take on a slow machine under load, in milliseconds. */
const PATIENCE = 30_000;
const LOOK_INTERVAL = 5;
const LARGEST_FILE = 2 ** 24;

/**
 * Waits for a condition and returns what it gave; fails with `what` when it does not come.
 * @param patience milliseconds until it fails.
 * @param interval milliseconds between two looks, at least.
 */
export async function until<T>(
  condition: () =>
    T | undefined | false | null | Promise<T | undefined | false | null>,
  what: string | (() => string),
  patience = PATIENCE,
  interval = LOOK_INTERVAL,
): Promise<T> {
  const deadline = performance.now() + patience;
  for (;;) {
    const start = performance.now();
    const value = await condition();
    if (value) return value;
    const end = performance.now();
    if (end > deadline) {
      const missed = typeof what === "string" ? what : what();
      throw new Error(`waited ${patience / 1000} s in vain until ${missed}`);
    }
    // What is waited for needs the processors as well: looking at hundreds of processes takes a while.
    await Bun.sleep(Math.max(interval, 2 * (end - start)));
  }
}

export class Sandbox implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "sysmgr-test-"));
  readonly sysdir = join(this.directory, "sv");
  readonly rundir = join(this.directory, "run");
  readonly logFile = join(this.directory, "log");
  readonly #daemons: Bun.Subprocess[] = [];
  readonly #bystanders: Bun.Subprocess[] = [];

  constructor() {
    mkdirSync(this.sysdir);
  }

  get environment(): Record<string, string> {
    return {
      PATH: `${DIST}:${process.env["PATH"] ?? "/usr/bin:/bin"}`,
      SYSDIR: this.sysdir,
      RUNDIR: this.rundir,
      DIR: this.directory,
    };
  }

  /** Puts a shell script into SYSDIR, complete from the first moment. */
  script(name: string, body: string, mode = 0o755): void {
    this.file(name, `#!/bin/sh\n${body}\n`, mode);
  }

  /** Puts any file into SYSDIR, complete from the first moment. */
  file(name: string, content: string, mode = 0o755): void {
    const temporary = join(this.directory, `.new-${name}`);
    writeFileSync(temporary, content);
    chmodSync(temporary, mode);
    renameSync(temporary, join(this.sysdir, name));
  }

  /** Starts sysmgr and waits until it has said its pid. */
  async start(
    options: readonly string[] = [],
    environment: Record<string, string> = {},
    launch: Launch = {},
  ): Promise<Bun.Subprocess> {
    const daemon = this.spawn(options, environment, launch);
    await until(
      () => this.ownPid() === daemon.pid || daemon.exitCode !== null,
      "sysmgr has written its pid",
    );
    return daemon;
  }

  /** Starts sysmgr and waits for nothing. Its log is appended to that of earlier ones. */
  spawn(
    options: readonly string[] = [],
    environment: Record<string, string> = {},
    launch: Launch = {},
  ): Bun.Subprocess {
    const log = openSync(this.logFile, "a");
    const output = launch.output ?? log;
    const command = [...(launch.through ?? []), join(DIST, "sysmgr")];
    const daemon = Bun.spawn([...command, ...options], {
      cwd: this.directory,
      env: { ...this.environment, ...environment },
      stdio: ["ignore", output, output],
    });
    closeSync(log);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Starts a process that has nothing to do with sysmgr, the leader of a session of its own. */
  bystander(): Bun.Subprocess {
    const bystander = Bun.spawn(["sleep", "1000"], {
      stdio: ["ignore", "ignore", "ignore"],
      detached: true,
    });
    this.#bystanders.push(bystander);
    return bystander;
  }

  /** The sysmgr that was started last. */
  get daemon(): Bun.Subprocess {
    const daemon = this.#daemons.at(-1);
    if (daemon === undefined) throw new Error("sysmgr was not started");
    return daemon;
  }

  /** Ends sysmgr in the ordinary way and gives its exit code. */
  async stop(): Promise<number> {
    this.daemon.kill("SIGTERM");
    return await this.daemon.exited;
  }

  /** Kills sysmgr without giving it a chance to do anything. */
  async crash(): Promise<void> {
    this.daemon.kill("SIGKILL");
    await this.daemon.exited;
  }

  /** Runs an applet, or any command, to its end. */
  async run(
    command: readonly string[],
    environment: Record<string, string> = {},
  ): Promise<Outcome> {
    const child = Bun.spawn([...command], {
      cwd: this.directory,
      env: { ...this.environment, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [out, err, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { code, out, err };
  }

  svctl(...parameters: readonly string[]): Promise<Outcome> {
    return this.run([join(DIST, "svctl"), ...parameters]);
  }

  depends(...parameters: readonly string[]): Promise<Outcome> {
    return this.run([join(DIST, "sysmgr-depends"), ...parameters]);
  }

  /** Runs a command as a user who owns nothing, to whom the sandbox is opened for reading. */
  runAsNobody(command: readonly string[]): Promise<Outcome> {
    chmodSync(this.directory, 0o755);
    const user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    return this.run(["setpriv", ...user, ...command]);
  }

  /** Starts an applet, or any command, in the background. */
  begin(command: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
    return Bun.spawn([...command], {
      cwd: this.directory,
      env: this.environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** What a state file says, without its newline; undefined when it is not there. */
  state(service: string, file: string): string | undefined {
    return readIfThere(join(this.rundir, service, file))?.trimEnd();
  }

  ownPid(): number | undefined {
    const text = readIfThere(join(this.rundir, "pid"));
    return text === undefined ? undefined : Number(text);
  }

  pid(service: string): number | undefined {
    const text = this.state(service, "pid");
    return text === undefined ? undefined : Number(text);
  }

  /** Waits until a service runs, as another process than `before`, and gives its pid. */
  up(service: string, before?: number): Promise<number> {
    return until(() => {
      const pid = this.pid(service);
      return pid !== before && pid;
    }, `${service} runs`);
  }

  /** Waits until a service is down. */
  async down(service: string): Promise<void> {
    await until(() => this.pid(service) === undefined, `${service} is down`);
  }

  /** Writes a lock as `echo` does. */
  lock(service: string, text: string): void {
    mkdirSync(join(this.rundir, service), { recursive: true });
    writeFileSync(join(this.rundir, service, "lock"), `${text}\n`);
  }

  unlock(service: string): void {
    rmSync(join(this.rundir, service, "lock"));
  }

  log(): string {
    return readIfThere(this.logFile) ?? "";
  }

  /** The lines of the log that speak of a service. */
  logOf(service: string): string[] {
    const start = `sysmgr: ${service}: `;
    return this.log()
      .split("\n")
      .filter((line) => line.startsWith(start));
  }

  /** Waits for a line of the log. */
  logged(pattern: RegExp): Promise<string> {
    return until(
      () =>
        this.log()
          .split("\n")
          .find((line) => pattern.test(line)),
      () => `the log has ${pattern}; it is:\n${this.log()}`,
    );
  }

  /** What a file that a service wrote into the sandbox says; undefined when it is not there. */
  read(name: string): string | undefined {
    return readIfThere(join(this.directory, name));
  }

  /** All processes that carry this sandbox's mark: services and what they started. */
  processes(): number[] {
    return readProcesses()
      .filter(
        ({ ended, pid }) =>
          !ended && readServiceMark(pid)?.rundir === this.rundir,
      )
      .map(({ pid }) => pid);
  }

  /** What is left in the run directory. */
  leftovers(): string[] {
    return existsSync(this.rundir) ? readdirSync(this.rundir) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) {
      daemon.kill("SIGKILL");
      await daemon.exited;
    }
    for (const bystander of this.#bystanders) bystander.kill("SIGKILL");
    await until(() => {
      for (const pid of this.processes()) killQuietly(pid);
      return this.processes().length === 0;
    }, "every process of the sandbox is gone");
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Whether a process runs; a zombie does not. */
export function isRunning(pid: number): boolean {
  return readProcess(pid)?.ended === false;
}

/** Reads a plain file. What is not one, or is huge, is garbage that a test has put there. */
function readIfThere(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  if (!status?.isFile() || status.size > LARGEST_FILE) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // Something on the way may also have become a file in the meantime.
    const code = errorCode(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    return undefined;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It has ended in the meantime.
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
