/** What every measure works with. */
import type { Contender } from "./contenders/contender.ts";
import type { ShortPrograms } from "./short-programs.ts";
import type { Results } from "./results.ts";
import { Stage, type StagePrograms } from "./stage.ts";
import type { Workshop } from "./workshop.ts";

export interface Bench {
  readonly workshop: Workshop;
  readonly programs: StagePrograms;
  readonly contenders: readonly Contender[];
  readonly results: Results;
  readonly shortPrograms: ShortPrograms;
  /** Numbers of services, ascending. */
  readonly services: readonly number[];
  readonly rounds: number;
  /** What was tried in vain, and why. */
  readonly failures: Map<string, string>;
  /** Aborted when everything is being taken away. */
  readonly interruption: AbortSignal;
  /** Tells what is being done. */
  progress(text: string): void;
}

/** Something to be measured for one contender with one number of services. */
export interface Measure {
  readonly name: string;
  /** Measures once. @param round counts from 0. */
  measure(
    bench: Bench,
    contender: Contender,
    services: number,
    round: number,
  ): Promise<void>;
}

/** Something to be measured for all contenders together, in rounds of its own. */
export interface JointMeasure {
  readonly name: string;
  measure(bench: Bench): Promise<void>;
}

const MILLISECOND = 1e6;
const DIGITS = 4;

/** Nanoseconds in milliseconds. */
export function milliseconds(nanoseconds: number): number {
  return nanoseconds / MILLISECOND;
}

/** Names for so many services. */
export function names(count: number, prefix = "service"): string[] {
  return Array.from(
    { length: count },
    (_, index) => `${prefix}-${String(index).padStart(DIGITS, "0")}`,
  );
}

/** A stage with so many services, not started yet. */
export function stageFor(
  { workshop, programs }: Bench,
  contender: Contender,
  services: number,
): Stage {
  return new Stage(workshop, programs, contender, names(services));
}
