/**
 * Stands in for node:util in the built binary. citty wants nothing of it but parseArgs, and loading the
 * rest takes half a megabyte of memory and a quarter of the start-up time of a short command.
 */

interface Option {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly default?: string | boolean;
}

interface Options {
  readonly args: readonly string[];
  readonly options?: Readonly<Record<string, Option>>;
}

interface Result {
  readonly values: Record<string, string | boolean | undefined>;
  readonly positionals: string[];
}

/**
 * Parses as node:util's parseArgs does when it is not strict and takes positional arguments.
 */
export function parseArgs({ args, options = {} }: Options): Result {
  const values: Result["values"] = {};
  const positionals: string[] = [];
  const byShort = new Map(
    Object.entries(options).map(([name, { short }]) => [short, name]),
  );
  const isString = (name: string) => options[name]?.type === "string";
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    if (argument === "--") {
      positionals.push(...args.slice(index + 1));
      break;
    }
    if (argument.startsWith("--")) {
      const [name = "", value] = argument.slice(2).split(/=(.*)/s, 2);
      values[name] = value ?? valueAfter(name);
    } else if (argument.startsWith("-") && argument !== "-") {
      parseShort(argument.slice(1));
    } else {
      positionals.push(argument);
    }

    function valueAfter(name: string): string | true {
      const next = args[index + 1];
      if (!isString(name) || next === undefined) return true;
      index += 1;
      return next;
    }

    function parseShort(letters: string): void {
      const name = byShort.get(letters[0]) ?? letters[0] ?? "";
      const rest = letters.slice(1);
      if (!isString(name)) {
        values[name] = true;
        if (rest !== "") parseShort(rest);
      } else {
        values[name] = rest === "" ? valueAfter(name) : rest;
      }
    }
  }
  for (const [name, option] of Object.entries(options))
    if (option.default !== undefined) values[name] ??= option.default;
  return { values, positionals };
}
