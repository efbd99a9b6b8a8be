import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseArgs as real } from "node:util";
import { parseArgs } from "../../src/build/light-util.ts";

const options = {
  rundir: { type: "string", short: "r" },
  seconds: { type: "string", short: "w" },
  quiet: { type: "boolean", short: "q" },
  json: { type: "boolean" },
  wait: { type: "boolean", default: true },
} as const;

/** What people write, and what they write by mistake. */
const argument = fc.oneof(
  fc.constantFrom(
    ...["-r", "-w", "-q", "-qw5", "-w5", "-rq", "-", "--", "--json", "--quiet"],
    ...["--rundir", "--rundir=/x", "--rundir=", "--seconds=a=b", "--unknown"],
    ...["--wait", "-x", "status", "a", "5", "/run/x", "two words"],
  ),
  fc.string({ minLength: 1 }).filter((text) => !text.startsWith("-")),
);

test("it parses as node:util does", () => {
  fc.assert(
    fc.property(fc.array(argument), (args) => {
      const mine = parseArgs({ args, options });
      const expected = real({
        args,
        options,
        allowPositionals: true,
        strict: false,
      });
      expect({ ...mine.values }).toEqual({ ...expected.values });
      expect(mine.positionals).toEqual(expected.positionals);
    }),
    { numRuns: 2000 },
  );
});
