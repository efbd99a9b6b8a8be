/**
 * One service's life, as pure code: (service, event, now) -> (service, actions). No clock, no process
 * and no file is touched here; supervisor.ts turns facts into events and actions into calls.
 *
 * What *is* is the phase. What is *wanted* follows from the entry in SYSDIR, the lock and the shutdown:
 *
 *   up     the entry is usable, there is no lock, no shutdown
 *   leave  a lock that only holds, or an entry that is missing or unusable: what runs goes on running,
 *          nothing is started
 *   down   a lock with a signal, an entry that is gone, the shutdown
 *
 * What to *do* when both meet:
 *
 *             | wanted up              | wanted leave | wanted down
 *   ----------+------------------------+--------------+--------------------------------------------
 *   down      | start, or delayed      |              | forget it when its entry is gone
 *   delayed   | start when it is due   | -> down      | -> down
 *   starting  | (the result of the start arrives before anything else)
 *   up        |                        |              | signal its group -> stopping
 *   stopping  | -> start when gone     | -> when gone | another signal of a lock is sent as well
 *
 * and what the processes do of themselves:
 *
 *   down, delayed | one of an earlier sysmgr is found -> up, or stopping when only its group is left
 *   starting  | started -> up; failed -> delayed
 *   up        | its process ends: group empty -> down; others left in it -> TERM, stopping
 *   stopping  | group empty -> down; stop timeout -> KILL, again every second
 *
 * A service is down when its whole group is gone. One taken over from an earlier sysmgr is an ordinary
 * process in `up` or `stopping`; if nobody could verify that it is the service's (`trusted` false), it
 * is watched, so that the service is never doubled, but never signalled.
 */
import {
  GROUP_CHECK_FIRST,
  GROUP_CHECK_LONGEST,
  KILL_REPEAT,
  LOGGED_ENDS,
  REPLACEMENT_GRACE,
  RESTART_INTERVAL,
  STEADY_RUN,
  THINNED_LOG_INTERVAL,
} from "../config.ts";
import { type Exit, type Lock, describeExit } from "../rundir.ts";
import { signalName } from "../signals.ts";
import { inSeconds } from "../text.ts";

/** The main process of a service and, by its number, its process group. */
export interface MainProcess {
  readonly pid: number;
  /** When it started, on the machine's clock (milliseconds, monotonic). */
  readonly startedAt: number;
  /** False when it may be somebody else's: then no signal is ever sent. */
  readonly trusted: boolean;
}

/** What is. */
export type Phase =
  | { readonly is: "down" }
  | { readonly is: "delayed"; readonly until: number }
  | { readonly is: "starting" }
  | { readonly is: "up"; readonly main: MainProcess }
  | Stopping;

interface Stopping {
  readonly is: "stopping";
  readonly main: MainProcess;
  /** The main process has ended, others of its group may be left. */
  readonly mainEnded: boolean;
  /** The signal that was sent last. */
  readonly signal: number;
  /** When KILL is sent. */
  readonly killAt: number;
  readonly killed: boolean;
  /** When to look at the group again, once the main process has ended. */
  readonly checkAt: number;
  readonly checkInterval: number;
}

/** Why a service is or is not to run. */
export type EntryState =
  | { readonly is: "usable" | "unusable" | "gone" }
  | { readonly is: "missing"; readonly until: number };

/** One service: everything that decides what happens to it. */
export interface Service {
  readonly phase: Phase;
  readonly entry: EntryState;
  readonly lock: Lock | undefined;
  readonly shutdown: boolean;
  /** Milliseconds from the stop signal to KILL. */
  readonly stopTimeout: number;
  /** When it was last started, or tried to. */
  readonly lastStart: number;
  /** Somebody asked for a start, so no restart delay is waited out. */
  readonly startAtOnce: boolean;
  /** Ends in a row that nobody asked for, each after less than a steady run. */
  readonly quickEnds: number;
  /** When the last line about such an end was logged. */
  readonly lastEndLogged: number;
  /** The next start is told in the log. */
  readonly announce: boolean;
}

