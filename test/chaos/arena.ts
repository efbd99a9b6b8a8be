/** Where it all happens: the directories, the services, the journal of what was done to whom. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  allProcesses,
  attempt,
  environmentOf,
  type Marked,
  markedProcess,
  readText,
  startTime,
} from "./system.ts";
import type { Plan } from "./tempers.ts";

const BUILT = join(import.meta.dir, "../../dist");
const EXECUTABLE = 0o755;
/** It reads like a pid, an exit status and a number of starts. */
export const DECOY = "17\n";

/**
 * What was told to end in one lap may do so in the next: the slowest take a second to obey, others a
 * second to be killed, and sysmgr may have been frozen for two. Twice that, for a busy machine.
 */
const LINGERING = 8000;
/** The time of a start is known to some 20 ms. */
const CLOCK_TICK = 20;

/** Something that was done to a service, or (undefined) to sysmgr. */
interface Deed {
  readonly at: number;
  readonly service: string | undefined;
  readonly text: string;
  /** How long the log was then. */
  readonly logged: number;
}

/** Something that must not happen at any time. */
interface Incident {
  readonly service: string | undefined;
  readonly text: string;
}

export class Arena {
  readonly directory = mkdtempSync(join(tmpdir(), "sysmgr-chaos-"));
  readonly sysdir = join(this.directory, "sv");
  readonly rundir = join(this.directory, "run");
  /** Every script leaves a file here when it begins. */
  readonly born = join(this.directory, "born");
  /** What links lead to that are put in the place of state files; nobody is to touch it. */
  readonly decoy = join(this.directory, "decoy");
  readonly logFile = join(this.directory, "log");
  /** A copy of the binaries, which nobody builds anew meanwhile. */
  readonly programs = join(this.directory, "dist");
  readonly environment: Readonly<Record<string, string>>;
  readonly counts = new Map<string, number>();
  /** What went wrong by itself: an end that nobody caused, a command that hung. */
  readonly incidents: Incident[] = [];
  readonly #deeds: Deed[] = [];
  /** When something was done to a service last that may end its process, in milliseconds since 1970. */
  readonly #harmed = new Map<string, number>();
  #closed = false;

  constructor(readonly plans: readonly Plan[]) {
    for (const path of [this.sysdir, this.born]) mkdirSync(path);
    writeFileSync(this.decoy, DECOY);
    cpSync(BUILT, this.programs, {
      recursive: true,
      verbatimSymlinks: true,
    });
    this.environment = {
      PATH: `${this.programs}:/usr/bin:/bin`,
      SYSDIR: this.sysdir,
      RUNDIR: this.rundir,
      BORN: this.born,
      SYSMGR_STOP_TIMEOUT: "1",
    };
    for (const plan of plans) this.install(plan);
  }

  /** It is over: nothing must be started any more. */
  get closed(): boolean {
    return this.#closed;
  }

  program(name: "sysmgr" | "svctl"): string {
    return join(this.programs, name);
  }

  entry(name: string): string {
    return join(this.sysdir, name);
  }

  /** Where an entry is while it is hidden. */
  hidden(name: string): string {
    return join(this.sysdir, `.hidden ${name}`);
  }

  state(name: string, file = ""): string {
    return join(this.rundir, name, file);
  }

  /** Puts a service's script into SYSDIR, over the one that may be there. */
  install(plan: Plan): void {
    const temporary = this.entry(".new");
    writeFileSync(temporary, plan.script);
    chmodSync(temporary, EXECUTABLE);
    renameSync(temporary, this.entry(plan.name));
  }

  /** Makes a hidden entry visible again, unless another has come in its place. */
  show(name: string): void {
    if (!existsSync(this.entry(name)))
      attempt(() => renameSync(this.hidden(name), this.entry(name)));
  }

  /** The process that the pid file of a service names, if it is that service's. */
  leader(name: string): Marked | undefined {
    const pid = Number(readText(this.state(name, "pid")));
    if (!Number.isInteger(pid) || pid <= 1) return undefined;
    const process = markedProcess(pid, this.rundir);
    return process?.service === name && process.session === pid
      ? process
      : undefined;
  }

  /** Counts an event and notes it in the journal. */
  note(kind: string, service: string | undefined, detail = ""): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.journal(service, `${kind} ${detail}`.trimEnd());
  }

  journal(service: string | undefined, text: string): void {
    this.#deeds.push({
      at: performance.now(),
      service,
      text,
      logged: attempt(() => statSync(this.logFile).size) ?? 0,
    });
  }

  /** Something is done to a service that may end its process, at once or in a while. */
  harm(service: string): void {
    this.#harmed.set(service, Date.now());
  }

  /** Whether something was done lately to a process of a service, or to one before it, that may end it yet. */
  isDoomed({ service, start }: Marked): boolean {
    const at = this.#harmed.get(service) ?? Number.NEGATIVE_INFINITY;
    const lately = Date.now() - at < LINGERING;
    return lately && startTime(start) < at + CLOCK_TICK;
  }

  incident(service: string | undefined, text: string): void {
    this.incidents.push({ service, text });
  }

  /** What was done to a service and to sysmgr, and what the log says of it, in the order it happened. */
  story(service: string | undefined, longest: number): string[] {
    const log = Buffer.from(readText(this.logFile) ?? "");
    const now = performance.now();
    const lines: string[] = [];
    let told = 0;
    const tell = (end: number) => {
      const text = log.subarray(told, end).toString();
      told = Math.max(told, end);
      for (const line of text.split("\n"))
        if (line !== "" && this.#isAbout(line, service))
          lines.push(`             ${line}`);
    };
    for (const deed of this.#deeds) {
      if (deed.service !== undefined && deed.service !== service) continue;
      tell(deed.logged);
      const age = ((deed.at - now) / 1000).toFixed(3).padStart(9);
      lines.push(`${age} s  ${deed.text}`);
    }
    tell(log.length);
    return lines.slice(-longest);
  }

  /** Kills what is left of it all, and removes the directory unless it is to be kept. */
  async close(keep: boolean): Promise<void> {
    this.#closed = true;
    for (;;) {
      const left = this.#processes();
      if (left.length === 0) break;
      for (const pid of left) attempt(() => process.kill(pid, "SIGKILL"));
      await Bun.sleep(20);
    }
    if (!keep) rmSync(this.directory, { recursive: true, force: true });
  }

  /** A line of the log speaks of one service, or of none. */
  #isAbout(line: string, service: string | undefined): boolean {
    return service === undefined
      ? !this.plans.some(({ name }) => concerns(line, name))
      : concerns(line, service);
  }

  /** Everything that was started in here: services, sysmgr, svctl. */
  #processes(): number[] {
    return allProcesses()
      .filter(({ state }) => state !== "Z" && state !== "X")
      .filter(({ pid }) => environmentOf(pid)?.get("RUNDIR") === this.rundir)
      .map(({ pid }) => pid);
  }
}

function concerns(line: string, service: string): boolean {
  const escaped = service.replaceAll("\\", "\\\\");
  return (
    line.startsWith(`sysmgr: ${escaped}: `) || line.includes(`/${service}/`)
  );
}
