/** The daemon: puts the parts together, obeys signals, and outlives whatever goes wrong inside it. */
import {
  type CommandLine,
  COMMON_OPTIONS,
  type Parsed,
  UsageError,
} from "../command-line.ts";
import {
  adviceOn,
  type Configuration,
  configure,
  LONGEST_TIMER,
} from "../config.ts";
import { reasonOf } from "../errors.ts";
import { directoryIdentity, isAbsence } from "../files.ts";
import { createMessages } from "../messages.ts";
import { readProcesses } from "../proc.ts";
import {
  listStates,
  stateDirectory,
  STATE_FILES,
  type StateFile,
} from "../rundir.ts";
import { Adoption } from "../supervisor/adopt.ts";
import { Instance } from "../supervisor/instance.ts";
import { systemProcesses } from "../supervisor/process.ts";
import { reapOrphans } from "../supervisor/reaper.ts";
import { Records, removeLeftovers } from "../supervisor/records.ts";
import { QUIET, SecondLook } from "../supervisor/second-look.ts";
import { StderrLog } from "../supervisor/stderr.ts";
import { type Log, Supervisor } from "../supervisor/supervisor.ts";
import { Tidying } from "../supervisor/tidying.ts";
import { DirectoryWatch } from "../supervisor/watch.ts";
import { exists } from "../sysdir.ts";
import { statusOfExisting } from "../system/files.ts";
import { inotify } from "../system/inotify.ts";
import { isTerminal, releaseMemory } from "../system/processes.ts";
import { releaseAll } from "../system/signal-mask.ts";
import { PLACE_OPTIONS, runApplet } from "./run.ts";

const OK = 0;
const FAILED = 1;
const STDERR = 2;
/** Milliseconds after which a shutdown names what it still waits for. */
const STRAGGLERS_AFTER = 1000;
const STOP_SIGNALS = [
  "SIGTERM",
  "SIGINT",
  "SIGQUIT",
  "SIGABRT",
  "SIGHUP",
] as const;
const YELLOW = "\u001b[33m";
const PLAIN = "\u001b[0m";

const COMMAND_LINE: CommandLine = {
  name: "sysmgr",
  description:
    "Starts every executable in the service directory and keeps it running.",
  synopsis: "[-s DIR] [-r DIR] [-t SECONDS]",
  options: {
    ...PLACE_OPTIONS,
    timeout: {
      type: "string",
      alias: "t",
      valueHint: "SECONDS",
      description:
        "from stop signal to KILL, 10 unless given (environment: SYSMGR_STOP_TIMEOUT)",
    },
    ...COMMON_OPTIONS,
  },
  details: `sysmgr --list           show the names of the applets
sysmgr --install DIR    make links for the applets in DIR

signals:
  TERM INT QUIT ABRT HUP  stop all services and exit; again: kill them at once
  USR1                    look at SYSDIR and RUNDIR again
  USR2                    exit and leave the services running, for an upgrade`,
};

/** The applet `sysmgr`: returns an exit code when it cannot begin, otherwise runs until it is told to end. */
export function sysmgr(rawArguments: readonly string[]): Promise<number> {
  return runApplet(COMMAND_LINE, rawArguments, supervise);
}

function supervise(parsed: Parsed): number | Promise<number> {
  const [extra] = parsed.operands;
  if (extra !== undefined) throw new UsageError(`unexpected '${extra}'`);
  const configuration = configure(
    {
      sysdir: parsed.value("sysdir"),
      rundir: parsed.value("rundir"),
      timeout: parsed.value("timeout"),
    },
    process.env,
  );
  const log = openLog();
  const { sysdir, rundir } = configuration;
  const problem = sysdirProblem(sysdir, rundir);
  if (problem !== undefined) {
    log.warn(`${sysdir}: ${problem}${adviceOn(sysdir)}`);
    return FAILED;
  }
  const instance = new Instance(rundir, sysdir, log);
  const obstacle = instance.claim();
  if (obstacle !== undefined) {
    log.warn(obstacle);
    return FAILED;
  }
  return new Promise((resolve) => run(configuration, instance, log, resolve));
}

function run(
  configuration: Configuration,
  instance: Instance,
  log: Log,
  exit: (code: number) => void,
): void {
  outliveErrors(log);
  // Without a timer, a child or a socket Bun does not wait for signals but asks for them all the time.
  setInterval(() => undefined, LONGEST_TIMER);
  const { sysdir, rundir } = configuration;
  const records = new Records(rundir, log);
  const directories: DirectoryWatch[] = [];
  const leave = (code: number) => {
    for (const directory of directories) directory.close();
    records.close();
    exit(code);
  };
  const occasion = () => {
    for (const directory of directories) directory.check();
    // An ended service may have hidden others that have ended.
    reapOrphans();
  };
  const tidying = new Tidying(() => Bun.gc(true), releaseMemory);
  const supervisor = new Supervisor(
    configuration,
    systemProcesses,
    records,
    log,
    process.env,
    {
      allDown() {
        instance.clear();
        leave(OK);
      },
      occasion,
      worked: () => tidying.note(),
      catchUp() {
        inotify.drain();
        occasion();
        return directories.every(({ isComplete }) => isComplete);
      },
    },
  );
  obeySignals(supervisor, log, directories, () => {
    records.withdraw();
    leave(OK);
  });
  records.announce(process.pid);
  directories.push(
    watchSysdir(sysdir, supervisor, log),
    watchRundir(rundir, supervisor, records, log, () => {
      const other = instance.reclaim();
      if (other === undefined) return true;
      // Whoever has the run directory now has taken over the services, too.
      log.warn(`${rundir}: ${other}; leaving it to that one`);
      leave(FAILED);
      return false;
    }),
  );
  for (const directory of directories) directory.open();
  const recorded = recordedServices(rundir, sysdir, log);
  supervisor.begin(recorded, new Adoption(sysdir, rundir));
  tidying.note();
}

