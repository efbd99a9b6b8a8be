/** Shows, starts, stops and restarts services, through the files of the run directory. */
import {
  type CommandLine,
  COMMON_OPTIONS,
  type Parsed,
  UsageError,
} from "../command-line.ts";
import {
  adviceOn,
  CONTROL_MARGIN_SECONDS,
  configure,
  parseSeconds,
} from "../config.ts";
import {
  type Control,
  ControlError,
  kill,
  once,
  type Operation,
  restart,
  sendSignal,
  start,
  stop,
} from "../control/operations.ts";
import { stateWord, statusLine, statusObject } from "../control/status.ts";
import {
  look,
  type Places,
  runningSysmgr,
  type View,
} from "../control/view.ts";
import { describeError, reasonOf } from "../errors.ts";
import { createSimpleMessages, writeFully } from "../messages.ts";
import { signalNumber } from "../signals.ts";
import { listNames } from "../sysdir.ts";
import { statusOfExisting } from "../system/files.ts";
import { PLACE_OPTIONS, runApplet } from "./run.ts";

const STDOUT = 1;
const OK = 0;
const FAILED = 1;
const INTERRUPTED = 130;

const COMMAND_LINE: CommandLine = {
  name: "svctl",
  description: "Shows, starts, stops and restarts services.",
  synopsis:
    "[-r DIR] [-s DIR] [-w SECONDS] [--no-wait] [-q] [--json] OPERATION [SERVICE...]",
  options: {
    ...PLACE_OPTIONS,
    seconds: {
      type: "string",
      alias: "w",
      valueHint: "SECONDS",
      description:
        "wait so long for the result (stop timeout plus 2 unless given)",
    },
    wait: {
      type: "boolean",
      default: true,
      description: "return at once, without the result",
    },
    quiet: {
      type: "boolean",
      alias: "q",
      description: "print nothing but errors",
    },
    json: { type: "boolean", description: "print the status as JSON" },
    ...COMMON_OPTIONS,
  },
  details: `operations:
  start, up         remove the lock, so that it runs
  stop, down        stop it (TERM) and keep it down
  restart           stop it and start it again
  kill              stop it with KILL and keep it down
  once              run it, and do not restart it when it ends
  signal SIG        send SIG to its main process
  reload            the same as signal HUP
  status, stat      show it; without SERVICE: show all

SERVICE is a name, or a path whose last part is one.`,
};

const OPERATIONS: Readonly<Record<string, Operation>> = {
  start,
  up: start,
  stop,
  down: stop,
  restart,
  kill,
  once,
  reload: sendSignal(1),
};

/** The applet `svctl`. */
export function svctl(rawArguments: readonly string[]): Promise<number> {
  return runApplet(COMMAND_LINE, rawArguments, control);
}

async function control(parsed: Parsed): Promise<number> {
  const { sysdir, rundir, stopTimeout } = configure(
    { sysdir: parsed.value("sysdir"), rundir: parsed.value("rundir") },
    process.env,
  );
  const places: Places = { sysdir, rundir };
  const seconds = parsed.value("seconds");
  const wait =
    seconds === undefined
      ? stopTimeout + CONTROL_MARGIN_SECONDS * 1000
      : parseSeconds(seconds, "-w") * 1000;
  const [word, ...operands] = parsed.operands;
  if (word === undefined) throw new UsageError("an operation is missing");
  const json = parsed.isSet("json");
  if (word === "status" || word === "stat")
    return status(
      places,
      operands.map(serviceName),
      json,
      parsed.isSet("quiet"),
    );
  const { operation, services } = readOperation(word, operands);
  if (json) throw new UsageError(`--json goes with status, not with '${word}'`);
  if (services.length === 0)
    throw new UsageError(`'${word}' needs the name of a service`);
  const names = [...new Set(services.map(serviceName))];
  return perform(operation, names, {
    ...places,
    wait,
    stopTimeout,
    returnsAtOnce: !parsed.isSet("wait"),
  });
}

