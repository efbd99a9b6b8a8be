import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type CommandLine,
  COMMON_OPTIONS,
  helpText,
  parseCommandLine,
  UsageError,
  usageLine,
} from "../src/command-line.ts";

const LINE: CommandLine = {
  name: "tool",
  description: "Does what a test asks.",
  synopsis: "[-q] [-w SECONDS] [-s DIR] [--no-wait] [OPERAND…]",
  options: {
    timeout: {
      type: "string",
      alias: "w",
      valueHint: "SECONDS",
      description: "how long",
    },
    sysdir: { type: "string", alias: "s", valueHint: "DIR" },
    wait: { type: "boolean", default: true, description: "return at once" },
    quiet: { type: "boolean", alias: "q", description: "say less" },
    ...COMMON_OPTIONS,
  },
  details: "more about it",
};

/** What was understood, as far as it differs from what an empty command line says. */
interface Understood {
  operands?: readonly string[];
  timeout?: string;
  sysdir?: string;
  off?: "wait";
  on?: string[];
}

function parse(...parameters: readonly string[]) {
  const parsed = parseCommandLine(LINE, parameters);
  return {
    operands: parsed.operands,
    timeout: parsed.value("timeout"),
    sysdir: parsed.value("sysdir"),
    wait: parsed.isSet("wait"),
    on: ["quiet", "help", "version"].filter((name) => parsed.isSet(name)),
  };
}

function expected({
  operands = [],
  timeout,
  sysdir,
  off,
  on = [],
}: Understood) {
  return { operands, timeout, sysdir, wait: off === undefined, on };
}

describe("understood:", () => {
  test.each<[string[], Understood]>([
    [[], {}],
    [["-w5"], { timeout: "5" }],
    [["-w", "5"], { timeout: "5" }],
    [["--timeout=5"], { timeout: "5" }],
    [["--timeout", "5"], { timeout: "5" }],
    [["-w", "1", "--timeout=2", "-w3"], { timeout: "3" }],
    [["--sysdir=a=b"], { sysdir: "a=b" }],
    [["--sysdir==b"], { sysdir: "=b" }],
    [["--sysdir=a\nb"], { sysdir: "a\nb" }],
    [["-sa=b"], { sysdir: "a=b" }],
    [["-q"], { on: ["quiet"] }],
    [["-qh"], { on: ["quiet", "help"] }],
    [["-qw5"], { on: ["quiet"], timeout: "5" }],
    [["-qw", "5"], { on: ["quiet"], timeout: "5" }],
    [["-wq"], { timeout: "q" }],
    [["--quiet", "--help", "--version"], { on: ["quiet", "help", "version"] }],
    [["--no-wait"], { off: "wait" }],
    [["--wait"], {}],
    [["start", "a", "b"], { operands: ["start", "a", "b"] }],
    [
      ["start", "-q", "a", "-w5"],
      { operands: ["start", "a"], on: ["quiet"], timeout: "5" },
    ],
    [["-"], { operands: ["-"] }],
    [[""], { operands: [""] }],
    [["", "-q", ""], { operands: ["", ""], on: ["quiet"] }],
    [["--"], {}],
    [["--", "-q", "--nonsense"], { operands: ["-q", "--nonsense"] }],
    [["--", "--no-wait", "--"], { operands: ["--no-wait", "--"] }],
    [["a", "--", "-x"], { operands: ["a", "-x"] }],
    [["-w", "-1"], { timeout: "-1" }],
    [["-w-1"], { timeout: "-1" }],
    [["-w", "--"], { timeout: "--" }],
    [["-w", "-q"], { timeout: "-q" }],
    [["--sysdir", "--no-wait", "a"], { sysdir: "--no-wait", operands: ["a"] }],
    [["-s", "--no-such", "-w", "5"], { sysdir: "--no-such", timeout: "5" }],
  ])("%j", (parameters, understood) => {
    expect(parse(...parameters)).toEqual(expected(understood));
  });
});

