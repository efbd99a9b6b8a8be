/**
 * Chaos: sysmgr is killed, frozen and upgraded again and again while its services end, are signalled,
 * locked, hidden and replaced and its files are filled with garbage; then everything must be as the
 * files say, and whatever was left in peace must run as the same process as before.
 *
 *   bun test/chaos/main.ts [--laps N] [--seed N] [--services N] [--keep] [--without EVENT,EVENT…]
 */
import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { parseArgs } from "node:util";
import { Arena } from "./arena.ts";
import {
  type Check,
  countDescriptors,
  type Descriptors,
  mostDescriptors,
  type Problem,
  wanted,
} from "./check.ts";
import { DAEMON_EVENTS } from "./daemon-events.ts";
import { FILE_EVENTS } from "./file-events.ts";
import { type Actor, Lap } from "./lap.ts";
import { PROCESS_EVENTS } from "./process-events.ts";
import { Random } from "./random.ts";
import { report } from "./report.ts";
import { Respawner } from "./respawner.ts";
import { type Outcome, settle } from "./settle.ts";
import { SVCTL_EVENTS } from "./svctl-events.ts";
import {
  attempt,
  codeOf,
  listDirectory,
  markedProcesses,
  memory,
} from "./system.ts";
import { makePlans } from "./tempers.ts";
import { TWIN_WATCH } from "./twins.ts";

const SHORTEST_LAP = 1000;
const LONGEST_LAP = 3000;
/** After every so many laps sysmgr is shut down in the ordinary way and started afresh. */
const SHUTDOWN_EVERY = 4;
/** A second to KILL, and time for a busy machine. */
const SHUTDOWN_PATIENCE = 20_000;
const USAGE_EXIT = 2;
const INTERRUPTED_EXIT = 130;

const ACTORS: readonly Actor[] = [
  { happenings: DAEMON_EVENTS, pause: 500 },
  { happenings: PROCESS_EVENTS, pause: 100 },
  { happenings: FILE_EVENTS, pause: 60 },
  { happenings: SVCTL_EVENTS, pause: 150 },
  { happenings: SVCTL_EVENTS, pause: 150 },
  { happenings: SVCTL_EVENTS, pause: 150 },
];
const WATCHER: Actor = { happenings: TWIN_WATCH, pause: 150 };
/** In some laps sysmgr is let live, so that what it leaks adds up. */
const PEACEFUL_ACTORS = ACTORS.slice(1);
const PEACE = 0.2;

/** An option that makes no sense. */
class UsageError extends Error {}

/** The process that a service ran as. */
interface Before {
  readonly pid: number;
  readonly start: number;
}

interface Options {
  readonly laps: number;
  readonly seed: number;
  readonly services: number;
  readonly keep: boolean;
  readonly without: ReadonlySet<string>;
}

/** All laps on one arena. */
class Run {
  readonly #random: Random;
  readonly #respawner: Respawner;
  #usual: Descriptors | undefined;
  #first = "";
  #last = "";

  constructor(
    readonly options: Options,
    readonly arena: Arena,
  ) {
    this.#random = new Random(options.seed);
    this.#respawner = new Respawner(arena, this.#random.branch());
  }

  /** @returns what went wrong; undefined when nothing did. */
  async go(): Promise<string | undefined> {
    this.#respawner.start();
    let outcome = await this.#settle();
    for (let lap = 1; lap <= this.options.laps; lap++) {
      if (outcome.problems.length > 0) return this.#failure(lap - 1, outcome);
      outcome = await this.#lap(lap, outcome.check);
      if (this.arena.closed) return "closed";
    }
    if (outcome.problems.length > 0)
      return this.#failure(this.options.laps, outcome);
    const left = await this.#shutDown();
    this.#printStatistics();
    return left.length === 0
      ? undefined
      : this.#failure(this.options.laps, { check: undefined, problems: left });
  }

