import { describe, expect, test } from "bun:test";
import { RESTART_INTERVAL } from "../../src/config.ts";
import { UNKNOWN_EXIT } from "../../src/rundir.ts";
import {
  deadlineOf,
  type Event,
  isDown,
  type MainProcess,
  step,
} from "../../src/supervisor/service.ts";
import { inWords, Life, STOP_TIMEOUT } from "./life.ts";

const PID = 101;
const FOREIGN = 4242;

/** Tells a story of one service, then makes sure that its end leaves nothing behind. */
function lives(promise: string, story: (life: Life) => void): void {
  test(promise, () => {
    const life = new Life();
    story(life);
    life.close();
    expect(life.phase).toBe("down");
    expect(life.deadline).toBeUndefined();
  });
}

/** A service that has been started and has run for so long. */
function running(life: Life, milliseconds = 5000): Life {
  life.file("usable");
  life.passes(milliseconds);
  life.done();
  life.lines();
  return life;
}

/** Lets it end at once, as often as asked, and waits for the restart each time. */
function crashes(life: Life, times: number): void {
  for (let time = 0; time < times; time++) {
    life.ends(1);
    life.passes(RESTART_INTERVAL);
  }
}

describe("every phase and every event", () => {
  const process = (pid: number, trusted: boolean): MainProcess => ({
    pid,
    startedAt: 900_000,
    trusted,
  });
  const lock = (signal: number): Event => ({
    type: "lock",
    lock: { asks: "stop", signal },
    removed: false,
  });
  const ended = (pid: number, othersLeft: boolean): Event => ({
    type: "ended",
    pid,
    exit: 1,
    othersLeft,
  });

  const EVENTS: Record<string, Event> = {
    "file usable": { type: "entry", is: "usable" },
    "file unusable": { type: "entry", is: "unusable" },
    "file missing": { type: "entry", is: "missing" },
    "no lock": { type: "lock", lock: undefined, removed: false },
    "lock removed": { type: "lock", lock: undefined, removed: true },
    "lock holds": { type: "lock", lock: { asks: "nothing" }, removed: false },
    "lock once": { type: "lock", lock: { asks: "once" }, removed: false },
    "lock TERM": lock(15),
    "lock INT": lock(2),
    "lock KILL": lock(9),
    started: { type: "started", main: process(PID, true) },
    "start failed": { type: "startFailed", reason: "for a test" },
    adopted: { type: "adopted", main: process(PID, true), ended: false },
    "adopted, unverified": {
      type: "adopted",
      main: process(PID, false),
      ended: false,
    },
    "adopted, ended": {
      type: "adopted",
      main: process(PID, true),
      ended: true,
    },
    ended: ended(PID, false),
    "ended, others left": ended(PID, true),
    "another pid ended": ended(FOREIGN, false),
    "group alive": { type: "group", pid: PID, alive: true },
    "group gone": { type: "group", pid: PID, alive: false },
    "another group gone": { type: "group", pid: FOREIGN, alive: false },
    deadline: { type: "deadline" },
    "a deadline too early": { type: "deadline" },
    shutdown: { type: "shutdown" },
    "kill now": { type: "killNow" },
  };

  interface Situation {
    readonly come: (life: Life) => void;
    /** The phase and the actions that follow an event; all other events change and do nothing. */
    readonly outcomes: Readonly<Record<string, string>>;
  }

  const taken = {
    adopted: "up",
    "adopted, unverified": "up",
    "adopted, ended": "stopping: TERM 101, CONT 101",
  };
  const up = (life: Life) => running(life, 400);

  const SITUATIONS: Record<string, Situation> = {
    "down, its file unusable": {
      come: (life) => life.file("unusable"),
      outcomes: { "file usable": "starting: start", ...taken },
    },
    "down, its file missing": {
      come: (life) => life.file("missing"),
      outcomes: {
        "file usable": "starting: start",
        deadline: "down: forget",
        ...taken,
      },
    },
    "down, held by a lock": {
      come: (life) => {
        life.lock("0");
        life.file("usable");
      },
      outcomes: {
        "no lock": "starting: start",
        "lock removed": "starting: start",
        ...taken,
      },
    },
    delayed: {
      come: (life) => up(life).ends(1),
      outcomes: {
        "file unusable": "down",
        "file missing": "down",
        "lock removed": "starting: start",
        "lock holds": "down",
        "lock once": "down",
        "lock TERM": "down",
        "lock INT": "down",
        "lock KILL": "down",
        adopted: "up",
        "adopted, unverified": "up",
        "adopted, ended": "stopping: TERM 101, CONT 101",
        deadline: "starting: start",
        shutdown: "down",
        "kill now": "down",
      },
    },
    starting: {
      come: (life) => {
        const usable: Event = { type: "entry", is: "usable" };
        life.service = step(life.service, usable, life.now).service;
      },
      outcomes: { started: "up: running 101", "start failed": "delayed" },
    },
    up: {
      come: up,
      outcomes: {
        "lock TERM": "stopping: TERM 101, CONT 101",
        "lock INT": "stopping: INT 101, CONT 101",
        "lock KILL": "stopping: KILL 101",
        ended: "delayed: exit 1, down",
        "ended, others left": "stopping: exit 1, TERM 101, CONT 101",
        shutdown: "stopping: TERM 101, CONT 101",
        "kill now": "stopping: KILL 101",
      },
    },
    "up, but unverified": {
      come: (life) => {
        life.adopts({ ageMs: 60_000, trusted: false });
        life.file("usable");
      },
      outcomes: {
        ended: "starting: exit 1, down, start",
        "ended, others left": "starting: exit 1, down, start",
        shutdown: "down",
        "kill now": "down",
      },
    },
    "stopping for a lock": {
      come: (life) => up(life).lock("TERM"),
      outcomes: {
        "lock INT": "stopping: INT 101, CONT 101",
        "lock KILL": "stopping: KILL 101",
        ended: "down: exit 1, down",
        "ended, others left": "stopping: exit 1",
        deadline: "stopping: KILL 101",
        "kill now": "stopping: KILL 101",
      },
    },
    "stopping, killed": {
      come: (life) => {
        up(life).lock("TERM");
        life.passes(STOP_TIMEOUT);
      },
      outcomes: {
        ended: "down: exit 1, down",
        "ended, others left": "stopping: exit 1",
        deadline: "stopping: KILL 101",
        "kill now": "stopping: KILL 101",
      },
    },
    "stopping what its end left behind": {
      come: (life) => up(life).ends(1, true),
      outcomes: {
        "lock INT": "stopping: INT 101, CONT 101",
        "lock KILL": "stopping: KILL 101",
        "group gone": "delayed: down",
        deadline: "stopping: check 101",
        "kill now": "stopping: KILL 101, check 101",
      },
    },
    "stopping because its file is gone": {
      come: (life) => {
        up(life).file("missing");
        life.passes(1000);
      },
      outcomes: {
        "lock INT": "stopping: INT 101, CONT 101",
        "lock KILL": "stopping: KILL 101",
        ended: "down: exit 1, down, forget",
        "ended, others left": "stopping: exit 1",
        deadline: "stopping: KILL 101",
        "kill now": "stopping: KILL 101",
      },
    },
    "stopping for the shutdown": {
      come: (life) => up(life).happens({ type: "shutdown" }),
      outcomes: {
        "lock INT": "stopping: INT 101, CONT 101",
        "lock KILL": "stopping: KILL 101",
        ended: "down: exit 1, down",
        "ended, others left": "stopping: exit 1",
        deadline: "stopping: KILL 101",
        "kill now": "stopping: KILL 101",
      },
    },
  };

  /** What one event does to a service, as the tables above have it. */
  function outcome(life: Life, name: string): string {
    const event = EVENTS[name];
    if (event === undefined) throw new Error(`no event ${name}`);
    const due = name === "deadline" ? deadlineOf(life.service) : undefined;
    const { service, actions } = step(life.service, event, due ?? life.now);
    const words = actions.flatMap((action) =>
      action.do === "log" ? [] : [inWords(action)],
    );
    return words.length === 0
      ? service.phase.is
      : `${service.phase.is}: ${words.join(", ")}`;
  }

  for (const [situation, { come, outcomes }] of Object.entries(SITUATIONS)) {
    test.each(Object.keys(EVENTS))(`${situation}; then: %s`, (name) => {
      const life = new Life();
      come(life);
      expect(outcome(life, name)).toBe(outcomes[name] ?? life.phase);
    });
  }

  test("the tables name no event that does not exist", () => {
    const named = Object.values(SITUATIONS).flatMap(({ outcomes }) =>
      Object.keys(outcomes),
    );
    expect(named.filter((name) => !(name in EVENTS))).toEqual([]);
  });
});

