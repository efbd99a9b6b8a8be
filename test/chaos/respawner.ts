/** Starts sysmgr again whenever it dies, as init does, and judges how it ended. */
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Arena } from "./arena.ts";
import type { Random } from "./random.ts";
import { endsWithin, readText } from "./system.ts";

/** Signals that are sent to sysmgr here. */
export type DaemonSignal =
  "SIGKILL" | "SIGTERM" | "SIGUSR1" | "SIGUSR2" | "SIGSTOP" | "SIGCONT";

interface Daemon {
  readonly process: Bun.Subprocess;
  /** What was sent to it. */
  readonly sent: Set<DaemonSignal>;
  /** It may die of a signal that came before it was ready for one. */
  early: boolean;
}

const LONGEST_PAUSE = 300;

export class Respawner {
  /** Start it again at once: several deaths in a row are wanted. */
  hasty = false;
  #current: Daemon | undefined;
  #wanted = false;
  #loop: Promise<void> | undefined;

  constructor(
    readonly arena: Arena,
    readonly random: Random,
  ) {}

  /** The pid of the sysmgr that runs. */
  get pid(): number | undefined {
    return this.#current?.process.pid;
  }

  /** Whether it runs and has said so. */
  get ready(): boolean {
    const said = readText(join(this.arena.rundir, "pid"));
    return this.pid !== undefined && said === `${this.pid}\n`;
  }

  start(): void {
    this.#wanted = true;
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
    });
  }

  /** @returns whether there was one to send it to. */
  signal(signal: DaemonSignal): boolean {
    const daemon = this.#current;
    if (daemon === undefined) return false;
    daemon.early ||= !this.ready;
    daemon.sent.add(signal);
    daemon.process.kill(signal);
    return true;
  }

  /** Ends sysmgr in the ordinary way. @returns false when it did not end in time. */
  async shutDown(patience: number): Promise<boolean> {
    this.#wanted = false;
    this.signal("SIGTERM");
    return await endsWithin(this.#loop ?? Promise.resolve(), patience);
  }

  /** Lets it die and not come back. */
  async end(): Promise<void> {
    this.#wanted = false;
    this.signal("SIGKILL");
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.arena.closed) {
      const daemon = this.#spawn();
      await daemon.process.exited;
      this.#current = undefined;
      const verdict = judge(daemon);
      if (verdict !== undefined) this.arena.incident(undefined, verdict);
      this.arena.journal(undefined, `sysmgr (pid ${daemon.process.pid}) ended`);
      if (!this.#wanted) return;
      if (!this.hasty) await Bun.sleep(this.random.between(0, LONGEST_PAUSE));
    }
  }

  #spawn(): Daemon {
    const { arena } = this;
    const log = openSync(arena.logFile, "a");
    const process = Bun.spawn([arena.program("sysmgr")], {
      cwd: arena.directory,
      env: { ...arena.environment },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    arena.journal(undefined, `sysmgr (pid ${process.pid}) begins`);
    const daemon = { process, sent: new Set<DaemonSignal>(), early: false };
    this.#current = daemon;
    return daemon;
  }
}

/** Why an end is not what was asked for; undefined when it is. */
function judge({ process, sent, early }: Daemon): string | undefined {
  const { exitCode, signalCode, pid } = process;
  if (signalCode === "SIGKILL" && sent.has("SIGKILL")) return undefined;
  if (exitCode === 0 && (sent.has("SIGUSR2") || sent.has("SIGTERM")))
    return undefined;
  const unready = ["SIGUSR1", "SIGUSR2", "SIGTERM"];
  if (early && unready.includes(String(signalCode))) return undefined;
  const how =
    signalCode === null ? `with exit code ${exitCode}` : `of ${signalCode}`;
  const was = [...sent].join(", ") || "nothing";
  return `sysmgr (pid ${pid}) died ${how}; it had been sent ${was}`;
}