  async #lap(number: number, check: Check | undefined): Promise<Outcome> {
    const began = performance.now();
    const random = this.#random.branch();
    const running = this.#undisturbed(check);
    const spared = random.some(
      [...running.keys()],
      Math.ceil(running.size / 2),
    );
    this.#recover(random, new Set(spared));
    const lap = new Lap(
      this.arena,
      this.#respawner,
      new Set(spared),
      this.options.without,
      random.between(SHORTEST_LAP, LONGEST_LAP),
    );
    const peaceful = random.chance(PEACE);
    const actors = peaceful ? PEACEFUL_ACTORS : ACTORS;
    await lap.run([...actors, WATCHER], random);
    const outcome = await this.#settle();
    const problems = [
      ...outcome.problems,
      ...this.#disturbed(spared, running, outcome.check),
    ];
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    if (problems.length === 0 && !this.arena.closed)
      console.log(
        `lap ${number}: all well, ${spared.length} services undisturbed (${seconds} s)`,
      );
    const lasting = { ...outcome, problems };
    if (problems.length > 0 || number % SHUTDOWN_EVERY !== 0) return lasting;
    return await this.#startAfresh(random);
  }

  /** Everything down and, after an interrupted shutdown or a complete one, up again. */
  async #startAfresh(random: Random): Promise<Outcome> {
    const respawner = this.#respawner;
    if (random.chance(0.5)) {
      this.arena.note("interrupted-shutdown", undefined);
      respawner.signal("SIGTERM");
      await Bun.sleep(random.between(0, 1200));
      respawner.signal("SIGKILL");
      const outcome = await this.#settle();
      if (outcome.problems.length > 0) return outcome;
    }
    const left = await this.#shutDown();
    if (left.length > 0) return { check: undefined, problems: left };
    respawner.start();
    return await this.#settle();
  }

  async #shutDown(): Promise<Problem[]> {
    const { arena } = this;
    arena.note("shutdown", undefined);
    const ended = await this.#respawner.shutDown(SHUTDOWN_PATIENCE);
    const problems: Problem[] = [];
    const blame = (
      service: string | undefined,
      expected: string,
      found: string,
    ) => problems.push({ service, expected, found, passing: false });
    if (!ended)
      blame(
        undefined,
        "a shutdown within the stop timeout",
        `still running after ${SHUTDOWN_PATIENCE / 1000} s`,
      );
    for (const { service, pid } of markedProcesses(arena.rundir))
      blame(service, "nothing runs after a shutdown", `pid ${pid}`);
    for (const name of listDirectory(arena.rundir))
      blame(name, "RUNDIR is empty after a shutdown", `${name} is there`);
    return [...problems, ...this.#incidents()];
  }

  async #settle(): Promise<Outcome> {
    const outcome = await settle(this.arena, this.#respawner, this.#usual);
    const { pid } = this.#respawner;
    if (pid !== undefined) {
      if (outcome.problems.length === 0)
        this.#usual ??= mostDescriptors(countDescriptors(pid), this.#usual);
      this.#last = `${memory(pid, "RssAnon")} kB anonymous of ${memory(pid, "VmRSS")} kB resident, ${[...countDescriptors(pid).values()].reduce((sum, each) => sum + each, 0)} descriptors`;
      if (this.#first === "") this.#first = this.#last;
    }
    return {
      ...outcome,
      problems: [...outcome.problems, ...this.#incidents()],
    };
  }

  /** Services that run and that only harm could end, if none was done to them lately. */
  #undisturbed(check: Check | undefined): Map<string, Before> {
    const running = new Map<string, Before>();
    for (const { name, life, dependsOn } of this.arena.plans) {
      if (life !== "steady" || dependsOn !== undefined) continue;
      if (wanted(this.arena, name) !== "up") continue;
      const [leader] = check?.leaders(name) ?? [];
      if (leader === undefined || this.arena.isDoomed(leader)) continue;
      running.set(name, leader);
    }
    return running;
  }

  /** Services that were left in peace and yet do not run as the same process. */
  #disturbed(
    spared: readonly string[],
    before: ReadonlyMap<string, Before>,
    check: Check | undefined,
  ): Problem[] {
    return spared.flatMap((name) => {
      const old = before.get(name);
      const [now] = check?.leaders(name) ?? [];
      if (check === undefined || old === undefined) return [];
      if (old.pid === now?.pid && old.start === now.start) return [];
      return [
        {
          service: name,
          expected: `it still runs as pid ${old.pid}, since nothing was done to it`,
          found: now === undefined ? "it does not run" : `pid ${now.pid}`,
          passing: false,
        },
      ];
    });
  }

  /** Gives most of what was hidden, locked or made useless in the last lap another chance. */
  #recover(random: Random, spared: ReadonlySet<string>): void {
    const { arena } = this;
    for (const { name } of arena.plans) {
      if (spared.has(name)) continue;
      if (!existsSync(arena.entry(name))) {
        arena.journal(name, "show-entry");
        arena.show(name);
      }
      attempt(() => chmodSync(arena.entry(name), 0o755));
      const lock = arena.state(name, "lock");
      if (existsSync(lock) && random.chance(0.7)) {
        arena.note("remove-lock", name);
        attempt(() => unlinkSync(lock));
      }
    }
  }

  #incidents(): Problem[] {
    return this.arena.incidents.map(({ service, text }) => ({
      service,
      expected: "nothing like this",
      found: text,
      passing: false,
    }));
  }

  #failure(lap: number, { problems }: Outcome): string {
    const { seed, services } = this.options;
    const again = `bun run chaos --seed ${seed} --services ${services} --laps ${Math.max(1, lap)}`;
    return `lap ${lap}: something is wrong\n${report(this.arena, problems)}\n\nto do the same again: ${again}`;
  }

  #printStatistics(): void {
    const counts = [...this.arena.counts].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [kind, count] of counts) console.log(`${kind}: ${count}`);
    console.log(`sysmgr at first: ${this.#first}`);
    console.log(`sysmgr at last:  ${this.#last}`);
  }
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      laps: { type: "string", default: "10" },
      seed: { type: "string", default: String(Random.seed()) },
      services: { type: "string", default: "50" },
      keep: { type: "boolean", default: false },
      without: { type: "string", default: "" },
    },
  });
  return {
    laps: number("laps", values.laps),
    seed: number("seed", values.seed),
    services: number("services", values.services),
    keep: values.keep,
    without: new Set(values.without.split(",")),
  };
}

function number(name: string, text: string): number {
  if (!/^\d{1,10}$/.test(text))
    throw new UsageError(`--${name}: '${text}' is not a number`);
  return Number(text);
}

async function main(): Promise<number> {
  const options = readOptions();
  console.log(`seed ${options.seed}`);
  const plans = makePlans(options.services, new Random(options.seed));
  const arena = new Arena(plans);
  const interrupted = async () => {
    await arena.close(options.keep);
    process.exit(INTERRUPTED_EXIT);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => void interrupted());
  let failure: string | undefined = "it did not come to its end";
  try {
    failure = await new Run(options, arena).go();
    if (failure !== undefined) console.error(failure);
  } finally {
    const keep = options.keep && failure !== undefined;
    await arena.close(keep);
    if (keep) console.error(`kept: ${arena.directory}`);
  }
  return failure === undefined ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  const usage =
    error instanceof UsageError || codeOf(error).startsWith("ERR_PARSE_ARGS");
  if (!usage || !(error instanceof Error)) throw error;
  console.error(`chaos: ${error.message}`);
  process.exitCode = USAGE_EXIT;
}
