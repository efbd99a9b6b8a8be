/**
 * All services together: turns what happened to files and processes into events for the state machine
 * (service.ts) and its actions into calls. Nothing is decided here that service.ts could decide.
 */
import { type Configuration, LONGEST_TIMER, SETTLE_TIME } from "../config.ts";
import { errorCode, reasonOf } from "../errors.ts";
import { isAbsence } from "../files.ts";
import {
  type Exit,
  type Lock,
  readLock,
  stateDirectory,
  statePath,
  UNKNOWN_EXIT,
} from "../rundir.ts";
import { examine, exists, listNames } from "../sysdir.ts";
import { linkStatus } from "../system/files.ts";
import { Adoption, type Found } from "./adopt.ts";
import {
  type OnEnd,
  type Processes,
  REAPING_TIME,
  StartError,
} from "./process.ts";
import type { Records } from "./records.ts";
import { QUIET, SecondLook } from "./second-look.ts";
import {
  type Action,
  deadlineOf,
  type Event,
  isDown,
  newService,
  type Service,
  step,
} from "./service.ts";

/** Where the supervisor says what happens. */
export interface Log {
  info(text: string): void;
  warn(text: string): void;
}

/** What the supervisor asks of what is around it. */
export interface Surroundings {
  /** A shutdown has brought everything down. */
  allDown(): void;
  /** A chance to look at what gives no event. */
  occasion(): void;
  /** An event has been dealt with. */
  worked(): void;
  /** Lets every event come that is due; @returns false where there may be changes without one. */
  catchUp(): boolean;
}

/** Milliseconds after which a link is looked at again whose target may have become executable. */
const HIDDEN_CHANGE_INTERVAL = 1500;
/** The kernel's time stamps lag by up to a tick of 10 ms. */
const CLOCK_TICK = 10;
/** Milliseconds of work on deadlines after which it is seen what else has happened. */
const LONGEST_TURN = 3;
/** Milliseconds after which a group that is still there is looked at more closely. */
const THOROUGH_AFTER = 100;
/** Milliseconds after which something is tried again that the system refused. */
const RETRY_AFTER = 1000;

/** The quiet that is waited for (second-look.ts) when a lock is gone: on a busy machine `rm -r` may have to wait in the midst of its work. */
const QUIET_AFTER_LOCK = 30;

/** Milliseconds after which SYSDIR is read again that could not be. */
const LIST_AGAIN_AFTER = 2000;

interface Supervised {
  readonly name: string;
  service: Service;
  /** The kernel's start time of the main process, which tells it from a later user of its pid. */
  startTicks: number | undefined;
  /** When the main process ended, on the machine's clock. */
  mainEndedAt: number;
  deadline:
    | { readonly at: number; readonly timer: ReturnType<typeof setTimeout> }
    | undefined;
  /** Looks at the entry, or at the lock, once more. */
  look: ReturnType<typeof setTimeout> | undefined;
  lockLook: ReturnType<typeof setTimeout> | undefined;
  /**
   * When the entry was changed last, in milliseconds since 1970; undefined where it is to be looked at again
   * before each start, because that does not show all changes.
   */
  changed: number | undefined;
  /** Why the entry is not usable, as it was last reported. */
  reported: string | undefined;
  lockReported: string | undefined;
  /** The lock has been read before, or seen not to be there. */
  lockKnown: boolean;
}

