/**
 * Keeps the run directory telling the truth. What should be written is remembered, so that a full,
 * read-only, deleted or replaced run directory costs nothing but the files: they are written again as
 * soon as they can be, and what somebody else put in their place is set right.
 *
 * A start is counted in its file before it is made. All else is only remembered at first, so that a service
 * that has ended runs again before its files say so, and written by `write`.
 */
import { adviceOn } from "../config.ts";
import { errorCode, reasonOf } from "../errors.ts";
import {
  ensureDirectory,
  isAbsence,
  NANOSECONDS_PER_MILLISECOND,
  removeFile,
  removeTree,
  replaceFile,
  temporaryOwner,
} from "../files.ts";
import { hintAt, isAlive, stampedTime } from "../identity.ts";
import { readProcess } from "../proc.ts";
import {
  type Exit,
  isReservedName,
  type Lock,
  ownPidPath,
  readExit,
  readOwnPid,
  readPid,
  readStarts,
  readWaiting,
  type State,
  type StateFile,
  STATE_FILES,
  stateDirectory,
  statePath,
  UNKNOWN_EXIT,
} from "../rundir.ts";
import { signalName } from "../signals.ts";
import {
  exists,
  linkStatus,
  list,
  removeDirectory,
  setModified,
} from "../system/files.ts";

/** What the run directory is to say of a service; undefined: there is no such file. */
export interface Record {
  pid:
    | {
        readonly value: number;
        readonly startedAt: number;
        readonly startTicks: number | undefined;
      }
    | undefined;
  exit: Dated<Exit> | undefined;
  starts: Dated<number> | undefined;
}

/** A value with its file's time of change, in nanoseconds since 1970: kept when the file is written again. */
interface Dated<T> {
  readonly value: T;
  readonly at: bigint;
}

/** How trouble is told: once when it begins, once when it is over. */
export interface RecordsListener {
  warn(text: string): void;
  info(text: string): void;
}

/** Milliseconds after which writing is tried again. */
const RETRY_INTERVAL = 1000;

/** The part of the run directory that sysmgr writes. */
export class Records {
  readonly #services = new Map<string, Record>();
  /** What `write` is to write. */
  readonly #unwritten = new Map<string, Set<"exit" | "pid" | "leftovers">>();
  readonly #dirty = new Set<string>();
  readonly #owedLocks = new Map<string, Lock>();
  #ownPid: number | undefined;
  #ownPidDirty = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #trouble = false;

  constructor(
    readonly rundir: string,
    readonly listener: RecordsListener,
  ) {}

  /** What is remembered of a service. */
  of(service: string): Record {
    let record = this.#services.get(service);
    if (record === undefined) {
      record = { pid: undefined, exit: undefined, starts: undefined };
      this.#services.set(service, record);
    }
    return record;
  }