describe("keeping it alive", () => {
  lives("starts what is usable, at once and with nobody asked", (life) => {
    life.file("usable");
    expect(life.done()).toEqual(["start", "running 101"]);
    expect(life.lines()).toEqual(["started (pid 101)"]);
    life.passes(86_400_000);
    expect(life.done()).toEqual([]);
  });

  lives("restarts at once what ran for more than a second", (life) => {
    running(life, 1001).ends(1);
    expect(life.done()).toEqual(["exit 1", "down", "start", "running 102"]);
    expect(life.lines()).toEqual(["exited 1, restarting", "started (pid 102)"]);
  });

  lives("restarts at once what ran for exactly a second", (life) => {
    running(life, RESTART_INTERVAL).ends();
    expect(life.lines()).toEqual(["exited 0, restarting", "started (pid 102)"]);
  });

  lives("restarts what ran for less a second after its last start", (life) => {
    running(life, 300).ends("SIGSEGV");
    expect(life.lines()).toEqual(["killed by SIGSEGV, restarting in 0.7 s"]);
    life.passes(699);
    expect(life.done()).toEqual(["exit SIGSEGV", "down"]);
    life.passes(1);
    expect(life.done()).toEqual(["start", "running 102"]);
  });

  lives("starts a crash loop once a second, no more and no less", (life) => {
    life.file("usable");
    crashes(life, 60);
    expect(life.done().filter((word) => word === "start")).toHaveLength(61);
    expect(life.now).toBe(new Life().now + 60_000);
  });

  lives("tries again a second later what could not be started", (life) => {
    life.obstacle = "out of memory";
    life.file("usable");
    expect(life.lines()).toEqual([
      "cannot start: out of memory, trying again in 1 s",
    ]);
    life.passes(999);
    expect(life.done()).toEqual(["start"]);
    life.obstacle = undefined;
    life.passes(1);
    expect(life.done()).toEqual(["start", "running 101"]);
    expect(life.lines()).toEqual(["started (pid 101)"]);
  });

  lives("gives a restart that failed its second as well", (life) => {
    running(life).obstacle = "too many open files";
    life.ends(1);
    expect(life.done()).toEqual(["exit 1", "down", "start"]);
    life.passes(2000);
    expect(life.done()).toEqual(["start", "start"]);
  });

  lives("is not misled by the end of another process", (life) => {
    running(life);
    for (const othersLeft of [true, false])
      life.happens({ type: "ended", pid: FOREIGN, exit: 0, othersLeft });
    life.happens({ type: "group", pid: PID, alive: false });
    expect(life.phase).toBe("up");
    life.ends(1);
    life.happens({ type: "ended", pid: PID, exit: 1, othersLeft: false });
    expect(life.phase).toBe("up");
    expect(life.done()).toEqual(["exit 1", "down", "start", "running 102"]);
  });
});

