/**
 * Command lines, declared as data in citty's form and parsed by it. What it lets through (unknown
 * options, missing values, values for switches) is refused here, before anything is done.
 */
import { type ArgDef, type ArgsDef, parseArgs } from "citty";

/** What an applet takes. */
export interface CommandLine {
  readonly name: string;
  readonly description: string;
  /** What follows the name in the usage line. */
  readonly synopsis: string;
  readonly options: ArgsDef;
  /** More for --help, below the options. */
  readonly details?: string;
}

/** What was given. */
export interface Parsed {
  readonly operands: readonly string[];
  /** A value that was given for an option, or undefined. */
  value(name: string): string | undefined;
  /** Whether a switch is on. */
  isSet(name: string): boolean;
}

/** A command line that cannot be obeyed; the message says what is wrong with it. */
export class UsageError extends Error {}

/** Options that every applet has. */
export const COMMON_OPTIONS = {
  help: {
    type: "boolean",
    alias: "h",
    description: "show this help and exit",
  },
  version: { type: "boolean", description: "show the version and exit" },
} as const satisfies ArgsDef;

/**
 * Parses the arguments of an applet.
 * @throws UsageError
 */
export function parseCommandLine(
  line: CommandLine,
  rawArguments: readonly string[],
): Parsed {
  if (rawArguments.length === 0) return nothingGiven(line);
  const parsed = parseArgs(checkOptions(line, rawArguments), line.options);
  return {
    operands: parsed._,
    value: (name) => {
      const value: unknown = parsed[name];
      return typeof value === "string" ? value : undefined;
    },
    isSet: (name) => parsed[name] === true,
  };
}

/** Most daemons are started so; the parser would leave code and tables behind for as long as they run. */
function nothingGiven({ options }: CommandLine): Parsed {
  return {
    operands: [],
    value: () => undefined,
    isSet: (name) => options[name]?.default === true,
  };
}

/** The line that ends every message about wrong usage. */
export function usageLine(line: CommandLine): string {
  return `usage: ${line.name} ${line.synopsis}`;
}

/** The text for --help. */
export function helpText(line: CommandLine): string {
  const rows = Object.entries(line.options).map(([name, option]) => [
    spelling(name, option),
    option.description ?? "",
  ]);
  const width = Math.max(...rows.map(([left = ""]) => left.length));
  const options = rows.map(
    ([left = "", right = ""]) => `  ${left.padEnd(width)}  ${right}`,
  );
  const parts = [
    `${usageLine(line)}\n\n${line.description}\n`,
    `options:\n${options.join("\n")}\n`,
  ];
  if (line.details !== undefined) parts.push(`${line.details}\n`);
  return parts.join("\n");
}

/**
 * Refuses what the parser would let through.
 * @returns the arguments with every value joined to its option: the parser takes `--no-x` for a switch
 * even where it is a value.
 */
function checkOptions(
  line: CommandLine,
  rawArguments: readonly string[],
): string[] {
  const checked: string[] = [];
  for (let index = 0; index < rawArguments.length; index++) {
    const argument = rawArguments[index] ?? "";
    if (argument === "--") return [...checked, ...rawArguments.slice(index)];
    const takesNext = argument.startsWith("--")
      ? checkLongOption(line, argument)
      : checkShortOptions(line, argument);
    if (takesNext === undefined) {
      checked.push(argument);
      continue;
    }
    index += 1;
    const value = rawArguments[index];
    if (!value) throw new UsageError(`option '${takesNext}' needs a value`);
    const joint = argument.startsWith("--") ? "=" : "";
    checked.push(`${argument}${joint}${value}`);
  }
  return checked;
}

/** @returns the option's spelling when its value is the next argument. */
function checkLongOption(
  line: CommandLine,
  argument: string,
): string | undefined {
  const [name = "", value] = argument.slice(2).split(/=(.*)/s, 2);
  const positive = findOption(line, name, false);
  if (positive !== undefined) {
    if (positive.type === "string") {
      if (value === undefined) return argument;
      if (value === "")
        throw new UsageError(`option '--${name}' needs a value`);
    } else if (value !== undefined) {
      throw new UsageError(`option '--${name}' takes no value`);
    }
    return undefined;
  }
  const negated = name.startsWith("no-")
    ? findOption(line, name.slice(3), false)
    : undefined;
  if (
    negated?.type !== "boolean" ||
    negated.default !== true ||
    value !== undefined
  )
    throw new UsageError(`unknown option '${argument}'`);
  return undefined;
}

/** @returns the option's spelling when its value is the next argument. */
function checkShortOptions(
  line: CommandLine,
  argument: string,
): string | undefined {
  if (!argument.startsWith("-") || argument === "-") return undefined;
  const letters = argument.slice(1);
  for (const [position, letter] of [...letters].entries()) {
    const option = findOption(line, letter, true);
    if (option === undefined)
      throw new UsageError(`unknown option '-${letter}'`);
    if (option.type !== "string") continue;
    return position === letters.length - 1 ? `-${letter}` : undefined;
  }
  return undefined;
}

function findOption(
  line: CommandLine,
  name: string,
  short: boolean,
): ArgDef | undefined {
  const found = Object.entries(line.options).find(([each, option]) =>
    short ? aliasOf(option) === name : each === name,
  );
  return found?.[1];
}

function aliasOf(option: ArgDef): string | undefined {
  return "alias" in option && typeof option.alias === "string"
    ? option.alias
    : undefined;
}

function spelling(name: string, option: ArgDef): string {
  const alias = aliasOf(option);
  const long =
    option.type === "boolean" && option.default === true
      ? `--no-${name}`
      : `--${name}`;
  const hint =
    "valueHint" in option && option.valueHint ? ` ${option.valueHint}` : "";
  return `${alias === undefined ? "    " : `-${alias}, `}${long}${hint}`;
}
