/** A supervisor at work, in a pid namespace of its own, with services that note when they are started. */
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import type { Contender, Usage } from "./contenders/contender.ts";
import { Dialogue } from "./dialogue.ts";
import { Marks } from "./marks.ts";
import {
  type Activity,
  activityOf,
  type Memory,
  memoryOf,
  supervisors,
} from "./processes.ts";
import type { Workshop } from "./workshop.ts";

/** Compiled programs that every stage needs. */
export interface StagePrograms {
  readonly stage: string;
  readonly actor: string;
}

/** A command that was run; times in nanoseconds of CLOCK_MONOTONIC. */
export interface Ran {
  readonly from: number;
  readonly to: number;
  readonly code: number;
  /** Bytes; the most that was resident. */
  readonly peak: number;
}

/** Milliseconds in which a service has to be started. */
const PATIENCE = 60_000;
/** How many services may be added to those that are there from the start. */
const ROOM = 10;
const KIBI = 1024;
/** Seconds since 1970. */
const LONG_AGO = 1e9;
const LOG_TAIL = 2000;

export class Stage implements AsyncDisposable {
  readonly services: readonly string[];
  readonly marks: Marks;
  readonly usage: Usage;
  readonly #workshop: Workshop;
  readonly #directory: string;
  readonly #program: string;
  #process: Bun.Subprocess<"pipe", "pipe"> | undefined;
  #dialogue: Dialogue | undefined;
  #init = 0;
  #supervisor = "";

  /** Makes everything ready; nothing is started yet. */
  constructor(
    workshop: Workshop,
    programs: StagePrograms,
    contender: Contender,
    services: readonly string[],
  ) {
    this.#workshop = workshop;
    this.#program = programs.stage;
    this.services = services;
    this.#directory = workshop.directory();
    workshop.adopt(this);
    copyFileSync(programs.actor, this.#actor);
    writeFileSync(this.#log, "");
    this.marks = new Marks(`${this.#directory}/marks`);
    const directory = `${this.#directory}/files`;
    mkdirSync(directory);
    this.usage = contender.use({
      directory,
      script: `#!${this.#actor}\n`,
      services: services.length + ROOM,
    });
    for (const service of services)
      this.usage.prepare(this.usage.entry(service));
    // Some wait a second until a directory that was just changed has settled; at boot none was.
    utimesSync(dirname(this.usage.entry("any")), LONG_AGO, LONG_AGO);
  }

  /** Starts the supervisor. @returns when. */
  async start(): Promise<number> {
    const { command, environment, path } = this.usage;
    const root = process.geteuid?.() === 0;
    this.#process = Bun.spawn(
      [
        ...["setpriv", "--pdeathsig", "KILL"],
        ...["unshare", ...(root ? [] : ["--user", "--map-root-user"])],
        ...["--pid", "--fork", "--mount-proc", "--kill-child"],
        ...[this.#program, this.#log, ...command],
      ],
      {
        env: {
          ...process.env,
          PATH: [path, process.env["PATH"]].filter(Boolean).join(":"),
          ...environment,
        },
        stdin: "pipe",
        stdout: "pipe",
        stderr: Bun.file(this.#log),
      },
    );
    this.#dialogue = new Dialogue(this.#process);
    const [time, pid = ""] = await this.#answer("started");
    const { pid: parent } = this.#process;
    const children = `/proc/${parent}/task/${parent}/children`;
    this.#init = Number(readFileSync(children, "utf8"));
    this.#supervisor = pid;
    return Number(time);
  }

  /** Starts the supervisor and waits until all services run. @returns how long it took in nanoseconds. */
  async startAll(): Promise<number> {
    const began = await this.start();
    const marks = await this.started(this.services, began);
    return Math.max(...marks.map(({ time }) => time)) - began;
  }

  /** @see Marks.started */
  async started(services: readonly string[], after: number) {
    try {
      return await this.marks.started(services, after, PATIENCE);
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** Stops everything. @returns how long it took until no process was left, in nanoseconds. */
  async stop(): Promise<number> {
    const began = await this.#kill(this.#supervisor, this.usage.stopSignal);
    const [end] = await this.#answer("empty");
    return Number(end) - began;
  }

  /** Kills the process that a service runs as. @returns when. */
  async killService(service: string): Promise<number> {
    const pid = this.marks.last(service)?.pid;
    if (pid === undefined) throw new Error(`${service} was never started`);
    return await this.#kill(String(pid), "SIGKILL");
  }

  /** Adds a service that was not there and says so to the supervisor. @returns when. */
  async add(service: string): Promise<number> {
    const prepared = `${this.#directory}/prepared`;
    this.usage.prepare(prepared);
    const entry = this.usage.entry(service);
    const time = await this.#say("renamed", "rename", prepared, entry);
    if (this.usage.rescan) await this.run(this.usage.rescan);
    return time;
  }

  /** Runs a command to its end, inside the namespace, as the user of the supervisor would. */
  async run(command: readonly string[]): Promise<Ran> {
    this.#talk.say("run", ...command);
    const [from, to, code, peak] = (await this.#answer("ran")).map(Number);
    return {
      from: from ?? 0,
      to: to ?? 0,
      code: code ?? 0,
      peak: (peak ?? 0) * KIBI,
    };
  }

  /** The processes that supervise. */
  supervisors(): string[] {
    return supervisors(this.#proc, this.#actor);
  }

  memory(): Memory {
    return memoryOf(this.#proc, this.supervisors());
  }

  activity(): Activity {
    return activityOf(this.#proc, this.supervisors());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#workshop.release(this);
    // The kernel kills everything in a namespace whose process 1 ends.
    if (this.#process?.exitCode === null) {
      if (this.#init > 0) process.kill(this.#init, "SIGKILL");
      else this.#process.kill("SIGKILL");
    }
    await this.#process?.exited;
    this.marks[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #actor(): string {
    return `${this.#directory}/actor`;
  }

  get #log(): string {
    return `${this.#directory}/log`;
  }

  /** The namespace's own /proc. */
  get #proc(): string {
    return `/proc/${this.#init}/root/proc`;
  }

  async #kill(pid: string, signal: NodeJS.Signals): Promise<number> {
    const number = String(constants.signals[signal]);
    return await this.#say("killed", "kill", pid, number);
  }

  /** Says something whose answer has a time as its first word. */
  async #say(answer: string, ...words: readonly string[]): Promise<number> {
    this.#talk.say(...words);
    const [time] = await this.#answer(answer);
    if (time === "0") throw this.#explained(`${words.join(" ")} failed`);
    return Number(time);
  }

  async #answer(kind: string): Promise<readonly string[]> {
    try {
      return await this.#talk.answer(kind);
    } catch (error) {
      throw this.#explained(error);
    }
  }

  get #talk(): Dialogue {
    if (this.#dialogue === undefined)
      throw new Error("the stage is not started");
    return this.#dialogue;
  }

  /** An error with the end of the supervisor's messages. */
  #explained(error: unknown): Error {
    const message = error instanceof Error ? error.message : String(error);
    const log = readFileSync(this.#log, "utf8").slice(-LOG_TAIL);
    return new Error(
      `${message}\n${this.usage.command.join(" ")} said:\n${log}`,
    );
  }
}
