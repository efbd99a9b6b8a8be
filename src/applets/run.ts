/** What all applets have in common: options, help, version, and one line for whatever is wrong. */
import {
  type CommandLine,
  helpText,
  type Parsed,
  parseCommandLine,
  UsageError,
  usageLine,
} from "../command-line.ts";
import {
  ConfigurationError,
  DEFAULT_RUNDIR,
  DEFAULT_SYSDIR,
  VERSION,
} from "../config.ts";
import { describeError } from "../errors.ts";
import { createSimpleMessages, writeFully } from "../messages.ts";

const STDOUT = 1;
const STDERR = 2;
const FAILED = 1;
const WRONG_USAGE = 2;

/** The options that say where things are; every applet has them. */
export const PLACE_OPTIONS = {
  sysdir: {
    type: "string",
    alias: "s",
    valueHint: "DIR",
    description: `service directory, ${DEFAULT_SYSDIR} unless given (environment: SYSDIR)`,
  },
  rundir: {
    type: "string",
    alias: "r",
    valueHint: "DIR",
    description: `run directory, ${DEFAULT_RUNDIR} unless given (environment: RUNDIR)`,
  },
} as const;

/**
 * Runs an applet: answers --help and --version, reports wrong usage (exit code 2) and failures (1).
 * @returns the exit code.
 */
export async function runApplet(
  line: CommandLine,
  rawArguments: readonly string[],
  work: (parsed: Parsed) => number | Promise<number>,
): Promise<number> {
  try {
    const parsed = parseCommandLine(line, rawArguments);
    if (parsed.isSet("help")) return print(helpText(line));
    if (parsed.isSet("version")) return print(`sysmgr ${VERSION}\n`);
    return await work(parsed);
  } catch (error) {
    const messages = createSimpleMessages(line.name);
    if (error instanceof UsageError || error instanceof ConfigurationError) {
      messages.error(error.message);
      writeFully(STDERR, `${usageLine(line)}\n`);
      return WRONG_USAGE;
    }
    messages.error(describeError(error));
    return FAILED;
  }
}

function print(text: string): number {
  return writeFully(STDOUT, text) ? 0 : FAILED;
}