function openLog(): Log {
  const stderr = new StderrLog("sysmgr");
  const coloured = isTerminal(STDERR) && !process.env["NO_COLOR"];
  const plain = createMessages("sysmgr", (line) => stderr.write(line));
  const bright = createMessages("sysmgr", (line) =>
    stderr.write(coloured ? `${YELLOW}${line}${PLAIN}` : line),
  );
  return {
    info: (text) => plain.info(text),
    warn: (text) => bright.warn(text),
  };
}

function sysdirProblem(sysdir: string, rundir: string): string | undefined {
  try {
    const found = statusOfExisting(sysdir);
    if (!found.isDirectory) return "not a directory";
    // A script would be in the way of its own state's directory, and make room for it.
    return found.identity === directoryIdentity(rundir)
      ? "is the run directory, too"
      : undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** Supervision goes on after a mistake of the program's own; what went wrong is said in one line. */
function outliveErrors(log: Log): void {
  const report = (error: unknown) =>
    log.warn(`internal error, going on: ${reasonOf(error)}`);
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}

function obeySignals(
  supervisor: Supervisor,
  log: Log,
  directories: readonly DirectoryWatch[],
  leaveRunning: () => void,
): void {
  let stopping = false;
  const stop = () => {
    if (!stopping) {
      log.info("stopping all services");
      setTimeout(() => nameStragglers(supervisor, log), STRAGGLERS_AFTER);
    }
    stopping = true;
    supervisor.shutdown();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  process.on("SIGUSR1", () => {
    for (const directory of directories) directory.check();
    supervisor.rescan();
  });
  process.on("SIGUSR2", () => {
    if (stopping) return;
    log.info("leaving, all services go on running");
    leaveRunning();
  });
  // Having a handler also undoes that the parent ignored the signal, which would lose every exit status.
  process.on("SIGCHLD", reapOrphans);
  releaseAll();
  reapOrphans();
}

function nameStragglers(supervisor: Supervisor, log: Log): void {
  const living = new Map<number, number>();
  for (const { pid, group, ended } of readProcesses())
    if (!ended && (pid === group || !living.has(group))) living.set(group, pid);
  for (const { name, pid } of supervisor.running())
    // The main process may have ended, and another one of its group be what does not want to.
    log.warn(`${name}: still running (pid ${living.get(pid) ?? pid})`);
}

function watchSysdir(
  sysdir: string,
  supervisor: Supervisor,
  log: Log,
): DirectoryWatch {
  return new DirectoryWatch(sysdir, false, {
    changed: (name) => {
      if (name === undefined) supervisor.rescanEntries();
      else supervisor.entryChanged(name);
    },
    replaced: (present) => supervisor.sysdirPresent(present),
    degraded: (reason) => log.warn(degradation(sysdir, reason)),
  });
}

function watchRundir(
  rundir: string,
  supervisor: Supervisor,
  records: Records,
  log: Log,
  reclaim: () => boolean,
): DirectoryWatch {
  const ownPidAgain = new SecondLook(
    QUIET,
    () => rundir,
    () => {
      // The lock keeps RUNDIR's inode alive, so that its removal gives no event; that of its pid file does.
      watch.check();
      records.verifyOwnPid();
    },
  );
  const watch: DirectoryWatch = new DirectoryWatch(rundir, true, {
    changed: (name, movedAway) => {
      if (name === undefined) return supervisor.rescanLocks();
      const [service = "", file] = name.split("/", 2);
      if (service === "pid" && file === undefined) ownPidAgain.note(service);
      else if (file === "lock") supervisor.lockChanged(service, movedAway);
      else if (file === undefined || isStateFile(file))
        supervisor.stateChanged(service);
    },
    replaced: (present) => {
      if (!present) log.warn(`${rundir}: not there any more, making it again`);
      // It is claimed before anything is written, so that no second sysmgr comes in between.
      if (!reclaim()) return;
      supervisor.rundirReplaced();
      if (!present) watch.check();
    },
    degraded: (reason) => log.warn(degradation(rundir, reason)),
  });
  return watch;
}

function degradation(directory: string, reason: string): string {
  return `${directory}: cannot be watched (${reason}), so it is looked at once a second`;
}

function isStateFile(name: string): name is StateFile {
  return STATE_FILES.some((file) => file === name);
}

function isRecorded(rundir: string, name: string, log: Log): boolean {
  try {
    removeLeftovers(stateDirectory(rundir, name));
    return STATE_FILES.some((file) =>
      exists(stateDirectory(rundir, name), file),
    );
  } catch (error) {
    log.warn(`${stateDirectory(rundir, name)}: ${reasonOf(error)}`);
    return false;
  }
}

/** The services that an earlier sysmgr left state of; what it left half-written is removed. */
function recordedServices(rundir: string, sysdir: string, log: Log): string[] {
  try {
    removeLeftovers(rundir);
    const names = listStates(rundir, sysdir);
    return names.filter((name) => isRecorded(rundir, name, log));
  } catch (error) {
    // That there is no such directory shows, and is told, when it is written to.
    if (!isAbsence(error))
      log.warn(`${rundir}: cannot be read: ${reasonOf(error)}`);
    return [];
  }
}
