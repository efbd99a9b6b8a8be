import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { duration, inSeconds, printable } from "../src/text.ts";

describe("text for one line", () => {
  test.each([
    ["web", "web"],
    ["ü 日本 🙂", "ü 日本 🙂"],
    ["a\nb\tc", "a\\nb\\tc"],
    ["\u001b[2J\u0007\r\0", "\\x1b[2J\\x07\\x0d\\x00"],
    ["\u007f\u0085\u009b", "\\x7f\\x85\\x9b"],
    ["\u2028\u202e\u2066", "\\u2028\\u202e\\u2066"],
    ["back\\slash", "back\\\\slash"],
    ["", ""],
  ])("%j is printed as %j", (text, printed) => {
    expect(printable(text)).toBe(printed);
  });

  test("is cut where it gets too long", () => {
    expect(printable("x".repeat(300))).toBe("x".repeat(300));
    expect(printable("x".repeat(301))).toBe(`${"x".repeat(300)}…`);
    expect(printable("abcdef", 3)).toBe("abc…");
  });

  test("is never cut in the middle of a character", () => {
    expect(printable("ab🙂cd", 3)).toMatch(/^ab(🙂)?…$/u);
  });

  test("has nothing in it that a terminal would obey", () => {
    const obeyed = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;
    const codes = fc.oneof(
      fc.integer({ min: 0, max: 0xa0 }),
      fc.integer({ min: 0x2020, max: 0x2070 }),
    );
    const text = fc.string({
      unit: codes.map((code) => String.fromCharCode(code)),
    });
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 40 }), (any, longest) => {
        const printed = printable(any, longest);
        expect(printed).not.toMatch(obeyed);
        expect(printed.length).toBeLessThanOrEqual(longest + 1);
      }),
      { numRuns: 2000 },
    );
  });
});

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test.each([
  [0, "0s"],
  [999, "0s"],
  [-5, "0s"],
  [45 * SECOND, "45s"],
  [MINUTE - 1, "59s"],
  [MINUTE, "1m0s"],
  [2 * MINUTE + 5 * SECOND, "2m5s"],
  [HOUR - 1, "59m59s"],
  [3 * HOUR + 12 * MINUTE, "3h12m"],
  [DAY - 1, "23h59m"],
  [4 * DAY + 3 * HOUR + MINUTE, "4d3h"],
  [1000 * DAY, "1000d0h"],
])("%d ms last %s", (milliseconds, text) => {
  expect(duration(milliseconds)).toBe(text);
});

test.each([
  [0, "0 s"],
  [400, "0.4 s"],
  [940, "0.9 s"],
  [960, "1 s"],
  [1000, "1 s"],
  [12_000, "12 s"],
  [12_345, "12.3 s"],
  [2_000_000, "2000 s"],
])("%d ms are %s", (milliseconds, text) => {
  expect(inSeconds(milliseconds)).toBe(text);
});
