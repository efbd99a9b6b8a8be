/** The command line of the benchmark. */
import { parseArgs } from "node:util";

export interface Options {
  /** Numbers of services, ascending. */
  readonly services: readonly number[];
  readonly rounds: number;
  /** Names of contenders; all that there are unless given. */
  readonly only: readonly string[] | undefined;
  /** Names of measures; all unless given. */
  readonly measures: readonly string[];
  readonly json: boolean;
  readonly help: boolean;
}

/** A command line that cannot be obeyed; the message says what is wrong with it. */
export class UsageError extends Error {}

export const USAGE =
  "usage: bun run bench [--services N,…] [--rounds N] [--only CONTENDER,…] [--measure MEASURE,…] [--json]";

const MOST_SERVICES = 5000;
const MOST_ROUNDS = 1000;

/**
 * @param measures every measure that there is.
 * @throws UsageError
 */
export function readOptions(
  args: readonly string[],
  measures: readonly string[],
): Options {
  const values = parse(args);
  const services = list("services", values.services).map((text) =>
    number("services", text, MOST_SERVICES),
  );
  const wanted =
    values.measure === undefined ? measures : list("measure", values.measure);
  for (const name of wanted)
    if (!measures.includes(name))
      throw new UsageError(
        `--measure: '${name}' is not one of ${measures.join(", ")}`,
      );
  return {
    services: [...new Set(services)].sort((a, b) => a - b),
    rounds: number("rounds", values.rounds, MOST_ROUNDS),
    only: values.only === undefined ? undefined : list("only", values.only),
    measures: wanted,
    json: values.json,
    help: values.help,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        services: { type: "string", default: "10,100,1000" },
        rounds: { type: "string", default: "3" },
        only: { type: "string" },
        measure: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "");
  }
}

function list(option: string, text: string): string[] {
  const items = text.split(",").filter((each) => each !== "");
  if (items.length === 0) throw new UsageError(`--${option}: nothing is named`);
  return items;
}

function number(option: string, text: string, most: number): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= 1 && value <= most) return value;
  throw new UsageError(
    `--${option}: '${text}' is not a number from 1 to ${most}`,
  );
}