describe("refused, saying what is wrong:", () => {
  test.each<[string[], says: string]>([
    [["--nonsense"], "unknown option '--nonsense'"],
    [["--nonsense=5"], "unknown option '--nonsense=5'"],
    [["-x"], "unknown option '-x'"],
    [["-qx"], "unknown option '-x'"],
    [["-q-"], "unknown option '--'"],
    [["-ü"], "unknown option '-ü'"],
    [["-🙂"], "unknown option '-🙂'"],
    [["---"], "unknown option '---'"],
    [["--="], "unknown option '--='"],
    [["--Quiet"], "unknown option '--Quiet'"],
    [["--q"], "unknown option '--q'"],
    [["--w=5"], "unknown option '--w=5'"],
    [["-quiet"], "unknown option '-u'"],
    [["--__proto__"], "unknown option '--__proto__'"],
    [["--__proto__=x"], "unknown option '--__proto__=x'"],
    [["--constructor"], "unknown option '--constructor'"],
    [["--no-constructor"], "unknown option '--no-constructor'"],
    [["--toString"], "unknown option '--toString'"],
    [["--no-"], "unknown option '--no-'"],
    [["--no-quiet"], "unknown option '--no-quiet'"],
    [["--no-timeout"], "unknown option '--no-timeout'"],
    [["--no-wait=1"], "unknown option '--no-wait=1'"],
    [["--no-no-wait"], "unknown option '--no-no-wait'"],
    [["--noWait"], "unknown option '--noWait'"],
    [["--quiet=yes"], "option '--quiet' takes no value"],
    [["--quiet="], "option '--quiet' takes no value"],
    [["--wait=no"], "option '--wait' takes no value"],
    [["-q=1"], "unknown option '-='"],
    [["-w"], "option '-w' needs a value"],
    [["-qw"], "option '-w' needs a value"],
    [["a", "-w"], "option '-w' needs a value"],
    [["--timeout"], "option '--timeout' needs a value"],
    [["--timeout="], "option '--timeout' needs a value"],
    [["--timeout", ""], "option '--timeout' needs a value"],
    [["-w", "", "a"], "option '-w' needs a value"],
  ])("%j", (parameters, says) => {
    expect(() => parse(...parameters)).toThrow(new UsageError(says));
  });
});

test("every order and spelling of options and operands means the same", () => {
  const anyText = fc.string({ unit: "binary", maxLength: 8 });
  const tricky = fc.constantFrom(
    "-q",
    "--",
    "-",
    "--no-wait",
    "--wait=1",
    "-w5",
  );
  const value = fc.oneof(
    anyText.filter((text) => text !== ""),
    tricky,
  );
  const operand = anyText.filter((text) => !/^-./s.test(text));

  type Part = readonly [words: readonly string[], means: Understood];
  const valued = (
    option: fc.Arbitrary<string>,
    means: (text: string) => Understood,
  ): fc.Arbitrary<Part> =>
    fc.tuple(option, value).map(([name, text]) => {
      const joined = name.endsWith("=") || name.endsWith("+");
      const spelled = name.replace("+", "");
      return [joined ? [`${spelled}${text}`] : [name, text], means(text)];
    });
  const part: fc.Arbitrary<Part> = fc.oneof(
    valued(
      fc.constantFrom("-w", "-w+", "--timeout", "--timeout="),
      (timeout) => ({
        timeout,
      }),
    ),
    valued(
      fc.constantFrom("-s", "-qs+", "--sysdir", "--sysdir="),
      (sysdir) => ({
        sysdir,
      }),
    ),
    fc
      .constantFrom("-q", "--quiet")
      .map((word): Part => [[word], { on: ["quiet"] }]),
    fc.constant<Part>([["--no-wait"], { off: "wait" }]),
    operand.map((text): Part => [[text], { operands: [text] }]),
  );

  fc.assert(
    fc.property(
      fc.array(part),
      fc.array(fc.oneof(anyText, tricky)),
      (parts, rest) => {
        const words = parts.flatMap(([each]) => each);
        const means: Understood = {};
        for (const [, each] of parts) Object.assign(means, each);
        const operands = parts.flatMap(([, each]) => each.operands ?? []);
        const quiet = parts.some(
          ([[word = ""], each]) => each.on || word.startsWith("-qs"),
        );
        expect(parse(...words, "--", ...rest)).toEqual(
          expected({
            ...means,
            operands: [...operands, ...rest],
            on: quiet ? ["quiet"] : [],
          }),
        );
      },
    ),
    { numRuns: 700 },
  );
});

test("whatever is given is understood or refused, and never crashes", () => {
  const word = fc.oneof(
    fc.string({ unit: "binary", maxLength: 6 }),
    fc.stringMatching(/^-{0,3}[a-z=-]{0,8}$/),
    fc.constantFrom("--__proto__", "--constructor", "--hasOwnProperty=1", "--"),
  );
  fc.assert(
    fc.property(fc.array(word), (words) => {
      try {
        const { operands, timeout, sysdir } = parse(...words);
        for (const text of [timeout, sysdir])
          if (text !== undefined)
            expect(words.some((each) => each.endsWith(text))).toBe(true);
        expect(words).toEqual(expect.arrayContaining([...operands]));
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
      }
    }),
    { numRuns: 700 },
  );
});

test("the help names every option as it is typed", () => {
  expect(usageLine(LINE)).toBe(
    "usage: tool [-q] [-w SECONDS] [-s DIR] [--no-wait] [OPERAND…]",
  );
  expect(helpText(LINE)).toBe(`${usageLine(LINE)}

Does what a test asks.

options:
  -w, --timeout SECONDS  how long
  -s, --sysdir DIR       
      --no-wait          return at once
  -q, --quiet            say less
  -h, --help             show this help and exit
      --version          show the version and exit

more about it
`);
});
