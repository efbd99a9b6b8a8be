/** Waits, inside a service's script, until other services are up. */
import { monotonicNow } from "../clock.ts";
import {
  type CommandLine,
  COMMON_OPTIONS,
  type Parsed,
  UsageError,
} from "../command-line.ts";
import { configure, parseSeconds } from "../config.ts";
import { Awakening } from "../control/awakening.ts";
import {
  findCircle,
  dependencyState,
  leaveTrace,
  reachable,
} from "../control/dependencies.ts";
import { type Places, runningSysmgr } from "../control/view.ts";
import { reasonOf } from "../errors.ts";
import { removeFile, replaceFile } from "../files.ts";
import { createSimpleMessages } from "../messages.ts";
import { absolutePath } from "../paths.ts";
import { statePath } from "../rundir.ts";
import { signalNumber } from "../signals.ts";
import { exists } from "../sysdir.ts";
import { inSeconds } from "../text.ts";
import { PLACE_OPTIONS, runApplet } from "./run.ts";

const OK = 0;
const FAILED = 1;
/** Milliseconds after which a wait is told. */
const PATIENCE = 1000;
/** Milliseconds that a member of a circle stays in it, so that every other member sees it, too. */
const CIRCLE_LINGER = 500;
const END_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const;
const SIGNAL_EXIT = 128;

const COMMAND_LINE: CommandLine = {
  name: "sysmgr-depends",
  description: "Waits until all the services are up.",
  synopsis: "[-r DIR] [-s DIR] [-t SECONDS] [-q] SERVICE...",
  options: {
    ...PLACE_OPTIONS,
    timeout: {
      type: "string",
      alias: "t",
      valueHint: "SECONDS",
      description: "give up after so long (never unless given)",
    },
    quiet: {
      type: "boolean",
      alias: "q",
      description: "do not tell that it has to wait",
    },
    ...COMMON_OPTIONS,
  },
};

/** Who waits, and for what. */
interface Wait extends Places {
  /** The service whose script this runs in; undefined elsewhere. */
  readonly service: string | undefined;
  readonly names: readonly string[];
  /** On monotonicNow(), in milliseconds. */
  readonly deadline: number;
  readonly timeout: number;
  readonly quiet: boolean;
}

/** The applet `sysmgr-depends`. */
export function sysmgrDepends(
  rawArguments: readonly string[],
): Promise<number> {
  return runApplet(COMMAND_LINE, rawArguments, depend);
}

async function depend(parsed: Parsed): Promise<number> {
  const wait = readWait(parsed);
  const { error } = createSimpleMessages(COMMAND_LINE.name);
  const unknown = wait.names.filter((name) => !isService(wait.sysdir, name));
  for (const name of unknown)
    error(`${name}: no such service in ${wait.sysdir}`);
  if (unknown.length > 0) return FAILED;
  const withdraw = stillDown(wait).length > 0 ? declare(wait) : undefined;
  try {
    const code = await waitFor(wait);
    if (code === OK) markPassed(wait);
    return code;
  } finally {
    withdraw?.();
  }
}

function readWait(parsed: Parsed): Wait {
  const { sysdir, rundir } = configure(
    { sysdir: parsed.value("sysdir"), rundir: parsed.value("rundir") },
    process.env,
  );
  const seconds = parsed.value("timeout");
  const timeout =
    seconds === undefined
      ? Number.POSITIVE_INFINITY
      : parseSeconds(seconds, "--timeout") * 1000;
  if (parsed.operands.length === 0)
    throw new UsageError("the name of a service is missing");
  const own = process.env["RUNDIR"];
  const supervised = own !== undefined && absolutePath(own) === rundir;
  return {
    sysdir,
    rundir,
    service: supervised ? process.env["SYSMGR_SERVICE"] : undefined,
    names: [...new Set(parsed.operands)],
    deadline: monotonicNow() + timeout,
    timeout,
    quiet: parsed.isSet("quiet"),
  };
}

function isService(sysdir: string, name: string): boolean {
  return (
    name !== "" &&
    !/[/\n]/.test(name) &&
    !name.startsWith(".") &&
    exists(sysdir, name)
  );
}

async function waitFor(wait: Wait): Promise<number> {
  const awakening = new Awakening(wait.rundir);
  try {
    return await waitAwake(wait, awakening);
  } finally {
    awakening.close();
  }
}

async function waitAwake(wait: Wait, awakening: Awakening): Promise<number> {
  const { error, info } = createSimpleMessages(COMMAND_LINE.name);
  let tellAt = monotonicNow() + PATIENCE;
  for (;;) {
    const down = stillDown(wait);
    if (down.length === 0) return OK;
    const circle = circleOf(wait, down);
    if (circle !== undefined) {
      error(`${prefix(wait)}waits in a circle: ${circle.join(" -> ")}`);
      await Bun.sleep(CIRCLE_LINGER);
      return FAILED;
    }
    const now = monotonicNow();
    const list = down.join(", ");
    if (now >= wait.deadline) {
      error(
        `${prefix(wait)}still down after ${inSeconds(wait.timeout)}: ${list}`,
      );
      return FAILED;
    }
    if (now >= tellAt) {
      if (!wait.quiet) info(`${prefix(wait)}waiting for ${list}${hint(wait)}`);
      tellAt = Number.POSITIVE_INFINITY;
    }
    const next = Math.min(wait.deadline, tellAt) - now;
    // A script that becomes something else by `exec` gives no event.
    const quiet = down.some(
      (name) => dependencyState(wait, name) === "beginning",
    );
    await awakening.next(reachable(wait.rundir, down), Math.ceil(next), quiet);
  }
}

function stillDown(wait: Wait): string[] {
  return wait.names.filter((name) => dependencyState(wait, name) !== "up");
}

function circleOf(wait: Wait, down: readonly string[]): string[] | undefined {
  if (wait.service === undefined) return undefined;
  return findCircle(wait.rundir, wait.service, down);
}

/**
 * Says in the run directory what the service waits for, so that others do not take it for up.
 * @returns how to take that back.
 */
function declare(wait: Wait): () => void {
  if (wait.service === undefined) return () => undefined;
  const path = statePath(wait.rundir, wait.service, "waiting");
  const withdraw = () => attempt(wait, path, () => removeFile(path));
  // Before the file is there: it must not stay when this ends just then.
  for (const signal of END_SIGNALS)
    process.once(signal, () => {
      withdraw();
      process.exit(SIGNAL_EXIT + (signalNumber(signal) ?? 0));
    });
  attempt(wait, path, () => replaceFile(path, `${wait.names.join("\n")}\n`));
  return withdraw;
}

function markPassed(wait: Wait): void {
  const { service, rundir } = wait;
  if (service === undefined) return;
  const path = statePath(rundir, service, "starts");
  attempt(wait, path, () => leaveTrace(rundir, service));
}

/** Does something to the run directory; that it cannot be done is told, and the wait goes on. */
function attempt(wait: Wait, path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    const { warn } = createSimpleMessages(COMMAND_LINE.name);
    warn(`${prefix(wait)}${path}: ${reasonOf(error)}`);
  }
}

function prefix(wait: Wait): string {
  return wait.service === undefined ? "" : `${wait.service}: `;
}

function hint(wait: Wait): string {
  return runningSysmgr(wait.rundir) === undefined
    ? ` (sysmgr is not running on ${wait.rundir})`
    : "";
}