/** What happened. */
export type Event =
  /** SYSDIR has a file of that name that can, or cannot, be run; or none any more. */
  | { readonly type: "entry"; readonly is: "usable" | "unusable" | "missing" }
  /** The lock now says this; `removed`: one was there and is not any more. */
  | {
      readonly type: "lock";
      readonly lock: Lock | undefined;
      readonly removed: boolean;
    }
  | { readonly type: "started"; readonly main: MainProcess }
  | { readonly type: "startFailed"; readonly reason: string }
  /** A process of an earlier sysmgr runs, or (`ended`) has left others in its group. */
  | {
      readonly type: "adopted";
      readonly main: MainProcess;
      readonly ended: boolean;
    }
  /** The main process ended; `othersLeft`: its group is not empty. */
  | {
      readonly type: "ended";
      readonly pid: number;
      readonly exit: Exit;
      readonly othersLeft: boolean;
    }
  /** The answer to `checkGroup`. */
  | {
      readonly type: "group";
      readonly pid: number;
      readonly alive: boolean;
    }
  | { readonly type: "deadline" }
  | { readonly type: "shutdown" }
  /** A second shutdown signal. */
  | { readonly type: "killNow" };

/** What to do. */
export type Action =
  | { readonly do: "start" }
  | {
      readonly do: "signal";
      readonly group: number;
      readonly signal: number;
    }
  | { readonly do: "checkGroup"; readonly group: number }
  /** Note in the run directory that it runs, how it ended, that it is down. */
  | { readonly do: "recordStart"; readonly main: MainProcess }
  | { readonly do: "recordExit"; readonly exit: Exit }
  | { readonly do: "recordDown" }
  /** Remove its state and think of it no more. */
  | { readonly do: "forget" }
  | { readonly do: "log"; readonly level: "info" | "warn"; text: string };

/** The outcome of one event. */
export interface Step {
  readonly service: Service;
  readonly actions: readonly Action[];
}

/** Made once, because there is one for each service. */
const USABLE: EntryState = { is: "usable" };
const UNUSABLE: EntryState = { is: "unusable" };
const TERM = 15;
const KILL = 9;
const CONT = 18;

/** A service that nothing is known of yet. */
export function newService(stopTimeout: number): Service {
  return {
    phase: { is: "down" },
    entry: { is: "unusable" },
    lock: undefined,
    shutdown: false,
    stopTimeout,
    lastStart: Number.NEGATIVE_INFINITY,
    startAtOnce: false,
    quickEnds: 0,
    lastEndLogged: Number.NEGATIVE_INFINITY,
    announce: true,
  };
}

/**
 * Lets one event happen to a service.
 * @param now milliseconds on a clock that never goes back.
 */
export function step(service: Service, event: Event, now: number): Step {
  const happened = absorb(service, event, now);
  const settled = settle(happened.service, now);
  return {
    service: settled.service,
    actions: [...happened.actions, ...settled.actions],
  };
}

/**
 * When the service must be given a `deadline` event; undefined when it waits for nothing but events.
 */
export function deadlineOf(service: Service): number | undefined {
  const { phase, entry } = service;
  const times: number[] = [];
  if (phase.is === "delayed") times.push(phase.until);
  if (phase.is === "stopping") {
    times.push(phase.killAt);
    if (phase.mainEnded) times.push(phase.checkAt);
  }
  if (entry.is === "missing") times.push(entry.until);
  const first = Math.min(...times);
  return Number.isFinite(first) ? first : undefined;
}

/** Whether nothing of the service runs and nothing is about to: a shutdown may end. */
export function isDown(service: Service): boolean {
  return service.phase.is === "down";
}

/** What should be, with the signal that brings it down. */
function wanted(
  service: Service,
): { to: "up" } | { to: "leave" } | { to: "down"; signal: number } {
  const { entry, lock, shutdown } = service;
  if (lock?.asks === "stop") return { to: "down", signal: lock.signal };
  if (shutdown || entry.is === "gone") return { to: "down", signal: TERM };
  if (lock !== undefined || entry.is !== "usable") return { to: "leave" };
  return { to: "up" };
}

