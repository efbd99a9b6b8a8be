import { expect, test } from "bun:test";
import type { Contender } from "./contenders/contender.ts";
import { EARLY_CPU, PRIVATE, RESPAWN_WORST, START } from "./quantities.ts";
import { type Outcome, renderJson, renderText } from "./report.ts";
import { Results } from "./results.ts";
import { ShortPrograms } from "./short-programs.ts";

function contender(name: string): Contender {
  return {
    name,
    version: "1.2",
    use: () => {
      throw new Error("nothing is run here");
    },
  };
}

function outcome(): Outcome {
  const results = new Results();
  results.add(START, 10, "first", 30, 10, 20);
  results.add(START, 10, "second", 10);
  results.add(START, 110, "first", 220);
  results.add(EARLY_CPU, 10, "second", 5);
  results.add(RESPAWN_WORST, 10, "first", 1, 2, 3);
  const shortPrograms = new ShortPrograms();
  shortPrograms.add("hello", 5, 3e6);
  shortPrograms.add("svctl", 8, 6e6);
  return {
    machine: {
      date: "2026-01-02",
      kernel: "6.1",
      architecture: "x64",
      processor: "Some CPU",
      cores: 2,
      virtual: true,
      memory: 2 ** 31,
      load: [0, 1, 2],
      files: "memory",
      bun: "1.4.5",
    },
    loadAfter: [3, 2, 1],
    contenders: [contender("first"), contender("second")],
    leftOut: ["third is not installed"],
    rounds: 3,
    results,
    shortPrograms,
    failures: new Map([["idle", "it was not"]]),
  };
}

test("a cell shows the median and the ratio to the first contender", () => {
  const text = renderText(outcome());
  expect(text).toMatch(
    /\| start until all run, ms +\| +10 \| +20\.0 \| +10\.0 \(×0\.50\) \|/,
  );
});

test("growth is shown for each further service, in the next smaller unit", () => {
  expect(renderText(outcome())).toMatch(
    /\| start until all run, µs +\| each more \| +2000 \| +\|/,
  );
});

test("what was not measured is empty, and has no ratio", () => {
  expect(renderText(outcome())).toMatch(
    /\| idle, 1st minute: CPU, ms\/min +\| +10 \| +\| +5\.00 \|/,
  );
  expect(renderText(outcome())).not.toContain(PRIVATE.title);
});

test("nothing is a multiple of nothing", () => {
  const idle = outcome();
  idle.results.add(EARLY_CPU, 10, "first", 0);
  expect(renderText(idle)).toMatch(
    /\| idle, 1st minute: CPU, ms\/min +\| +10 \| +0 \| +5\.00 \|/,
  );
});

test("the machine, the versions and who is missing are told", () => {
  const text = renderText(outcome());
  expect(text).toContain(
    "2026-01-02, 2 cores, x64 virtual machine (Some CPU), 2.0 GiB, Linux 6.1",
  );
  expect(text).toContain("first 1.2, second 1.2");
  expect(text).toContain("left out: third is not installed");
  expect(text).toContain("failed: idle: it was not");
});

test("short programs are compared with hello", () => {
  expect(renderText(outcome())).toMatch(
    /\| svctl +\| +8\.00 \| +×1\.60 \| +6\.00 \|/,
  );
});

test("the JSON has every cell", () => {
  const parsed: unknown = JSON.parse(renderJson(outcome()));
  expect(parsed).toMatchObject({
    rounds: 3,
    leftOut: ["third is not installed"],
    results: [
      {
        quantity: "start",
        services: 10,
        contender: "first",
        value: 20,
        least: 10,
        most: 30,
        samples: 3,
      },
      { contender: "second", value: 10 },
      { services: 110 },
      { quantity: "idle-first-cpu" },
      { quantity: "respawn-99", value: expect.closeTo(2.98) },
    ],
    slopes: [
      { quantity: "start", contender: "first", slope: expect.closeTo(2) },
    ],
  });
});