describe("bringing it down", () => {
  lives("sends the lock's signal and CONT, and stays down", (life) => {
    running(life).lock("TERM");
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    life.ends("SIGTERM");
    life.passes(60_000);
    expect(life.done()).toEqual(["exit SIGTERM", "down"]);
    expect(life.lines()).toEqual(["stopping (pid 101, SIGTERM)", "stopped"]);
  });

  lives("kills after the stop timeout, again every second", (life) => {
    running(life).lock("INT");
    life.passes(STOP_TIMEOUT - 1);
    expect(life.done()).toEqual(["INT 101", "CONT 101"]);
    life.passes(1);
    expect(life.done()).toEqual(["KILL 101"]);
    expect(life.lines().at(-1)).toBe(
      "still running 10 s after SIGINT: killing it",
    );
    life.passes(3999);
    expect(life.done()).toEqual(["KILL 101", "KILL 101", "KILL 101"]);
    expect(life.lines()).toEqual([]);
  });

  lives("repeats a KILL that was asked for every second", (life) => {
    running(life).lock("KILL");
    life.passes(2000);
    expect(life.done()).toEqual(["KILL 101", "KILL 101", "KILL 101"]);
    expect(life.lines()).toEqual(["stopping (pid 101, SIGKILL)"]);
  });

  lives("gives what the main process leaves behind its full time", (life) => {
    running(life).lock("TERM");
    life.passes(4000);
    life.ends("SIGTERM", true);
    expect(life.phase).toBe("stopping");
    life.passes(5999);
    expect(life.done()).not.toContain("KILL 101");
    life.passes(1);
    expect(life.done()).toContain("KILL 101");
    life.othersEnd();
    life.passes(100);
    expect(life.done().at(-1)).toBe("down");
  });

  lives("sends another signal when the lock changes to it", (life) => {
    running(life).lock("TERM");
    life.lock("TERM");
    life.lock("INT");
    life.lock("KILL");
    life.lock("TERM");
    expect(life.done()).toEqual([
      "TERM 101",
      "CONT 101",
      "INT 101",
      "CONT 101",
      "KILL 101",
    ]);
    life.passes(1000);
    expect(life.done()).toEqual(["KILL 101"]);
  });

  lives("does not give another signal more time", (life) => {
    running(life).lock("TERM");
    life.passes(9000);
    life.lock("INT");
    life.passes(1000);
    expect(life.done().at(-1)).toBe("KILL 101");
  });

  test("kills at once with a stop timeout of zero", () => {
    const life = running(new Life(undefined, 0));
    life.lock("TERM");
    life.passes(0);
    expect(life.done()).toEqual(["TERM 101", "CONT 101", "KILL 101"]);
  });
});

