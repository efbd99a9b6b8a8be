/** Whole processes that were run many times in turn. */
import { median } from "./statistics.ts";

export interface Runs {
  /** Milliseconds. */
  readonly times: number[];
  /** Bytes. */
  readonly peaks: number[];
}

/** A line of their table. */
export interface ProgramRow {
  readonly name: string;
  readonly milliseconds: number;
  /** Megabytes; the most that was resident. */
  readonly peak: number;
  readonly runs: number;
}

const MEGABYTE = 1e6;

export class ShortPrograms {
  readonly #runs = new Map<string, Runs>();

  add(name: string, milliseconds: number, peak: number): void {
    const runs = this.#runs.get(name) ?? { times: [], peaks: [] };
    this.#runs.set(name, runs);
    runs.times.push(milliseconds);
    runs.peaks.push(peak);
  }

  /** Medians, in the order of the first runs. */
  rows(): ProgramRow[] {
    return [...this.#runs].map(([name, { times, peaks }]) => ({
      name,
      milliseconds: median(times),
      peak: median(peaks) / MEGABYTE,
      runs: times.length,
    }));
  }
}
