/**
 * One service and the world around it, without processes and without waiting: holds the clock, does
 * what the state machine asks for as the supervisor would, and wakes it at its deadlines. After every
 * event it makes sure that a deadline is armed if, and only if, something is pending.
 */
import { type Exit, parseLock } from "../../src/rundir.ts";
import { signalName } from "../../src/signals.ts";
import {
  type Action,
  deadlineOf,
  type Event,
  type MainProcess,
  newService,
  type Phase,
  type Service,
  step,
} from "../../src/supervisor/service.ts";

export const STOP_TIMEOUT = 10_000;

/** What is alive of a process group. */
export interface Group {
  readonly pid: number;
  main: boolean;
  others: boolean;
}

export class Life {
  now = 1_000_000;
  service: Service;
  group: Group | undefined;
  /** Why the next starts fail; undefined: they do not. */
  obstacle: string | undefined;
  forgotten = false;
  readonly #onAction: (action: Action) => void;
  readonly #stopTimeout: number;
  #nextPid = 101;
  #done: string[] = [];
  #lines: string[] = [];

  constructor(
    onAction: (action: Action) => void = () => undefined,
    stopTimeout = STOP_TIMEOUT,
  ) {
    this.#onAction = onAction;
    this.#stopTimeout = stopTimeout;
    this.service = newService(stopTimeout);
  }

  get phase(): Phase["is"] {
    return this.service.phase.is;
  }

  /** When it is to be woken; never once it is forgotten. */
  get deadline(): number | undefined {
    return this.forgotten ? undefined : deadlineOf(this.service);
  }

  happens(event: Event): void {
    const { service, actions } = step(this.service, event, this.now);
    this.service = service;
    for (const action of actions) this.#perform(action);
    this.#checkDeadline();
  }

  /** Lets time pass, with every deadline on the way. */
  passes(milliseconds: number): void {
    const end = this.now + milliseconds;
    let inOneInstant = 0;
    for (;;) {
      const { deadline } = this;
      if (deadline === undefined || deadline > end) break;
      inOneInstant = deadline > this.now ? 1 : inOneInstant + 1;
      if (inOneInstant > 3) throw new Error("its deadlines never end");
      this.now = Math.max(this.now, deadline);
      this.happens({ type: "deadline" });
    }
    this.now = end;
  }

  file(is: "usable" | "unusable" | "missing"): void {
    if (this.forgotten) {
      const { shutdown } = this.service;
      this.service = { ...newService(this.#stopTimeout), shutdown };
      this.forgotten = false;
    }
    this.happens({ type: "entry", is });
  }

  lock(text: string): void {
    const lock = parseLock(text);
    if (lock === undefined) throw new Error(`no lock says '${text}'`);
    this.happens({ type: "lock", lock, removed: false });
  }

  unlock(): void {
    this.happens({ type: "lock", lock: undefined, removed: true });
  }

  /** The main process ends; those it started may live on. */
  ends(exit: Exit = 0, othersLeft = false): void {
    const group = this.#living();
    group.main = false;
    group.others = othersLeft;
    this.happens({ type: "ended", pid: group.pid, exit, othersLeft });
  }

  /** What the main process left behind ends, which nobody is told of. */
  othersEnd(): void {
    this.#living().others = false;
  }

  adopts(found: {
    readonly ageMs: number;
    readonly trusted?: boolean;
    readonly ended?: boolean;
  }): void {
    const { ageMs, trusted = true, ended = false } = found;
    const main = this.#newProcess(this.now - ageMs, trusted);
    this.group = { pid: main.pid, main: !ended, others: ended };
    this.happens({ type: "adopted", main, ended });
  }

  /** What was done since it was last asked, in words; without what was logged. */
  done(): string[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }

  /** What was logged since it was last asked. */
  lines(): string[] {
    const lines = this.#lines;
    this.#lines = [];
    return lines;
  }

  /** Brings everything down, as the end of any story. */
  close(): void {
    this.happens({ type: "shutdown" });
    if (this.phase === "stopping") {
      this.#living().others = false;
      if (this.#living().main) this.ends();
    }
    this.passes(5000);
  }

  #perform(action: Action): void {
    this.#onAction(action);
    if (action.do === "log") this.#lines.push(action.text);
    else this.#done.push(inWords(action));
    if (action.do === "start") this.#start();
    if (action.do === "forget") this.forgotten = true;
    if (action.do !== "checkGroup") return;
    const { group: pid } = action;
    const { group } = this;
    const alive = group?.pid === pid && (group.main || group.others);
    this.happens({ type: "group", pid, alive });
  }

  #start(): void {
    if (this.obstacle !== undefined) {
      this.happens({ type: "startFailed", reason: this.obstacle });
      return;
    }
    const main = this.#newProcess(this.now, true);
    this.group = { pid: main.pid, main: true, others: false };
    this.happens({ type: "started", main });
  }

  #newProcess(startedAt: number, trusted: boolean): MainProcess {
    return { pid: this.#nextPid++, startedAt, trusted };
  }

  #living(): Group {
    if (this.group === undefined) throw new Error("nothing was started");
    return this.group;
  }

  #checkDeadline(): void {
    const { phase, entry } = this.service;
    const pending =
      phase.is === "delayed" ||
      phase.is === "stopping" ||
      entry.is === "missing";
    if (pending === (deadlineOf(this.service) !== undefined)) return;
    throw new Error(
      pending
        ? `${phase.is}, but no deadline is armed`
        : `a deadline is armed, but nothing is pending (${phase.is})`,
    );
  }
}

/** Says an action in a word or two: `start`, `TERM 101`, `exit 1`. */
export function inWords(action: Exclude<Action, { do: "log" }>): string {
  switch (action.do) {
    case "start":
      return "start";
    case "signal":
      return `${signalName(action.signal).slice(3)} ${action.group}`;
    case "checkGroup":
      return `check ${action.group}`;
    case "recordStart":
      return `running ${action.main.pid}`;
    case "recordExit":
      return `exit ${action.exit}`;
    case "recordDown":
      return "down";
    case "forget":
      return "forget";
  }
}