describe("locks", () => {
  for (const text of ["once", "0", ""]) {
    lives(`one that says '${text}' leaves be what runs`, (life) => {
      running(life).lock(text);
      life.passes(60_000);
      expect(life.done()).toEqual([]);
      life.ends(3);
      life.passes(60_000);
      expect(life.done()).toEqual(["exit 3", "down"]);
      expect(life.lines()).toEqual(["exited 3, not started again"]);
    });

    lives(
      `one that says '${text}' keeps what is down from starting`,
      (life) => {
        life.lock(text);
        life.file("usable");
        life.passes(60_000);
        expect(life.done()).toEqual([]);
        life.unlock();
        expect(life.done()).toEqual(["start", "running 101"]);
      },
    );
  }

  lives(
    "one removed while it stops starts it as soon as it is down",
    (life) => {
      running(life, 200).lock("TERM");
      life.unlock();
      expect(life.phase).toBe("stopping");
      life.ends("SIGTERM", true);
      life.passes(50);
      life.othersEnd();
      life.passes(100);
      expect(life.done().slice(-3)).toEqual(["down", "start", "running 102"]);
      expect(life.lines()).toEqual([
        "stopping (pid 101, SIGTERM)",
        "started (pid 102)",
      ]);
      expect(life.now).toBeLessThan(new Life().now + RESTART_INTERVAL);
    },
  );

  lives("one removed while it is delayed starts it at once", (life) => {
    running(life, 10).ends(1);
    life.lock("0");
    life.passes(10);
    life.unlock();
    expect(life.done()).toEqual(["exit 1", "down", "start", "running 102"]);
  });

  lives("one that came and went unseen ends a restart delay", (life) => {
    running(life, 10).ends(1);
    life.unlock();
    expect(life.phase).toBe("up");
  });

  lives("one that came and went while it ran saves no delay later", (life) => {
    const up = running(life, 100);
    up.lock("once");
    up.unlock();
    up.ends(1);
    expect(life.phase).toBe("delayed");
  });

  lives("one removed saves one delay, not every one", (life) => {
    running(life, 10).ends(1);
    life.unlock();
    life.ends(1);
    expect(life.phase).toBe("delayed");
  });

  lives("one put back before it is down keeps it down", (life) => {
    running(life, 200).lock("TERM");
    life.unlock();
    life.lock("0");
    life.ends("SIGTERM");
    life.passes(60_000);
    expect(life.done()).toEqual([
      "TERM 101",
      "CONT 101",
      "exit SIGTERM",
      "down",
    ]);
  });

  lives("one removed before the file is usable ends the delay then", (life) => {
    running(life, 10).ends(1);
    life.file("unusable");
    life.unlock();
    life.passes(50);
    life.file("usable");
    expect(life.phase).toBe("up");
  });

  lives("one that changes its mind does not take the signal back", (life) => {
    running(life).lock("TERM");
    life.lock("once");
    life.passes(STOP_TIMEOUT);
    expect(life.done()).toEqual(["TERM 101", "CONT 101", "KILL 101"]);
    life.ends("SIGKILL");
    expect(life.phase).toBe("down");
    expect(life.lines().at(-1)).toBe("stopped");
  });

  for (const text of ["once", "TERM", "KILL"]) {
    lives(`one that says '${text}' ends a restart delay's wait`, (life) => {
      running(life, 10).ends(1);
      life.lock(text);
      expect(life.deadline).toBeUndefined();
      life.passes(60_000);
      expect(life.done()).toEqual(["exit 1", "down"]);
    });
  }
});