/** Takes in what happened, without deciding what follows from it. */
function absorb(service: Service, event: Event, now: number): Step {
  switch (event.type) {
    case "entry":
      return same({ ...service, entry: entryAfter(service, event.is, now) });
    case "lock":
      return same({
        ...service,
        lock: event.lock,
        // What runs already is not to be started, and its next end deserves the ordinary delay.
        startAtOnce:
          event.lock === undefined &&
          service.phase.is !== "up" &&
          (event.removed || service.startAtOnce),
        announce: event.removed || service.announce,
        quickEnds: event.removed ? 0 : service.quickEnds,
      });
    case "started":
      return started(service, event.main, now);
    case "startFailed":
      return startFailed(service, event.reason, now);
    case "adopted":
      return adopted(service, event.main, event.ended, now);
    case "ended":
      return ended(service, event, now);
    case "group":
      return groupChecked(service, event, now);
    case "deadline":
      return deadline(service, now);
    case "shutdown":
      return same({ ...service, shutdown: true });
    case "killNow":
      return killNow(service, now);
  }
}

/** Acts on the difference between what is and what is wanted. */
function settle(service: Service, now: number): Step {
  const { phase } = service;
  const want = wanted(service);
  switch (phase.is) {
    case "starting":
      return same(service);
    case "down":
    case "delayed":
      if (want.to === "up") return start(service, now);
      return {
        service: { ...service, phase: { is: "down" } },
        actions: service.entry.is === "gone" ? [{ do: "forget" }] : [],
      };
    case "up":
      if (want.to !== "down") return same(service);
      return stop(service, phase.main, want.signal, false, now);
    case "stopping":
      if (service.lock?.asks !== "stop") return same(service);
      return stopOtherwise(service, phase, service.lock.signal, now);
  }
}

function start(service: Service, now: number): Step {
  const due = service.lastStart + RESTART_INTERVAL;
  if (!service.startAtOnce && due > now)
    return same({ ...service, phase: { is: "delayed", until: due } });
  return {
    service: {
      ...service,
      phase: { is: "starting" },
      lastStart: now,
      startAtOnce: false,
    },
    actions: [{ do: "start" }],
  };
}

function started(service: Service, main: MainProcess, now: number): Step {
  if (service.phase.is !== "starting") return same(service);
  const actions: Action[] = [{ do: "recordStart", main }];
  if (service.announce) actions.push(info(`started (pid ${main.pid})`));
  return {
    service: {
      ...service,
      phase: { is: "up", main },
      lastStart: now,
      announce: false,
    },
    actions,
  };
}

function startFailed(service: Service, reason: string, now: number): Step {
  if (service.phase.is !== "starting") return same(service);
  const failed = quickEnd(
    service,
    `cannot start: ${reason}`,
    "trying again",
    now,
  );
  return {
    service: { ...failed.service, phase: { is: "down" }, lastStart: now },
    actions: failed.actions,
  };
}

function adopted(
  service: Service,
  main: MainProcess,
  mainEnded: boolean,
  now: number,
): Step {
  if (service.phase.is !== "down" && service.phase.is !== "delayed")
    return same(service);
  const running: Service = {
    ...service,
    phase: { is: "up", main },
    lastStart: main.startedAt,
    announce: false,
  };
  if (!main.trusted)
    return {
      service: running,
      actions: [
        warn(
          `pid ${main.pid} may be its process, which cannot be verified: it is left alone`,
        ),
      ],
    };
  const note = info(`adopted (pid ${main.pid})`);
  if (!mainEnded) return { service: running, actions: [note] };
  return withActions(
    [note],
    clearGroup({ ...running, announce: true }, main, true, now),
  );
}

function ended(
  service: Service,
  event: { pid: number; exit: Exit; othersLeft: boolean },
  now: number,
): Step {
  const { phase } = service;
  if (phase.is === "stopping" && phase.main.pid === event.pid) {
    if (phase.mainEnded) return same(service);
    const record: Action[] = [{ do: "recordExit", exit: event.exit }];
    if (!event.othersLeft) return withActions(record, stopped(service));
    const checkAt = now + phase.checkInterval;
    return {
      service: { ...service, phase: { ...phase, mainEnded: true, checkAt } },
      actions: record,
    };
  }
  if (phase.is !== "up" || phase.main.pid !== event.pid) return same(service);
  return endedByItself(service, phase.main, event, now);
}

