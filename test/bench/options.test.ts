import { expect, test } from "bun:test";
import { readOptions, UsageError } from "./options.ts";

const MEASURES = ["life", "idle"];

test("without options everything is measured", () => {
  expect(readOptions([], MEASURES)).toEqual({
    services: [10, 100, 1000],
    rounds: 3,
    only: undefined,
    measures: MEASURES,
    json: false,
    help: false,
  });
});

test("numbers of services are sorted as numbers, and each is there once", () => {
  const { services } = readOptions(["--services", "100,20,3,20"], MEASURES);
  expect(services).toEqual([3, 20, 100]);
});

test("contenders and measures are lists", () => {
  const options = readOptions(
    ["--only=s6,runit", "--measure", "idle", "--rounds=7", "--json"],
    MEASURES,
  );
  expect(options).toMatchObject({
    only: ["s6", "runit"],
    measures: ["idle"],
    rounds: 7,
    json: true,
  });
});

test.each([
  { args: ["--services", "ten"], fault: "--services: 'ten'" },
  { args: ["--services", "0"], fault: "--services: '0'" },
  { args: ["--services", "5001"], fault: "--services: '5001'" },
  { args: ["--services", ""], fault: "--services" },
  { args: ["--rounds", "-1"], fault: "--rounds" },
  { args: ["--rounds=1.5"], fault: "--rounds: '1.5'" },
  { args: ["--measure", "idel"], fault: "'idel' is not one of life, idle" },
  { args: ["--measure", ""], fault: "--measure" },
  { args: ["--only", ","], fault: "--only" },
  { args: ["--fast"], fault: "--fast" },
  { args: ["more"], fault: "more" },
])("$args is refused", ({ args, fault }) => {
  const read = () => readOptions(args, MEASURES);
  expect(read).toThrow(UsageError);
  expect(read).toThrow(fault);
});
