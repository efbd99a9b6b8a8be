/**
 * Whatever happens to a service, in whatever order: a world that acts at random (files, locks, signals,
 * processes that die early, late or only of KILL) around the state machine, and promises that hold
 * after every single step.
 */
import { test } from "bun:test";
import fc from "fast-check";
import {
  KILL_REPEAT,
  REPLACEMENT_GRACE,
  RESTART_INTERVAL,
} from "../../src/config.ts";
import { type Lock, parseLock } from "../../src/rundir.ts";
import { type Action, isDown } from "../../src/supervisor/service.ts";
import { Life } from "./life.ts";

const KILL = 9;
const CONT = 18;
/** The longest that a process of this world survives KILL, as in an uninterruptible sleep. */
const LONGEST_AGONY = 2500;
/** The longest that a process group is looked at in vain. */
const CHECK_MARGIN = 200;

/** How processes answer to signals; milliseconds until they end, null: not at all. */
interface Temper {
  readonly main: number | null;
  readonly others: number | null;
  /** Whether the main process has others in its group. */
  readonly forks: boolean;
  readonly agony: number;
}

type Step =
  | { readonly do: "file"; readonly is: "usable" | "unusable" | "missing" }
  | { readonly do: "lock"; readonly text: string }
  | { readonly do: "unlock" | "othersEnd" | "deadline" | "strangers" }
  | { readonly do: "shutdown" | "killNow" }
  | { readonly do: "end"; readonly exit: number }
  | { readonly do: "pass"; readonly milliseconds: number }
  | { readonly do: "temper"; readonly temper: Temper }
  | { readonly do: "obstacle"; readonly there: boolean };

interface Beginning {
  readonly adopt: "nothing" | "running" | "ended" | "unverified";
  readonly ageMs: number;
  readonly stopTimeout: number;
}

class World {
  readonly life: Life;
  readonly #stopTimeout: number;
  readonly #pids: number[] = [];
  #temper: Temper = { main: 0, others: 0, forks: false, agony: 0 };
  #deaths: { readonly at: number; readonly who: "main" | "others" }[] = [];
  #lock: Lock | undefined;
  #file: "usable" | "unusable" | "missing" = "unusable";
  #shutdown = false;
  #trusted = true;
  /** What the run directory says. */
  #pidRecorded = false;
  #exitRecorded = true;
  #lastStart = Number.NEGATIVE_INFINITY;
  /** A lock was removed since the last start, while it was not up. */
  #released = false;