/** Supervises every service of one SYSDIR. */
export class Supervisor {
  readonly #services = new Map<string, Supervised>();
  /** The main processes that run. */
  readonly #byPid = new Map<number, Supervised>();
  readonly #onEnd: OnEnd = (pid, exit) => {
    const supervised = this.#byPid.get(pid);
    this.#byPid.delete(pid);
    if (supervised !== undefined) this.#ended(supervised, pid, exit);
  };
  /** What every service finds in its environment, but for its own name. */
  readonly #environment: Readonly<Record<string, string | undefined>>;
  /** Services whose deadline has come, in that order. */
  readonly #due = new Set<Supervised>();
  /** Services of which an earlier process could not be looked for yet. */
  readonly #unknown = new Set<string>();
  #search: ReturnType<typeof setTimeout> | undefined;
  #listing: ReturnType<typeof setTimeout> | undefined;
  /** What has been said of SYSDIR and of names in it, so that it is said once. */
  readonly #said = new Set<string>();
  readonly #entriesAgain = new SecondLook(
    QUIET,
    () => this.configuration.sysdir,
    (name) => this.#guard(name, () => this.#lookAtEntry(name)),
  );
  readonly #locksAgain = new SecondLook(
    QUIET_AFTER_LOCK,
    (name) => stateDirectory(this.configuration.rundir, name),
    (name) => this.#guard(name, () => this.#lookAtState(name)),
  );
  readonly #statesAgain = new SecondLook(
    QUIET,
    (name) => stateDirectory(this.configuration.rundir, name),
    (name) => {
      // What goes with its lock is not to be made again before that is known.
      if (this.#locksAgain.isPending(name)) return;
      this.#guard(name, () => this.#lookAtState(name));
    },
  );
  /** What is to be logged once everything else is done: nobody waits for it. */
  readonly #untold: { name: string; level: "info" | "warn"; text: string }[] =
    [];
  #stopping = false;
  #sysdirMissing = false;

  constructor(
    readonly configuration: Configuration,
    readonly processes: Processes,
    readonly records: Records,
    readonly log: Log,
    environment: Readonly<Record<string, string | undefined>>,
    readonly surroundings: Surroundings,
  ) {
    const { sysdir, rundir } = configuration;
    this.#environment = { ...environment, SYSDIR: sysdir, RUNDIR: rundir };
  }

  /**
   * Takes over what runs, then looks at everything for the first time.
   * @param recorded the services that the run directory knows.
   */
  begin(recorded: readonly string[], adoption: Adoption): void {
    const known = new Set(recorded);
    const names = new Set([...this.#listNames(), ...recorded]);
    for (const name of names) this.#adopt(name, known.has(name), adoption);
    for (const name of names) {
      this.#lookAtEntry(name);
      // What can be started has had its lock looked at before.
      const { entry } = this.#services.get(name)?.service ?? {};
      if (entry?.is !== "usable") this.#lookAtLock(name);
    }
  }

  /** Looks at all entries and all locks again. */
  rescan(): void {
    this.rescanEntries();
    this.rescanLocks();
  }

  /** Looks at all entries of SYSDIR again. */
  rescanEntries(): void {
    const names = new Set([...this.#listNames(), ...this.#services.keys()]);
    for (const name of names) this.#lookAtEntry(name);
  }

  /** Looks at all locks again, and at what the state files say. */
  rescanLocks(): void {
    for (const name of this.#services.keys()) this.#lookAtState(name);
  }

  /** SYSDIR is not there, or there again; while it is missing nothing counts as removed. */
  sysdirPresent(present: boolean): void {
    if (present === this.#sysdirMissing) {
      this.#sysdirMissing = !present;
      const { sysdir } = this.configuration;
      if (present) this.log.info(`${sysdir}: there again`);
      else
        this.log.warn(
          `${sysdir}: not there any more; what runs goes on running`,
        );
    }
    if (present) {
      this.rescanEntries();
      return;
    }
    // Entries that went just before their directory went with it: they do not count as removed.
    for (const supervised of this.#services.values())
      this.#handle(supervised, { type: "entry", is: "unusable" });
  }

  /** Something happened to a name in SYSDIR. */
  entryChanged(name: string): void {
    if (name.startsWith(".")) return;
    this.#lookAtEntry(name);
    this.#entriesAgain.note(name);
  }

  /**
   * Something happened to a lock: if it is not there now, it has gone just now.
   * @param movedAway by getting another name, as svctl does it.
   */
  lockChanged(name: string, movedAway: boolean): void {
    this.#lookAtLock(name, movedAway ? "moved away" : "touched");
    if (this.#services.has(name)) this.#locksAgain.note(name);
  }

  /** Something happened to a service's state; its files are verified once things are quiet. */
  stateChanged(name: string): void {
    if (this.#services.has(name)) this.#statesAgain.note(name);
  }

  #lookAtEntry(name: string): void {
    if (this.#sysdirMissing || name.startsWith(".")) return;
    const entry = examine(this.configuration.sysdir, name);
    const known = this.#services.get(name);
    if (entry.is === "absent") {
      if (known === undefined) return;
      this.#clearLook(known);
      this.#handle(known, { type: "entry", is: "missing" });
      return;
    }
    const supervised = known ?? this.#add(name);
    // A lock may have been waiting for the service to appear.
    if (known === undefined) this.#lookAtLock(name);
    this.#clearLook(supervised);
    const shows = entry.is === "service" && !entry.hidden;
    supervised.changed = shows ? entry.changed : undefined;
    if (entry.is === "service") {
      this.#usable(supervised, entry.changed);
      return;
    }
    this.#reportEntry(supervised, entry.why);
    this.#handle(supervised, { type: "entry", is: "unusable" });
    if (entry.hidden) this.#lookAgain(supervised, HIDDEN_CHANGE_INTERVAL);
  }

  #lookAtState(name: string): void {
    // Files that are gone because their run directory is gone have not been removed by anybody.
    this.surroundings.occasion();
    this.#lookAtLock(name);
    this.records.verify(name);
  }

  /** @param event what has just happened to it. */
  #lookAtLock(name: string, event?: "touched" | "moved away"): void {
    const supervised = this.#services.get(name);
    if (supervised === undefined) return;
    clearTimeout(supervised.lockLook);
    supervised.lockLook = undefined;
    this.records.checkDirectory(name);
    const reading = this.#readLock(supervised);
    if (reading === undefined) return;
    const { lock, complete } = reading;
    if (!complete) {
      // Half of what it will say may be there: until then it only holds.
      this.#setLock(supervised, { asks: "nothing" }, false);
      supervised.lockLook = setTimeout(
        () => this.#guard(name, () => this.#lookAtLock(name)),
        SETTLE_TIME + CLOCK_TICK,
      );
      return;
    }
    const held = supervised.service.lock !== undefined;
    if (held && lock.is === "absent" && !this.#isRemoved(name, event)) return;
    if (lock.is === "absent" && this.records.owesLock(name)) return;
    this.#lockRead(supervised, lock, event !== undefined);
  }

  /** Whether the lock that was in force has been taken away, and that may be answered now. */
  #isRemoved(name: string, event?: "touched" | "moved away"): boolean {
    // Who removes it may be about to remove the whole directory, and must not find new files in it: the
    // second look will do.
    if (event === "touched") return false;
    // It may be gone because the run directory is, and be written again when that is noticed.
    this.surroundings.occasion();
    return this.#seeLock(name) === "absent";
  }

  /** The run directory is a new one: locks that were in force are in force there, too. */
  rundirReplaced(): void {
    this.records.rewrite();
    for (const { name, service } of [...this.#services.values()]) {
      const reading = this.#guard(name, () =>
        readLock(this.configuration.rundir, name),
      );
      const { lock } = service;
      if (lock !== undefined && reading?.lock.is === "absent")
        this.records.writeLock(name, lock);
      else this.#lookAtLock(name);
      this.#statesAgain.note(name);
    }
  }

  /** Brings everything down. Called again: kills what is left. */
  shutdown(): void {
    const type = this.#stopping ? "killNow" : "shutdown";
    this.#stopping = true;
    // Only what is known to run can be stopped; it is waited for, unless there is no time.
    if (type === "killNow") this.#unknown.clear();
    this.#lookForUnknown();
    for (const supervised of [...this.#services.values()])
      this.#handle(supervised, { type });
    this.#checkAllDown();
  }

  /** What still runs, with its pid. */
  running(): { readonly name: string; readonly pid: number }[] {
    return [...this.#services.values()].flatMap(({ name, service }) =>
      "main" in service.phase ? [{ name, pid: service.phase.main.pid }] : [],
    );
  }

  #adopt(name: string, recorded: boolean, adoption: Adoption): void {
    const supervised = this.#add(name);
    const { rundir } = this.configuration;
    try {
      const found = adoption.find(rundir, name);
      if (recorded) this.#guard(name, () => this.records.load(name));
      if (found !== undefined) this.#takeOver(supervised, found);
      else if (recorded) this.records.noteUnseenEnd(name);
    } catch (error) {
      // What runs must not be started a second time, so nothing happens before this is known.
      this.#say(name, "warn", `cannot be looked for: ${reasonOf(error)}`);
      this.#unknown.add(name);
      this.#lookForLater();
    }
  }

  #lookForLater(): void {
    this.#search ??= setTimeout(() => {
      this.#search = undefined;
      this.#lookForUnknown();
    }, RETRY_AFTER);
  }

  #lookForUnknown(): void {
    if (this.#unknown.size === 0) return;
    const { sysdir, rundir } = this.configuration;
    const adoption = new Adoption(sysdir, rundir);
    for (const name of this.#unknown) {
      const supervised = this.#services.get(name);
      try {
        const found = adoption.find(rundir, name);
        this.#unknown.delete(name);
        if (supervised === undefined) continue;
        this.#guard(name, () => this.records.load(name));
        if (found === undefined) this.records.noteUnseenEnd(name);
        else this.#takeOver(supervised, found);
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        this.#lookForLater();
      }
    }
    if (this.#stopping) this.#checkAllDown();
  }

  #takeOver(supervised: Supervised, found: Found): void {
    const { pid, trusted, ended, startedAt } = found;
    const { name } = supervised;
    const age = Math.max(0, Date.now() - startedAt);
    const main = { pid, startedAt: this.processes.now() - age, trusted };
    supervised.startTicks = this.processes.status(pid)?.startTicks;
    this.records.recordPid(name, pid, startedAt, supervised.startTicks);
    if (ended) {
      supervised.mainEndedAt = this.processes.now();
      this.records.recordExit(name, UNKNOWN_EXIT);
    }
    this.#handle(supervised, { type: "adopted", main, ended });
    if (ended) return;
    this.#byPid.set(pid, supervised);
    this.processes.watch(pid, this.#onEnd);
  }

  #add(name: string): Supervised {
    const supervised: Supervised = {
      name,
      service: newService(this.configuration.stopTimeout),
      startTicks: undefined,
      changed: undefined,
      mainEndedAt: Number.NEGATIVE_INFINITY,
      deadline: undefined,
      look: undefined,
      lockLook: undefined,
      reported: undefined,
      lockReported: undefined,
      lockKnown: false,
    };
    this.#services.set(name, supervised);
    if (this.#stopping)
      supervised.service = { ...supervised.service, shutdown: true };
    return supervised;
  }

  #usable(supervised: Supervised, changed: number): void {
    // A time in the future is one of before the clock was set back: it says nothing.
    const age = Math.round(Date.now() - changed);
    if (Math.abs(age) < SETTLE_TIME + CLOCK_TICK) {
      // It may still be being written: what runs goes on, but nothing is started from it yet.
      this.#handle(supervised, { type: "entry", is: "unusable" });
      this.#lookAgain(supervised, SETTLE_TIME + CLOCK_TICK - age);
      return;
    }
    supervised.reported = undefined;
    // A lock may have been put there while the file was settling.
    this.#lookAtLock(supervised.name);
    this.#handle(supervised, { type: "entry", is: "usable" });
  }

  #lookAgain(supervised: Supervised, after: number): void {
    const { name } = supervised;
    supervised.look = setTimeout(
      () => this.#guard(name, () => this.#lookAtEntry(name)),
      after,
    );
  }

  #clearLook(supervised: Supervised): void {
    clearTimeout(supervised.look);
    supervised.look = undefined;
  }

  #reportEntry(supervised: Supervised, why: string): void {
    if (supervised.reported === why) return;
    supervised.reported = why;
    this.#say(supervised.name, "warn", `${why}, so it is not started`);
  }

  #readLock(supervised: Supervised) {
    const { name } = supervised;
    try {
      return readLock(this.configuration.rundir, name);
    } catch (error) {
      const seen = this.#seeLock(name);
      if (seen === "absent")
        return { lock: { is: seen }, complete: true } as const;
      // Where not even that can be seen, what was known before holds on, until the directory is changed.
      if (seen === "hidden" && supervised.lockKnown) return undefined;
      // It is there, so it holds; what it says cannot be known.
      const why = `its lock cannot be read: ${reasonOf(error)}`;
      const { is } = supervised.service.phase;
      const running = is === "up" || is === "stopping";
      this.#reportLock(supervised, running ? why : `cannot start: ${why}`);
      this.#setLock(supervised, { asks: "nothing" }, false);
      supervised.lockLook = setTimeout(
        () => this.#guard(name, () => this.#lookAtLock(name)),
        RETRY_AFTER,
      );
      return undefined;
    }
  }

  /** Looks for a lock that cannot be read, which takes no descriptor. */
  #seeLock(name: string): "absent" | "there" | "hidden" {
    const path = statePath(this.configuration.rundir, name, "lock");
    try {
      return linkStatus(path) === undefined ? "absent" : "there";
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return errorCode(error) === "EACCES" ? "hidden" : "there";
    }
  }

  #lockRead(
    supervised: Supervised,
    lock: ReturnType<typeof readLock>["lock"],
    touched: boolean,
  ): void {
    if (lock.is === "garbage") {
      this.#setLock(supervised, { asks: "nothing" }, false);
      const text = `its lock makes no sense (${lock.why}): it holds the service and asks for nothing else`;
      // Set right, it is a lock like any other; the next one that makes no sense is news again.
      if (this.records.holdLock(supervised.name))
        this.#say(supervised.name, "warn", text);
      else this.#reportLock(supervised, text);
      return;
    }
    supervised.lockReported = undefined;
    supervised.lockKnown = true;
    const value = lock.is === "present" ? lock.value : undefined;
    this.#setLock(supervised, value, touched);
  }

  #setLock(
    supervised: Supervised,
    lock: Lock | undefined,
    touched: boolean,
  ): void {
    const before = supervised.service.lock;
    const removed = lock === undefined && (touched || before !== undefined);
    if (before === lock && !removed) return;
    this.#handle(supervised, { type: "lock", lock, removed });
  }

  #reportLock(supervised: Supervised, text: string): void {
    if (supervised.lockReported === text) return;
    supervised.lockReported = text;
    this.#say(supervised.name, "warn", text);
  }

  #handle(supervised: Supervised, event: Event): void {
    const { service, actions } = step(
      supervised.service,
      event,
      this.processes.now(),
    );
    supervised.service = service;
    // One action that goes wrong must not keep the others from being done.
    for (const action of actions)
      this.#guard(supervised.name, () => this.#perform(supervised, action));
    this.records.write(supervised.name);
    for (const { name, level, text } of this.#untold.splice(0))
      this.#say(name, level, text);
    this.#arm(supervised);
    this.surroundings.worked();
    if (this.#stopping && isDown(supervised.service)) this.#checkAllDown();
  }

  #perform(supervised: Supervised, action: Action): void {
    const { name, startTicks } = supervised;
    switch (action.do) {
      case "start":
        this.#start(supervised);
        break;
      case "signal":
        this.#signal(supervised, action.group, action.signal);
        break;
      case "checkGroup":
        this.#checkGroup(supervised, action.group);
        break;
      case "recordStart":
        this.records.recordPid(name, action.main.pid, Date.now(), startTicks);
        break;
      case "recordExit":
        this.records.recordExit(name, action.exit);
        break;
      case "recordDown":
        this.records.recordDown(name);
        break;
      case "forget":
        this.#forget(supervised);
        break;
      case "log":
        this.#untold.push({ name, level: action.level, text: action.text });
        break;
    }
  }

  #start(supervised: Supervised): void {
    const { name } = supervised;
    const { sysdir } = this.configuration;
    if (this.#unknown.has(name)) {
      const reason = "it is not known yet whether it runs";
      this.#handle(supervised, { type: "startFailed", reason });
      return;
    }
    this.records.countStart(name);
    let pid: number;
    try {
      pid = this.processes.start({
        path: `${sysdir}/${name}`,
        environment: { ...this.#environment, SYSMGR_SERVICE: name },
        onEnd: this.#onEnd,
      });
    } catch (error) {
      this.records.uncountStart(name);
      // Whatever is in the way may have come without an event.
      supervised.changed = undefined;
      const reason =
        error instanceof StartError ? error.message : reasonOf(error);
      this.#handle(supervised, { type: "startFailed", reason });
      return;
    }
    this.#byPid.set(pid, supervised);
    const status = this.#guard(name, () => this.processes.status(pid));
    supervised.startTicks = status?.startTicks;
    const startedAt = this.processes.now();
    const main = { pid, startedAt, trusted: true };
    this.#handle(supervised, { type: "started", main });
  }

  #checkGroup(supervised: Supervised, pid: number): void {
    const { startTicks, mainEndedAt } = supervised;
    // Zombies that nobody waits for are rare, and telling them is dear: the first looks do without.
    const thorough = this.processes.now() - mainEndedAt > THOROUGH_AFTER;
    const since = thorough ? mainEndedAt : undefined;
    const alive = this.processes.groupAlive(pid, startTicks, since);
    this.#handle(supervised, { type: "group", pid, alive });
  }

  #signal(supervised: Supervised, group: number, signal: number): void {
    const { startTicks, name } = supervised;
    if (!this.processes.maySignal(group, startTicks)) return;
    const problem = this.processes.signalGroup(group, signal);
    if (problem !== undefined)
      this.#say(name, "warn", `cannot signal pid ${group}: ${problem}`);
  }

  #ended(supervised: Supervised, pid: number, exit: Exit): void {
    const { startTicks } = supervised;
    this.#catchUp(supervised);
    supervised.mainEndedAt = this.processes.now();
    // Somebody else has to wait for what was adopted, and may not have done so yet.
    const adopted = exit === UNKNOWN_EXIT;
    const since = adopted ? supervised.mainEndedAt - REAPING_TIME : undefined;
    const othersLeft = this.processes.groupAlive(pid, startTicks, since);
    this.#handle(supervised, { type: "ended", pid, exit, othersLeft });
  }

  #forget(supervised: Supervised): void {
    if (this.#services.get(supervised.name) !== supervised) return;
    this.#clearLook(supervised);
    clearTimeout(supervised.lockLook);
    this.#disarm(supervised);
    this.#services.delete(supervised.name);
    this.records.forget(supervised.name);
    const { name } = supervised;
    this.#untold.push({ name, level: "info", text: "removed" });
  }

  #arm(supervised: Supervised): void {
    const known = this.#services.get(supervised.name) === supervised;
    const at = known ? deadlineOf(supervised.service) : undefined;
    if (at === supervised.deadline?.at) return;
    this.#disarm(supervised);
    if (at === undefined) return;
    const wait = Math.max(0, Math.ceil(at - this.processes.now()));
    const timer = setTimeout(
      () => {
        if (this.#due.size === 0) setImmediate(() => this.#work());
        this.#due.add(supervised);
      },
      Math.min(wait, LONGEST_TIMER),
    );
    supervised.deadline = { at, timer };
  }

  #disarm(supervised: Supervised): void {
    clearTimeout(supervised.deadline?.timer);
    this.#due.delete(supervised);
    supervised.deadline = undefined;
  }

  /**
   * Hundreds of services in crash loops have their deadlines at the same moment. Between two of these
   * it is seen what else has happened, so that no other service has to wait for all of them.
   */
  #work(): void {
    const end = this.processes.now() + LONGEST_TURN;
    for (const supervised of this.#due) {
      this.#due.delete(supervised);
      this.#deadline(supervised);
      if (this.processes.now() >= end) break;
    }
    if (this.#due.size > 0) setImmediate(() => this.#work());
  }

  #deadline(supervised: Supervised): void {
    supervised.deadline = undefined;
    if (this.#services.get(supervised.name) !== supervised) return;
    this.#catchUp(supervised);
    this.#handle(supervised, { type: "deadline" });
  }

  /** What happened before a start may not be known yet, and must count before it. */
  #catchUp(supervised: Supervised): void {
    const { name } = supervised;
    const complete = this.#guard(name, () => this.surroundings.catchUp());
    if (complete === true && this.#isAsKnown(supervised)) return;
    this.#guard(name, () => this.#lookAtEntry(name));
    this.#guard(name, () => this.#lookAtLock(name));
  }

  /** Whether the entry has not changed, not even by another name of it, which gives no event. */
  #isAsKnown({ name, changed }: Supervised): boolean {
    if (changed === undefined) return false;
    const path = `${this.configuration.sysdir}/${name}`;
    return this.#guard(name, () => linkStatus(path)?.changedAt) === changed;
  }

  #checkAllDown(): void {
    if (this.#unknown.size > 0) return;
    for (const { service } of this.#services.values())
      if (!isDown(service)) return;
    this.surroundings.allDown();
  }

  #listNames(): string[] {
    const { sysdir } = this.configuration;
    try {
      const names = listNames(sysdir).filter((name) => this.#isReadable(name));
      this.#said.delete(sysdir);
      return names;
    } catch (error) {
      if (isAbsence(error)) this.sysdirPresent(false);
      else {
        if (!this.#said.has(sysdir))
          this.log.warn(`${sysdir}: ${reasonOf(error)}`);
        this.#listLater();
      }
      this.#said.add(sysdir);
      return [];
    }
  }

  /** What the system refuses for want of memory or descriptors gives no event when it can be had again. */
  #listLater(): void {
    this.#listing ??= setTimeout(() => {
      this.#listing = undefined;
      this.rescanEntries();
    }, LIST_AGAIN_AFTER);
  }

  /** A name that is not UTF-8 comes out of the system with replacement characters and leads nowhere. */
  #isReadable(name: string): boolean {
    if (!name.includes("\ufffd")) return true;
    if (exists(this.configuration.sysdir, name)) return true;
    if (!this.#said.has(name))
      this.#say(name, "warn", "its name is not UTF-8, so it is not started");
    this.#said.add(name);
    return false;
  }

  #say(name: string, level: "info" | "warn", text: string): void {
    this.log[level](`${name}: ${text}`);
  }

  /** What goes wrong with one service's files must not keep the others from being looked at. */
  #guard<T>(name: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#say(name, "warn", reasonOf(error));
      return undefined;
    }
  }
}