describe("its file", () => {
  lives("going away stops it after a second and forgets it", (life) => {
    running(life).file("missing");
    life.passes(999);
    expect(life.done()).toEqual([]);
    life.passes(1);
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    life.ends("SIGTERM");
    expect(life.done()).toEqual(["exit SIGTERM", "down", "forget"]);
  });

  lives("going away while nothing runs is forgotten as well", (life) => {
    running(life, 10).ends(1);
    life.file("missing");
    life.passes(1000);
    expect(life.done()).toEqual(["exit 1", "down", "forget"]);
  });

  lives("put back within a second neither stops nor restarts it", (life) => {
    running(life).file("missing");
    life.passes(999);
    life.file("usable");
    life.passes(60_000);
    expect(life.done()).toEqual([]);
  });

  lives("is given one second, however often it is missed", (life) => {
    running(life).file("missing");
    life.passes(600);
    life.file("missing");
    life.passes(400);
    expect(life.phase).toBe("stopping");
    life.file("missing");
    expect(life.deadline).toBe(life.now + STOP_TIMEOUT);
  });

  lives("put back while it stops starts it again, and says so", (life) => {
    running(life).file("missing");
    life.passes(1000);
    life.file("usable");
    life.passes(STOP_TIMEOUT - 1);
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    life.ends("SIGTERM");
    expect(life.done()).toEqual([
      "exit SIGTERM",
      "down",
      "start",
      "running 102",
    ]);
    expect(life.lines()).toEqual([
      "stopping (pid 101, SIGTERM)",
      "started (pid 102)",
    ]);
  });

  lives("is not started while it is missed", (life) => {
    running(life, 10).ends(1);
    life.file("missing");
    life.passes(500);
    life.file("usable");
    expect(life.done()).toEqual(["exit 1", "down"]);
    life.passes(490);
    expect(life.done()).toEqual(["start", "running 102"]);
  });

  lives("coming back after it was forgotten starts a new life", (life) => {
    life.file("unusable");
    life.file("missing");
    life.passes(1000);
    life.file("usable");
    expect(life.done()).toEqual(["forget", "start", "running 101"]);
  });

  lives("that is no longer usable lets run what runs", (life) => {
    running(life).file("unusable");
    life.passes(60_000);
    expect(life.done()).toEqual([]);
    life.ends(0);
    life.passes(60_000);
    expect(life.done()).toEqual(["exit 0", "down"]);
    life.file("usable");
    expect(life.done()).toEqual(["start", "running 102"]);
  });
});