  constructor({ adopt, ageMs, stopTimeout }: Beginning) {
    this.#stopTimeout = stopTimeout;
    this.life = new Life((action) => this.#witness(action), stopTimeout);
    if (adopt === "nothing") return;
    this.#trusted = adopt !== "unverified";
    this.#pidRecorded = true;
    this.#exitRecorded = adopt === "ended";
    this.#lastStart = this.life.now - ageMs;
    this.#pids.push(101);
    const ended = adopt === "ended";
    this.life.adopts({ ageMs, trusted: this.#trusted, ended });
    this.#check();
  }

  act(step: Step): void {
    this.#act(step);
    this.#check();
  }

  /** With nothing in its way any more, it comes up. */
  mustComeUp(): void {
    if (this.#shutdown) return;
    this.act({ do: "obstacle", there: false });
    this.act({ do: "unlock" });
    this.act({ do: "file", is: "usable" });
    this.act({ do: "pass", milliseconds: this.#longestStop });
    this.act({ do: "pass", milliseconds: RESTART_INTERVAL });
    promise("what should run does run", this.life.phase === "up");
    // At random its process may end by itself only when a step says so.
    this.act({ do: "pass", milliseconds: 60_000 });
    promise("what runs is left in peace", this.life.phase === "up");
  }

  /** A shutdown brings it down, whatever its processes are like, and then there is silence. */
  mustComeDown(): void {
    this.act({ do: "shutdown" });
    const { phase } = this.life;
    promise(
      "what is not verified is let go",
      this.#trusted || phase === "down",
    );
    this.act({ do: "pass", milliseconds: this.#longestStop });
    promise("every stop comes to its end", isDown(this.life.service));
    this.act({ do: "pass", milliseconds: REPLACEMENT_GRACE });
    promise("nothing is pending then", this.life.deadline === undefined);
  }

  get #longestStop(): number {
    return this.#stopTimeout + KILL_REPEAT + LONGEST_AGONY + CHECK_MARGIN;
  }

  #act(step: Step): void {
    const { life } = this;
    switch (step.do) {
      case "file":
        this.#file = step.is;
        life.file(step.is);
        break;
      case "lock":
        this.#lock = parseLock(step.text);
        life.lock(step.text);
        break;
      case "unlock":
        this.#lock = undefined;
        this.#released ||= life.phase !== "up";
        life.unlock();
        break;
      case "end":
        this.#die("main", step.exit);
        break;
      case "othersEnd":
        this.#die("others");
        break;
      case "pass":
        this.#pass(step.milliseconds);
        break;
      case "temper":
        this.#temper = step.temper;
        break;
      case "obstacle":
        life.obstacle = step.there ? "for a test" : undefined;
        break;
      case "deadline":
        life.happens({ type: "deadline" });
        break;
      case "strangers":
        this.#strangers();
        break;
      case "shutdown":
        this.#shutdown = true;
        life.happens({ type: "shutdown" });
        break;
      case "killNow":
        // The second of two signals; there is none without a first.
        if (this.#shutdown) life.happens({ type: "killNow" });
        break;
    }
  }

  /** Time passes: deadlines, and the deaths that signals have brought about. */
  #pass(milliseconds: number): void {
    const end = this.life.now + milliseconds;
    for (;;) {
      const { deadline = end } = this.life;
      const next = Math.min(end, deadline, ...this.#deaths.map(({ at }) => at));
      this.life.passes(Math.max(0, next - this.life.now));
      const due = this.#deaths.findIndex(({ at }) => at <= this.life.now);
      const [death] = due < 0 ? [] : this.#deaths.splice(due, 1);
      if (death !== undefined) this.#die(death.who, "SIGTERM");
      else if (this.life.now >= end) return;
    }
  }

  #die(who: "main" | "others", exit: number | string = 0): void {
    const { group } = this.life;
    if (group === undefined) return;
    if (who === "others") group.others = false;
    else if (group.main) this.life.ends(exit, group.others);
  }

  /** News of processes that are no business of this service any more, or never were. */
  #strangers(): void {
    const { group } = this.life;
    for (const pid of [...this.#pids, 4242]) {
      if (pid === group?.pid && (group.main || group.others)) continue;
      for (const othersLeft of [true, false])
        this.life.happens({ type: "ended", pid, exit: 0, othersLeft });
      if (pid !== group?.pid)
        this.life.happens({ type: "group", pid, alive: false });
    }
  }

  #witness(action: Action): void {
    switch (action.do) {
      case "start":
        this.#witnessStart();
        break;
      case "signal":
        this.#witnessSignal(action.group, action.signal);
        break;
      case "checkGroup":
        promise("it looks at its own", action.group === this.#pids.at(-1));
        break;
      case "recordStart":
        promise("the old pid was removed first", !this.#pidRecorded);
        this.#pids.push(action.main.pid);
        this.#pidRecorded = true;
        this.#exitRecorded = false;
        this.#deaths = [];
        if (this.life.group !== undefined)
          this.life.group.others = this.#temper.forks;
        break;
      case "recordExit":
        promise("an end is recorded once", !this.#exitRecorded);
        this.#exitRecorded = true;
        break;
      case "recordDown":
        promise("it was up before it is down", this.#pidRecorded);
        this.#pidRecorded = false;
        this.#trusted = true;
        break;
      case "forget":
        promise("only what is gone is forgotten", this.#file === "missing");
        promise(
          "nothing that runs is forgotten",
          !this.#lives || !this.#trusted,
        );
        this.#lock = undefined;
        break;
      case "log":
        promise("a line has something to say", /^\S.*\S$/.test(action.text));
    }
  }

  #witnessStart(): void {
    const since = this.life.now - this.#lastStart;
    promise("there is never a second process", !this.#lives);
    promise("the pid file is gone before a start", !this.#pidRecorded);
    promise("only what is usable is started", this.#file === "usable");
    promise("nothing is started that is locked", this.#lock === undefined);
    promise("nothing is started in a shutdown", !this.#shutdown);
    promise(
      "nothing starts of itself more than once a second",
      this.#released || since >= RESTART_INTERVAL,
    );
    this.#released = false;
    this.#lastStart = this.life.now;
  }

  #witnessSignal(group: number, signal: number): void {
    promise("only its own group is signalled", group === this.#pids.at(-1));
    promise("what is not verified is not signalled", this.#trusted);
    promise(
      "somebody or something asked for it",
      this.#shutdown ||
        this.#lock?.asks === "stop" ||
        this.#file === "missing" ||
        this.life.phase === "stopping",
    );
    if (signal === CONT) return;
    const { main, others, agony } = this.#temper;
    const after = (answer: number | null) => (signal === KILL ? agony : answer);
    this.#dieAfter("main", after(main));
    this.#dieAfter("others", after(others));
  }

  #dieAfter(who: "main" | "others", milliseconds: number | null): void {
    if (milliseconds === null) return;
    this.#deaths.push({ at: this.life.now + milliseconds, who });
  }

  get #lives(): boolean {
    const { group } = this.life;
    // Of one that is not verified nobody can tell what else belongs to it.
    return (
      group !== undefined && (group.main || (group.others && this.#trusted))
    );
  }

  #check(): void {
    const { phase } = this.life.service;
    const runs = "main" in phase;
    promise("nothing is left half started", phase.is !== "starting");
    promise(
      "there is a pid file if and only if it runs",
      runs === this.#pidRecorded || !this.#trusted,
    );
    promise(
      "what lives is not taken for down",
      runs || !this.#lives || !this.#trusted,
    );
  }
}

function promise(text: string, kept: boolean): void {
  if (!kept) throw new Error(`broken promise: ${text}`);
}

const milliseconds = fc.oneof(
  fc.constantFrom(0, 1, 2, 50, 100, 999, 1000, 1001, 9999, 10_000),
  fc.integer({ min: 0, max: 15_000 }),
);
const answer = fc.option(fc.integer({ min: 0, max: 12_000 }), { nil: null });
const temper: fc.Arbitrary<Temper> = fc.record({
  main: answer,
  others: answer,
  forks: fc.boolean(),
  agony: fc.integer({ min: 0, max: LONGEST_AGONY }),
});
const lockText = fc.constantFrom("", "0", "once", "TERM", "INT", "KILL", "HUP");
const fileState = fc.constantFrom<"usable" | "unusable" | "missing">(
  "usable",
  "usable",
  "unusable",
  "missing",
);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("pass"), milliseconds }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("file"), is: fileState }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("lock"), text: lockText }),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ do: "unlock" }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("end"), exit: fc.nat(255) }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ do: "othersEnd" }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("temper"), temper }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "deadline" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "strangers" }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("obstacle"), there: fc.boolean() }),
  },
);

const ending: fc.Arbitrary<readonly Step[]> = fc.constantFrom<Step[]>(
  [],
  [],
  [{ do: "shutdown" }],
  [{ do: "shutdown" }, { do: "killNow" }],
);

const beginning: fc.Arbitrary<Beginning> = fc.record({
  adopt: fc.constantFrom("nothing", "running", "ended", "unverified"),
  ageMs: fc.constantFrom(0, 300, 999, 1000, 7_200_000),
  stopTimeout: fc.constantFrom(0, 1, 10_000),
});

test("whatever happens, in whatever order, keeps every promise", () => {
  const life = fc.tuple(
    beginning,
    fc.array(anyStep, { maxLength: 40, size: "max" }),
    ending,
    fc.array(anyStep, { maxLength: 10 }),
  );
  fc.assert(
    fc.property(life, ([first, steps, end, after]) => {
      const world = new World(first);
      for (const step of [...steps, ...end, ...after]) world.act(step);
      world.mustComeUp();
      world.mustComeDown();
    }),
    { numRuns: 15_000, includeErrorInReport: true },
  );
}, 60_000);