function readOperation(
  word: string,
  operands: readonly string[],
): { operation: Operation; services: readonly string[] } {
  if (word === "signal") {
    const [name, ...services] = operands;
    if (name === undefined) throw new UsageError("'signal' needs a signal");
    const signal = signalNumber(name);
    if (signal === undefined) throw new UsageError(`no such signal: '${name}'`);
    return { operation: sendSignal(signal), services };
  }
  const operation = Object.hasOwn(OPERATIONS, word)
    ? OPERATIONS[word]
    : undefined;
  if (operation === undefined)
    throw new UsageError(`no such operation: '${word}'`);
  return { operation, services: operands };
}

/** The last part of a path, so that `svctl status /var/sysmgr/*` works. */
function serviceName(operand: string): string {
  const name = operand.replace(/\/+$/, "").split("/").at(-1) ?? "";
  if (name === "") throw new UsageError(`'${operand}' names no service`);
  return name;
}

async function perform(
  operation: Operation,
  names: readonly string[],
  settings: Control,
): Promise<number> {
  const { error } = createSimpleMessages("svctl");
  const obstacle = obstacleToControl(settings);
  if (obstacle !== undefined) {
    error(obstacle);
    return FAILED;
  }
  let code = OK;
  const interrupted = watchInterruption();
  await Promise.all(
    names.map(async (name) => {
      try {
        refuseUnknown(settings, look(settings, name));
        await operation(settings, name);
      } catch (problem) {
        code = FAILED;
        error(`${name}: ${describe(problem)}`);
      }
    }),
  );
  return interrupted() ? INTERRUPTED : code;
}

function describe(problem: unknown): string {
  return problem instanceof ControlError
    ? problem.message
    : describeError(problem);
}

/** Services that wait for nothing are not interrupted; the others end with what they have. */
function watchInterruption(): () => boolean {
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => {
      interrupted = true;
      setImmediate(() => process.exit(INTERRUPTED));
    });
  return () => interrupted;
}

/** What keeps every operation from having an effect. */
function obstacleToControl({ rundir }: Places): string | undefined {
  try {
    if (!statusOfExisting(rundir).isDirectory)
      return `${rundir}: not a directory, so there is no run directory`;
  } catch (problem) {
    return `${rundir}: ${reasonOf(problem)}; sysmgr is not running on it${adviceOn(rundir)}`;
  }
  return runningSysmgr(rundir) === undefined
    ? `sysmgr is not running on ${rundir}`
    : undefined;
}

function refuseUnknown(places: Places, view: View): void {
  if (view.name.startsWith("."))
    throw new ControlError("a name that starts with a dot is not a service");
  if (view.entry.is === "absent" && !view.recorded)
    throw new ControlError(`no such service in ${places.sysdir}`);
}

function status(
  places: Places,
  named: readonly string[],
  json: boolean,
  quiet: boolean,
): number {
  const { error } = createSimpleMessages("svctl");
  const names = named.length > 0 ? [...new Set(named)] : allNames(places);
  const sysmgrRuns = runningSysmgr(places.rundir) !== undefined;
  const views: View[] = [];
  let code = OK;
  for (const name of names) {
    try {
      const view = look(places, name);
      refuseUnknown(places, view);
      views.push(view);
      if (stateWord(view) !== "UP") code = FAILED;
    } catch (problem) {
      code = FAILED;
      error(`${name}: ${describe(problem)}`);
    }
  }
  if (!quiet) writeFully(STDOUT, render(views, sysmgrRuns, json));
  return code;
}

function render(
  views: readonly View[],
  sysmgrRuns: boolean,
  json: boolean,
): string {
  if (json) return `${toJson(views.map(statusObject))}\n`;
  const now = Date.now();
  return views.map((view) => `${statusLine(view, sysmgrRuns, now)}\n`).join("");
}

/** JSON leaves some characters alone that a terminal obeys. */
function toJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function allNames({ sysdir }: Places): string[] {
  try {
    return listNames(sysdir).sort();
  } catch (problem) {
    throw new ControlError(
      `${sysdir}: ${reasonOf(problem)}${adviceOn(sysdir)}`,
    );
  }
}
