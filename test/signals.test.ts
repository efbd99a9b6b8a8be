import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { signalName, signalNumber } from "../src/signals.ts";

/** What this system calls its signals; SIGUNUSED is no signal of its own. */
const SYSTEM = Object.entries(constants.signals).filter(
  ([name]) => name !== "SIGUNUSED",
);

describe("a signal", () => {
  test.each(SYSTEM)(
    "%s has the number that the system gives it",
    (name, number) => {
      const short = name.slice("SIG".length);
      for (const way of [name, short, name.toLowerCase(), short.toLowerCase()])
        expect(signalNumber(way)).toBe(number);
      expect(signalNumber(`${number}`)).toBe(number);
    },
  );

  test("is known by the name that is printed, also one that has only a number", () => {
    for (let number = 1; number <= 64; number++)
      expect(signalNumber(signalName(number))).toBe(number);
  });

  test.each([
    [1, "SIGHUP"],
    [9, "SIGKILL"],
    [15, "SIGTERM"],
    [17, "SIGCHLD"],
    [31, "SIGSYS"],
    [40, "SIG40"],
  ])("%d is printed as %s", (number, name) => {
    expect(signalName(number)).toBe(name);
  });

  test.each([
    ["CLD", 17],
    ["SIGIOT", 6],
    ["poll", 29],
  ])("may be called %s, too", (name, number) => {
    expect(signalNumber(name)).toBe(number);
  });

  test.each([
    "",
    "0",
    "65",
    "-1",
    "+9",
    "9.0",
    "1e1",
    "0x9",
    " 9",
    "9\n",
    "009",
    "SIG",
    "SIG0",
    "SIG65",
    "SIGSIGKILL",
    "KILL ",
    "EXIT",
    "toString",
    "__proto__",
    "hasOwnProperty",
    "ſigkill",
    "kıll",
  ])("is not %j", (text) => {
    expect(signalNumber(text)).toBeUndefined();
  });
});
