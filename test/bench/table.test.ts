import { expect, test } from "bun:test";
import { renderTable, threeDigits } from "./table.ts";

test("columns are as wide as their widest cell, numbers stand to the right", () => {
  const rows = [
    ["", "services", "a"],
    ["start, ms", "10", "1234.5"],
    ["stop", "1000"],
  ];
  expect(renderTable(rows)).toBe(
    [
      "|           | services |      a |",
      "| --------- | -------: | -----: |",
      "| start, ms |       10 | 1234.5 |",
      "| stop      |     1000 |        |",
    ].join("\n"),
  );
});

test.each([
  [0, "0"],
  [0.1234, "0.12"],
  [1.234, "1.23"],
  [9.996, "10.0"],
  [12.34, "12.3"],
  [99.96, "100"],
  [1234.5, "1235"],
  [-12.34, "-12.3"],
  [Number.NaN, ""],
])("%p is written %p", (value, text) => {
  expect(threeDigits(value)).toBe(text);
});