function endedByItself(
  service: Service,
  main: MainProcess,
  event: { exit: Exit; othersLeft: boolean },
  now: number,
): Step {
  const record: Action[] = [{ do: "recordExit", exit: event.exit }];
  const lived = now - main.startedAt;
  const text = describeExit(event.exit);
  const again = wanted(service).to === "up";
  const told = again
    ? quickEnd(
        lived >= STEADY_RUN ? { ...service, quickEnds: 0 } : service,
        text,
        "restarting",
        now,
      )
    : { service, actions: [info(`${text}, not started again`)] };
  const often = told.service.quickEnds > LOGGED_ENDS;
  const after: Service = {
    ...told.service,
    announce: !again || (!often && lived >= RESTART_INTERVAL),
  };
  record.push(...told.actions);
  if (event.othersLeft && main.trusted)
    return withActions(
      record,
      clearGroup(after, main, told.actions.length > 0, now),
    );
  return withActions([...record, { do: "recordDown" }], {
    service: { ...after, phase: { is: "down" } },
    actions: [],
  });
}

/** Others are left in the group of a main process that ended by itself: they get the full stop. */
function clearGroup(
  service: Service,
  main: MainProcess,
  tell: boolean,
  now: number,
): Step {
  return withActions(
    tell ? [info("left processes behind, which are being stopped")] : [],
    stop(service, main, TERM, true, now),
  );
}

function stop(
  service: Service,
  main: MainProcess,
  signal: number,
  mainEnded: boolean,
  now: number,
): Step {
  if (!main.trusted) return releaseUntrusted(service, main);
  const phase: Stopping = {
    is: "stopping",
    main,
    mainEnded,
    signal,
    killAt: signal === KILL ? now + KILL_REPEAT : now + service.stopTimeout,
    killed: signal === KILL,
    checkAt: now + GROUP_CHECK_FIRST,
    checkInterval: GROUP_CHECK_FIRST,
  };
  const actions = sendSignal(main.pid, signal);
  if (mainEnded) return { service: { ...service, phase }, actions };
  actions.push(info(`stopping (pid ${main.pid}, ${signalName(signal)})`));
  return { service: { ...service, phase, announce: true }, actions };
}

/** What cannot be verified is not signalled; only a shutdown lets go of it, and says so. */
function releaseUntrusted(service: Service, main: MainProcess): Step {
  if (!service.shutdown) return same(service);
  return {
    service: { ...service, phase: { is: "down" } },
    actions: [
      warn(`pid ${main.pid} cannot be verified, so it is left running`),
    ],
  };
}

/** A lock that asks for another signal than the last one sent: `svctl kill` during a slow stop. */
function stopOtherwise(
  service: Service,
  phase: Stopping,
  signal: number,
  now: number,
): Step {
  if (phase.signal === signal || phase.killed) return same(service);
  const killed = signal === KILL;
  const killAt = killed ? now + KILL_REPEAT : phase.killAt;
  return {
    service: { ...service, phase: { ...phase, signal, killed, killAt } },
    actions: sendSignal(phase.main.pid, signal),
  };
}

function groupChecked(
  service: Service,
  event: { pid: number; alive: boolean },
  now: number,
): Step {
  const { phase } = service;
  if (phase.is !== "stopping" || !phase.mainEnded) return same(service);
  if (phase.main.pid !== event.pid) return same(service);
  if (!event.alive) return stopped(service);
  const checkInterval = Math.min(phase.checkInterval * 2, GROUP_CHECK_LONGEST);
  const checkAt = now + checkInterval;
  return same({ ...service, phase: { ...phase, checkInterval, checkAt } });
}

