/** What is compared: a supervisor and the programs that control it. */

export interface Contender {
  /** Short, the head of its column. */
  readonly name: string;
  readonly version: string;
  /** What has to be known about how it is measured. */
  readonly note?: string;
  /** How many services it can have; no limit unless given. */
  readonly most?: number;
  /** Milliseconds between two looks for new services, where it looks once in a while. */
  readonly scanInterval?: number;
  /** It knows no new scripts, no crashes and no control. */
  readonly minimal?: boolean;
  /** How it is used in a directory of its own. */
  use(place: Place): Usage;
}

/** Where a contender works. */
export interface Place {
  /** An empty directory for all its files. */
  readonly directory: string;
  /** The text of a service's script. */
  readonly script: string;
  /** The greatest number of services. */
  readonly services: number;
}

/** How a contender is used in one place. */
export interface Usage {
  /** Starts the supervisor in the foreground. */
  readonly command: readonly string[];
  /** For the supervisor and what controls it, besides PATH. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Put before PATH. */
  readonly path?: string;
  /** Makes a service at a path that the supervisor does not look at. */
  prepare(path: string): void;
  /** Where what was prepared has to be renamed to. */
  entry(service: string): string;
  /** What has to be said to the supervisor then, if anything. */
  readonly rescan?: readonly string[];
  /** The signal for the supervisor that stops everything. */
  readonly stopSignal: NodeJS.Signals;
  /** What the measures of control need; where one is missing, the contender has no such thing. */
  readonly status?: (services: readonly string[]) => readonly string[];
  /** Returns when the successors run. */
  readonly restart?: (services: readonly string[]) => readonly string[];
  /** Commands that tell a script that a service is up: a label, and the command. */
  readonly isUp?: Readonly<
    Record<string, (service: string) => readonly string[]>
  >;
}