  /** Takes over what an earlier sysmgr wrote; what makes no sense is told and removed. */
  load(service: string): void {
    const record = this.of(service);
    this.#attempt(service, () => {
      record.exit = this.#load(service, "exit", readExit);
      record.starts = this.#load(service, "starts", readStarts);
      this.#load(service, "pid", readPid);
      this.#load(service, "waiting", readWaiting);
    });
  }

  /** Says which process sysmgr is. */
  announce(pid: number): void {
    this.#ownPid = pid;
    this.#attempt(undefined, () => {
      this.#removeGarbage(ownPidPath(this.rundir), readOwnPid(this.rundir));
      this.#writeOwnPid();
    });
  }

  /** Withdraws what announce said. */
  withdraw(): void {
    this.#ownPid = undefined;
    this.#attempt(undefined, () => removeFile(ownPidPath(this.rundir)));
  }

  /**
   * Counts a start before it is made: should sysmgr be killed before it can write the pid, this file,
   * being newer than the exit, tells its successor that a process may be running.
   */
  countStart(service: string): void {
    const record = this.of(service);
    record.starts = {
      value: (record.starts?.value ?? 0) + 1,
      at: nowAfter(record.exit),
    };
    this.#write(service, "starts");
  }

  /** Takes a start back that failed. */
  uncountStart(service: string): void {
    const record = this.of(service);
    const { value = 0, at = nowAfter(undefined) } = record.starts ?? {};
    record.starts = { value: Math.max(0, value - 1), at };
    this.#write(service, "starts");
  }

  /**
   * @param startedAt milliseconds since 1970.
   * @param startTicks the kernel's start time, where it is known.
   */
  recordPid(
    service: string,
    pid: number,
    startedAt: number,
    startTicks: number | undefined,
  ): void {
    this.of(service).pid = { value: pid, startedAt, startTicks };
    this.#later(service, "pid");
  }

  recordExit(service: string, exit: Exit): void {
    const record = this.of(service);
    const at = endOf(record.pid?.value, record.starts);
    record.exit = { value: exit, at };
    this.#later(service, "exit");
  }

  /** The process that the pid file names is gone: its end came while no sysmgr was there to see it. */
  noteUnseenEnd(service: string): void {
    this.#attempt(service, () => {
      const pid = readPid(this.rundir, service);
      if (pid.is === "absent") return;
      const exit = readExit(this.rundir, service);
      const seen =
        exit.is === "present" &&
        (pid.is !== "present" || exit.modified > pid.modified);
      if (!seen) this.recordExit(service, UNKNOWN_EXIT);
      this.recordDown(service);
    });
    this.write(service);
  }

  /** Nothing of it runs any more, so nothing of it waits either. */
  recordDown(service: string): void {
    this.of(service).pid = undefined;
    // The next process may be about to write this itself.
    this.#attempt(service, () =>
      removeFile(statePath(this.rundir, service, "waiting")),
    );
    this.#later(service, "pid");
    this.#later(service, "leftovers");
  }

  /** Writes what has been recorded of a service since the last time. */
  write(service: string): void {
    const files = this.#unwritten.get(service);
    if (files === undefined) return;
    this.#unwritten.delete(service);
    if (files.has("exit")) this.#write(service, "exit");
    if (files.has("pid")) this.#write(service, "pid");
    if (files.has("leftovers"))
      this.#attempt(service, () => this.#removeLeftovers(service));
  }

  /** Removes a service's state from memory and from the run directory. */
  forget(service: string): void {
    this.#services.delete(service);
    this.#owedLocks.delete(service);
    this.#dirty.delete(service);
    this.#unwritten.delete(service);
    this.#attempt(undefined, () => {
      const left = removeState(this.rundir, service);
      if (left !== undefined) this.listener.warn(left);
    });
  }

  /** Replaces a lock that nobody can understand by one that only holds. */
  holdLock(service: string): boolean {
    return this.writeLock(service, { asks: "nothing" });
  }

  /**
   * Writes a lock; when that fails it is tried again later.
   * @returns whether it could be written.
   */
  writeLock(service: string, lock: Lock): boolean {
    this.#owedLocks.set(service, lock);
    return this.#attempt(undefined, () => this.#writeOwedLock(service));
  }

  /** Whether a lock that is in force could not be written yet. */
  owesLock(service: string): boolean {
    return this.#owedLocks.has(service);
  }

  /** Compares a service's files with what they should say, and sets them right. */
  verify(service: string): void {
    if (!this.#services.has(service)) return;
    this.#attempt(service, () => {
      this.#checkDirectory(service);
      this.#load(service, "waiting", readWaiting);
      for (const file of ["pid", "exit", "starts"] as const) {
        const wrong = this.#whatIsWrong(service, file);
        if (wrong === undefined) continue;
        this.#sync(service, file);
        this.listener.warn(
          `${statePath(this.rundir, service, file)}: ${wrong}, set right`,
        );
      }
    });
  }

  /** Removes what is in the place of a service's directory: nothing is read or written through a link. */
  checkDirectory(service: string): void {
    this.#attempt(undefined, () => this.#checkDirectory(service));
  }

  /** Compares sysmgr's own pid file with what it should say, and sets it right. */
  verifyOwnPid(): void {
    this.#attempt(undefined, () => {
      const state = readOwnPid(this.rundir);
      if (state.is === "present" && state.value === this.#ownPid) return;
      if (this.#ownPid === undefined) return;
      this.#writeOwnPid();
      this.listener.warn(
        `${ownPidPath(this.rundir)}: ${wrongness(state)}, set right`,
      );
    });
  }

  /** Writes everything again: the run directory is new, or was not writable. */
  rewrite(): void {
    this.#ownPidDirty = true;
    for (const service of this.#services.keys()) this.#dirty.add(service);
    this.#retry();
  }

  /** Ends all retries. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #load<T>(
    service: string,
    file: StateFile,
    read: (rundir: string, service: string) => State<T>,
  ): Dated<T> | undefined {
    const state = read(this.rundir, service);
    this.#removeGarbage(statePath(this.rundir, service, file), state);
    return state.is === "present"
      ? { value: state.value, at: state.modified }
      : undefined;
  }

  #write(service: string, file: "pid" | "exit" | "starts"): void {
    this.#attempt(service, () => this.#sync(service, file));
  }

  #later(service: string, file: "exit" | "pid" | "leftovers"): void {
    const files = this.#unwritten.get(service);
    if (files === undefined) this.#unwritten.set(service, new Set([file]));
    else files.add(file);
  }

  /** Its sysmgr-depends may have been killed while writing. */
  #removeLeftovers(service: string): void {
    const directory = stateDirectory(this.rundir, service);
    if (!exists(directory)) return;
    // Nothing of a service that is down writes any more, not even what nobody has waited for.
    const down = this.of(service).pid === undefined;
    removeLeftovers(directory, (name) => down && name.startsWith(".waiting."));
  }

  /** Does something to the run directory; when that fails, it is told once and tried again later. */
  #attempt(service: string | undefined, work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      if (service === undefined) this.#ownPidDirty = true;
      else this.#dirty.add(service);
      this.#complain(error);
      return false;
    }
  }

  #complain(error: unknown): void {
    if (!this.#trouble) {
      this.#trouble = true;
      const forbidden = errorCode(error) === "EACCES";
      this.listener.warn(
        `${this.rundir}: cannot be written: ${reasonOf(error)}; going on from memory${forbidden ? adviceOn(this.rundir) : ""}`,
      );
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#retry();
    }, RETRY_INTERVAL);
  }

  #retry(): void {
    if (this.#ownPidDirty) {
      this.#ownPidDirty = false;
      if (!this.#attempt(undefined, () => this.#writeOwnPid())) return;
    }
    for (const service of [...this.#owedLocks.keys()])
      if (!this.#attempt(undefined, () => this.#writeOwedLock(service))) return;
    for (const service of [...this.#dirty]) {
      this.#dirty.delete(service);
      // One failure is enough to know that the rest would fail, too.
      if (!this.#attempt(service, () => this.#syncAll(service))) return;
    }
    if (!this.#trouble) return;
    this.#trouble = false;
    this.listener.info(`${this.rundir}: written again`);
  }

  #writeOwedLock(service: string): void {
    const lock = this.#owedLocks.get(service);
    if (lock === undefined) return;
    this.#makeDirectory(service);
    this.#put(statePath(this.rundir, service, "lock"), lockText(lock));
    this.#owedLocks.delete(service);
  }

  #syncAll(service: string): void {
    const record = this.of(service);
    if (isEmpty(record)) return;
    for (const file of ["starts", "exit", "pid"] as const)
      this.#sync(service, file);
  }

  /** Makes one file say what is remembered. */
  #sync(service: string, file: "pid" | "exit" | "starts"): void {
    const present = this.#checkDirectory(service);
    const path = statePath(this.rundir, service, file);
    const record = this.of(service);
    const value = record[file]?.value;
    if (value === undefined) {
      if (!present) return;
      this.#clear(path);
      removeFile(path);
      return;
    }
    if (!present) this.#makeDirectory(service);
    const finish = (temporary: string) => dateFile(temporary, file, record);
    try {
      replaceFile(path, `${value}\n`, finish);
    } catch (error) {
      if (!isAbsence(error) && errorCode(error) !== "EISDIR") throw error;
      this.#makeDirectory(service);
      this.#put(path, `${value}\n`, finish);
    }
  }

  #writeOwnPid(): void {
    if (this.#ownPid === undefined) return;
    const pid = this.#ownPid;
    ensureDirectory(this.rundir);
    const startTicks = readProcess(pid)?.startTicks;
    this.#put(ownPidPath(this.rundir), `${pid}\n`, (temporary) =>
      stampFile(temporary, pid, Date.now(), startTicks),
    );
  }

  #put(
    path: string,
    content: string,
    finish?: (temporary: string) => void,
  ): void {
    this.#clear(path);
    replaceFile(path, content, finish);
  }

  /** A directory in the place of a file cannot be renamed over. */
  #clear(path: string): void {
    if (linkStatus(path)?.isDirectory === true) removeTree(path);
  }

  #makeDirectory(service: string): void {
    const path = stateDirectory(this.rundir, service);
    if (!this.#checkDirectory(service)) ensureDirectory(path);
    // To a link that has come in between nothing is written.
    if (!this.#checkDirectory(service)) ensureDirectory(path);
  }

  /** @returns whether the directory is there. */
  #checkDirectory(service: string): boolean {
    // What lies there is sysmgr's own.
    if (isReservedName(service)) return false;
    const path = stateDirectory(this.rundir, service);
    const found = linkStatus(path);
    if (found === undefined) return false;
    if (found.isDirectory) return true;
    removeFile(path);
    this.listener.warn(`${path}: not a directory, set right`);
    return false;
  }

  #removeGarbage(path: string, state: State<unknown>): void {
    if (state.is !== "garbage") return;
    removeTree(path);
    this.listener.warn(`${path}: ${state.why}, removed`);
  }

  #whatIsWrong(
    service: string,
    file: "pid" | "exit" | "starts",
  ): string | undefined {
    const record = this.of(service);
    const expected = record[file]?.value;
    const state = readers[file](this.rundir, service);
    if (state.is === "absent" && expected === undefined) return undefined;
    if (state.is === "present" && state.value === expected) return undefined;
    return wrongness(state);
  }
}