describe("what its end leaves behind", () => {
  lives("is brought down before it is started again", (life) => {
    running(life).ends(0, true);
    expect(life.done()).toEqual(["exit 0", "TERM 101", "CONT 101"]);
    life.passes(20);
    life.othersEnd();
    life.done();
    life.passes(100);
    expect(life.done()).toEqual(["check 101", "down", "start", "running 102"]);
    expect(life.lines()).toEqual([
      "exited 0, restarting",
      "left processes behind, which are being stopped",
      "started (pid 102)",
    ]);
  });

  const CAUSES: Record<string, (life: Life) => void> = {
    "ended by itself": () => undefined,
    "was told to stop": (life) => life.lock("TERM"),
    "was killed": (life) => life.lock("KILL"),
  };

  for (const [cause, happens] of Object.entries(CAUSES)) {
    lives(`is looked for with ever longer pauses after it ${cause}`, (life) => {
      happens(running(life));
      life.ends(0, true);
      const pauses: number[] = [];
      while (pauses.length < 9) {
        const pause = (life.deadline ?? Number.NaN) - life.now;
        pauses.push(pause);
        life.passes(pause);
      }
      expect(pauses).toEqual([2, 4, 8, 16, 32, 64, 100, 100, 100]);
    });
  }

  lives("is killed after the stop timeout and looked at once more", (life) => {
    running(life).ends(0, true);
    life.passes(STOP_TIMEOUT - 1);
    expect(life.done()).not.toContain("KILL 101");
    life.passes(1);
    expect(life.done().slice(-2)).toEqual(["KILL 101", "check 101"]);
    life.othersEnd();
    life.passes(10);
    expect(life.done()).toEqual(["check 101", "down", "start", "running 102"]);
  });

  lives("still gets its restart delay", (life) => {
    running(life, 100).ends(0, true);
    life.othersEnd();
    life.passes(100);
    expect(life.phase).toBe("delayed");
    life.passes(800);
    expect(life.phase).toBe("up");
  });

  lives("is brought down although a lock holds it", (life) => {
    running(life).lock("once");
    life.ends(0, true);
    life.othersEnd();
    life.passes(100);
    expect(life.done()).toEqual([
      "exit 0",
      "TERM 101",
      "CONT 101",
      "check 101",
      "down",
    ]);
  });
});

