/** What the services of a stage have noted about their starts. */
import { closeSync, openSync, readSync, writeFileSync } from "node:fs";

/** A service was started. */
export interface Mark {
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly time: number;
  /** In the stage's namespace. */
  readonly pid: number;
  readonly service: string;
}

const CHUNK = 1 << 20;
const LOOK_INTERVAL = 4;

/** Follows the file that the services write to. */
export class Marks implements Disposable {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(CHUNK);
  #rest = "";
  #count = 0;
  readonly #last = new Map<string, Mark>();
  readonly #recent: Mark[] = [];

  /** @param path of the file, which is made. */
  constructor(path: string) {
    writeFileSync(path, "", { mode: 0o644 });
    this.#file = openSync(path, "r");
  }

  /** How many starts there were so far. */
  get count(): number {
    this.#read();
    return this.#count;
  }

  /** The last start of a service. */
  last(service: string): Mark | undefined {
    this.#read();
    return this.#last.get(service);
  }

  /** All starts since the last call. */
  take(): Mark[] {
    this.#read();
    return this.#recent.splice(0);
  }

  /**
   * Waits until every one of the services was started after a moment.
   * @param patience milliseconds.
   * @returns their first starts after it, in the order of the services.
   * @throws Error naming one that was not.
   */
  async started(
    services: readonly string[],
    after: number,
    patience: number,
  ): Promise<Mark[]> {
    const deadline = performance.now() + patience;
    const missing = new Set(services);
    for (;;) {
      for (const service of missing)
        if ((this.last(service)?.time ?? 0) > after) missing.delete(service);
      if (missing.size === 0) break;
      if (performance.now() > deadline) {
        const [one] = missing;
        throw new Error(
          `${missing.size} of ${services.length} services, such as ${one}, were not started within ${patience / 1000} s`,
        );
      }
      await Bun.sleep(LOOK_INTERVAL);
    }
    return services.flatMap((service) => this.last(service) ?? []);
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #read(): void {
    for (;;) {
      const length = readSync(this.#file, this.#buffer);
      if (length === 0) return;
      const text = this.#rest + this.#buffer.toString("utf8", 0, length);
      const lines = text.split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#note(parseMark(line));
    }
  }

  #note(mark: Mark): void {
    this.#count++;
    this.#last.set(mark.service, mark);
    this.#recent.push(mark);
  }
}

/** Reads a line that a service has written. */
export function parseMark(line: string): Mark {
  const [time, pid, service = ""] = line.split(" ");
  return { time: Number(time), pid: Number(pid), service };
}