/**
 * Removes the files of a service that are sysmgr's to remove, and then its directory.
 * @returns a message when something that is not sysmgr's is in the way.
 * @throws the system's error.
 */
export function removeState(
  rundir: string,
  service: string,
): string | undefined {
  const directory = stateDirectory(rundir, service);
  // What is behind a link is not sysmgr's.
  if (linkStatus(directory)?.isLink === true) {
    removeFile(directory);
    return undefined;
  }
  let names: string[];
  try {
    names = list(directory).map(({ name }) => name);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
  const ours = names.filter(
    (name) =>
      STATE_FILES.some((file) => file === name) ||
      temporaryOwner(name) !== undefined,
  );
  for (const name of ours) removeTree(`${directory}/${name}`);
  if (ours.length < names.length)
    return `${directory}: left there, because it holds what is not sysmgr's`;
  removeDirectory(directory);
  return undefined;
}

/**
 * Removes temporary files whose writers were killed before they could rename them.
 * @param isDead says of a name that its writer is gone, where that cannot be seen from its pid.
 */
export function removeLeftovers(
  directory: string,
  isDead: (name: string) => boolean = () => false,
): void {
  for (const { name } of list(directory)) {
    const owner = temporaryOwner(name);
    if (owner === undefined) continue;
    if (owner === process.pid || !isAlive(owner) || isDead(name))
      removeFile(`${directory}/${name}`);
  }
}

const readers = { pid: readPid, exit: readExit, starts: readStarts };

function stampFile(
  path: string,
  pid: number,
  startedAt: number,
  startTicks: number | undefined,
): void {
  if (startTicks === undefined) return;
  setModified(path, stampedTime({ pid, startTicks }, startedAt));
}

/** The order of starts and exits must show in their files, however coarse or wrong the clock is. */
function nowAfter(other: Dated<unknown> | undefined): bigint {
  const now = BigInt(Date.now()) * NANOSECONDS_PER_MILLISECOND;
  const earliest = other === undefined ? now : other.at + 1n;
  return now > earliest ? now : earliest;
}

/** The time for an exit: after the start, and with a hint at the process that has ended (identity.ts). */
function endOf(
  pid: number | undefined,
  starts: Dated<number> | undefined,
): bigint {
  const now = nowAfter(starts);
  if (pid === undefined) return now;
  const whole = now - (now % NANOSECONDS_PER_MILLISECOND);
  const hinted = whole + hintAt(pid);
  return hinted >= now ? hinted : hinted + NANOSECONDS_PER_MILLISECOND;
}

function dateFile(
  path: string,
  file: "pid" | "exit" | "starts",
  record: Record,
): void {
  if (file !== "pid") {
    const at = record[file]?.at;
    if (at !== undefined) setModified(path, at);
  } else if (record.pid !== undefined) {
    const { value, startedAt, startTicks } = record.pid;
    stampFile(path, value, startedAt, startTicks);
  }
}

function lockText(lock: Lock): string {
  if (lock.asks === "stop")
    return `${signalName(lock.signal).slice("SIG".length)}\n`;
  return lock.asks === "once" ? "once\n" : "0\n";
}

function wrongness(state: State<unknown>): string {
  if (state.is === "absent") return "missing";
  return state.is === "garbage" ? state.why : "says something else";
}

function isEmpty(record: Record): boolean {
  return (
    record.pid === undefined &&
    record.exit === undefined &&
    record.starts === undefined
  );
}