describe("taken over from an earlier sysmgr", () => {
  lives("is neither started nor stopped, and kept alive as before", (life) => {
    life.adopts({ ageMs: 7_200_000 });
    life.file("usable");
    life.passes(60_000);
    expect(life.done()).toEqual([]);
    expect(life.lines()).toEqual(["adopted (pid 101)"]);
    life.ends(UNKNOWN_EXIT);
    expect(life.done()).toEqual([
      "exit unknown",
      "down",
      "start",
      "running 102",
    ]);
    expect(life.lines()).toEqual(["ended, restarting", "started (pid 102)"]);
  });

  lives("a second after its start, by whomever, it may start again", (life) => {
    life.adopts({ ageMs: 400 });
    life.file("usable");
    life.passes(100);
    life.ends(UNKNOWN_EXIT);
    life.passes(499);
    expect(life.phase).toBe("delayed");
    life.passes(1);
    expect(life.phase).toBe("up");
  });

  lives("obeys the lock that it finds", (life) => {
    life.adopts({ ageMs: 5000 });
    life.lock("TERM");
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    life.ends(UNKNOWN_EXIT);
    life.file("usable");
    expect(life.phase).toBe("down");
  });

  lives("has its orphans stopped before it is started, and says so", (life) => {
    life.adopts({ ageMs: 5000, ended: true });
    life.file("usable");
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    life.othersEnd();
    life.passes(100);
    expect(life.done().slice(-2)).toEqual(["start", "running 102"]);
    expect(life.lines()).toEqual([
      "adopted (pid 101)",
      "left processes behind, which are being stopped",
      "started (pid 102)",
    ]);
  });

  lives("is left alone while something runs already", (life) => {
    const main = { pid: FOREIGN, startedAt: life.now, trusted: true };
    for (const ended of [false, true])
      running(life).happens({ type: "adopted", main, ended });
    expect(life.done()).toEqual([]);
    life.ends(0);
    expect(life.done()).toContain("exit 0");
  });

  describe("but unverified", () => {
    const unverified = (life: Life) => {
      life.adopts({ ageMs: 60_000, trusted: false });
      life.file("usable");
      return life;
    };

    lives("is never signalled, whatever a lock or its file says", (life) => {
      unverified(life).lock("TERM");
      life.lock("KILL");
      life.file("missing");
      life.passes(60_000);
      expect(life.done()).toEqual([]);
      expect(life.phase).toBe("up");
      expect(life.lines()).toHaveLength(1);
    });

    lives("is not doubled, and started again when it ends", (life) => {
      unverified(life).passes(60_000);
      expect(life.done()).toEqual([]);
      life.ends(UNKNOWN_EXIT, true);
      expect(life.done().slice(-2)).toEqual(["start", "running 102"]);
    });

    lives("does not hold up a shutdown, which says what it leaves", (life) => {
      unverified(life).lines();
      life.happens({ type: "shutdown" });
      expect(isDown(life.service)).toBe(true);
      expect(life.lines()).toEqual([
        "pid 101 cannot be verified, so it is left running",
      ]);
    });
  });
});

describe("a shutdown", () => {
  const shutdown: Event = { type: "shutdown" };
  const killNow: Event = { type: "killNow" };

  lives("stops what runs and starts nothing any more", (life) => {
    running(life).happens(shutdown);
    expect(life.done()).toEqual(["TERM 101", "CONT 101"]);
    expect(isDown(life.service)).toBe(false);
    life.ends("SIGTERM");
    expect(isDown(life.service)).toBe(true);
    life.unlock();
    life.file("usable");
    life.passes(60_000);
    expect(life.done()).toEqual(["exit SIGTERM", "down"]);
  });

  lives("ends a restart delay's wait", (life) => {
    running(life, 10).ends(1);
    life.happens(shutdown);
    expect(isDown(life.service)).toBe(true);
    expect(life.deadline).toBeUndefined();
  });

  lives("asks with the signal of the lock that stopped it already", (life) => {
    running(life).lock("INT");
    life.happens(shutdown);
    expect(life.done()).toEqual(["INT 101", "CONT 101"]);
    life.passes(STOP_TIMEOUT);
    expect(life.done()).toEqual(["KILL 101"]);
  });

  lives("stops what is only just being started", (life) => {
    const { service } = step(life.service, { type: "entry", is: "usable" }, 0);
    const asked = step(service, shutdown, 0);
    expect(asked.actions).toEqual([]);
    const main = { pid: PID, startedAt: 0, trusted: true };
    const { actions } = step(asked.service, { type: "started", main }, 0);
    expect(actions).toContainEqual({ do: "signal", group: PID, signal: 15 });
  });

  lives("asked for twice kills at once, and does not make up why", (life) => {
    running(life).happens(shutdown);
    life.passes(500);
    life.lines();
    life.happens(killNow);
    expect(life.done()).toEqual(["TERM 101", "CONT 101", "KILL 101"]);
    expect(life.lines().join()).not.toContain("10 s");
    life.passes(1000);
    expect(life.done()).toEqual(["KILL 101"]);
  });

  lives("asked for in a hurry still sees and records the end", (life) => {
    running(life).happens(killNow);
    life.ends("SIGKILL");
    expect(life.done()).toEqual(["KILL 101", "exit SIGKILL", "down"]);
  });

  lives("asked for twice kills what the main process left, too", (life) => {
    running(life).happens(shutdown);
    life.ends("SIGTERM", true);
    life.happens(killNow);
    life.othersEnd();
    expect(life.done().slice(-2)).toEqual(["KILL 101", "check 101"]);
    life.passes(10);
    expect(isDown(life.service)).toBe(true);
  });
});