function stopped(service: Service): Step {
  const actions: Action[] = [{ do: "recordDown" }];
  const to = wanted(service).to;
  // A service that is to come up again says so by starting; only a lasting stop is news.
  if (to !== "up") actions.push(info("stopped"));
  return { service: { ...service, phase: { is: "down" } }, actions };
}

function deadline(service: Service, now: number): Step {
  const { phase, entry } = service;
  const expired = entry.is === "missing" && entry.until <= now;
  const after: Service = expired
    ? { ...service, entry: { is: "gone" } }
    : service;
  if (phase.is !== "stopping") return same(after);
  if (phase.killAt <= now) {
    const waited = inSeconds(service.stopTimeout);
    const why = `still running ${waited} after ${signalName(phase.signal)}`;
    return kill(after, phase, why, now);
  }
  if (phase.mainEnded && phase.checkAt <= now)
    return { service: after, actions: [checkGroup(phase)] };
  return same(after);
}

/** The stop timeout has passed, or the last KILL has not been enough yet. */
function kill(
  service: Service,
  phase: Stopping,
  why: string,
  now: number,
): Step {
  const actions: Action[] = [
    { do: "signal", group: phase.main.pid, signal: KILL },
  ];
  if (!phase.killed) actions.push(warn(`${why}: killing it`));
  if (phase.mainEnded) actions.push(checkGroup(phase));
  return {
    service: {
      ...service,
      phase: {
        ...phase,
        signal: KILL,
        killed: true,
        killAt: now + KILL_REPEAT,
        checkInterval: GROUP_CHECK_FIRST,
        checkAt: now + GROUP_CHECK_FIRST,
      },
    },
    actions,
  };
}

function killNow(service: Service, now: number): Step {
  const { phase } = service;
  const hurried: Service = { ...service, shutdown: true };
  if (phase.is === "stopping")
    return kill(hurried, phase, "still running, but no time is left", now);
  if (phase.is === "up") return stop(hurried, phase.main, KILL, false, now);
  return same(hurried);
}

/** Counts an end that nobody asked for, and tells of it unless it is one of too many. */
function quickEnd(
  service: Service,
  text: string,
  next: string,
  now: number,
): Step {
  const quickEnds = service.quickEnds + 1;
  const wait = Math.max(0, service.lastStart + RESTART_INTERVAL - now);
  const when = wait > 0 ? ` in ${inSeconds(wait)}` : "";
  const line = tellEnd(service, quickEnds, now, `${text}, ${next}${when}`);
  return {
    service: {
      ...service,
      quickEnds,
      lastEndLogged: line === undefined ? service.lastEndLogged : now,
    },
    actions: line === undefined ? [] : [warn(line)],
  };
}

function tellEnd(
  service: Service,
  count: number,
  now: number,
  text: string,
): string | undefined {
  if (count < LOGGED_ENDS) return text;
  if (count === LOGGED_ENDS)
    return `${text} (${count} times in a row; told once a minute from now on)`;
  if (now - service.lastEndLogged < THINNED_LOG_INTERVAL) return undefined;
  return `${text} (${count} times in a row)`;
}

function entryAfter(
  service: Service,
  is: "usable" | "unusable" | "missing",
  now: number,
): EntryState {
  if (is !== "missing") return is === "usable" ? USABLE : UNUSABLE;
  const { entry } = service;
  return entry.is === "missing" || entry.is === "gone"
    ? entry
    : { is: "missing", until: now + REPLACEMENT_GRACE };
}

function sendSignal(group: number, signal: number): Action[] {
  const actions: Action[] = [{ do: "signal", group, signal }];
  // A stopped process acts on no signal but KILL before it is continued.
  if (signal !== KILL) actions.push({ do: "signal", group, signal: CONT });
  return actions;
}

function checkGroup(phase: Stopping): Action {
  return { do: "checkGroup", group: phase.main.pid };
}

function info(text: string): Action {
  return { do: "log", level: "info", text };
}

function warn(text: string): Action {
  return { do: "log", level: "warn", text };
}

function same(service: Service): Step {
  return { service, actions: [] };
}

function withActions(actions: readonly Action[], next: Step): Step {
  return {
    service: next.service,
    actions: [...actions, ...next.actions],
  };
}