describe("the log of a crash loop", () => {
  /** The lines about ends; those about starts left out. */
  const ends = (life: Life) =>
    life.lines().filter((line) => line.startsWith("exited"));

  lives(
    "tells the first ten ends, then one a minute with the count",
    (life) => {
      life.file("usable");
      crashes(life, 10);
      const first = ends(life);
      expect(first.slice(0, 9)).toEqual(
        new Array<string>(9).fill("exited 1, restarting in 1 s"),
      );
      expect(first.slice(9)).toEqual([
        "exited 1, restarting in 1 s (10 times in a row; told once a minute from now on)",
      ]);
      crashes(life, 59);
      expect(life.lines()).toEqual([]);
      crashes(life, 60);
      expect(life.lines()).toEqual([
        "exited 1, restarting in 1 s (70 times in a row)",
      ]);
    },
  );

  lives("does the same for starts that fail", (life) => {
    life.obstacle = "no such file or directory";
    life.file("usable");
    life.passes(128_000);
    const lines = life.lines();
    expect(lines).toHaveLength(11);
    expect(lines.at(-1)).toContain("(70 times in a row)");
  });

  lives("does the same for one that lives a few seconds each time", (life) => {
    life.file("usable");
    for (let time = 0; time < 120; time++) {
      life.passes(1500);
      life.ends(1);
    }
    const lines = life.lines();
    expect(lines.filter((line) => line.startsWith("exited"))).toHaveLength(12);
    expect(lines.filter((line) => line.startsWith("started"))).toHaveLength(11);
  });

  lives("does the same for one that leaves others behind", (life) => {
    life.file("usable");
    for (let time = 0; time < 69; time++) {
      life.ends(1, true);
      life.othersEnd();
      life.passes(RESTART_INTERVAL);
    }
    const lines = life.lines();
    expect(lines.filter((line) => line.startsWith("exited"))).toHaveLength(10);
    expect(lines.filter((line) => line.startsWith("left"))).toHaveLength(10);
  });

  lives("begins anew after a steady run", (life) => {
    life.file("usable");
    crashes(life, 30);
    life.lines();
    life.passes(10_000);
    crashes(life, 10);
    expect(ends(life)).toHaveLength(10);
  });

  lives("is not begun anew by a run just short of a steady one", (life) => {
    life.file("usable");
    crashes(life, 30);
    life.lines();
    life.passes(8999);
    life.ends(1);
    expect(life.lines()).toEqual([]);
  });

  lives("begins anew when somebody starts it", (life) => {
    life.file("usable");
    crashes(life, 30);
    life.lock("TERM");
    life.unlock();
    life.ends("SIGTERM");
    life.lines();
    crashes(life, 1);
    expect(ends(life)).toEqual(["exited 1, restarting in 1 s"]);
  });

  lives("tells of a start that somebody asked for", (life) => {
    life.file("usable");
    crashes(life, 30);
    life.ends(1);
    life.lines();
    life.unlock();
    expect(life.lines()).toEqual(["started (pid 132)"]);
  });

  lives("does not swallow the end of one that is not restarted", (life) => {
    life.file("usable");
    crashes(life, 30);
    life.lines();
    life.lock("once");
    life.ends(4);
    expect(life.lines()).toEqual(["exited 4, not started again"]);
  });

  lives("tells of the start of what was not to be started again", (life) => {
    running(life, 300).file("unusable");
    life.ends(1);
    life.passes(1000);
    life.file("usable");
    expect(life.lines()).toEqual([
      "exited 1, not started again",
      "started (pid 102)",
    ]);
  });
});
