import { expect, test } from "bun:test";
import { fitLine, median, percentile } from "./statistics.ts";

test("the median is the middle value, whatever the order", () => {
  expect(median([3, 1, 2])).toBe(2);
});

test("the median of an even number of values lies between the middle two", () => {
  expect(median([10, 1, 2, 3])).toBe(2.5);
});

test("nothing has no median", () => {
  expect(median([])).toBeNaN();
});

test.each([
  { percent: 0, expected: 1 },
  { percent: 25, expected: 26 },
  { percent: 99, expected: 100 },
  { percent: 99.5, expected: 100.5 },
  { percent: 100, expected: 101 },
])("percentile $percent of 1 to 101", ({ percent, expected }) => {
  const values = Array.from({ length: 101 }, (_, index) => index + 1);
  expect(percentile(values, percent)).toBeCloseTo(expected);
});

test("values are not sorted in place", () => {
  const values = [2, 1];
  median(values);
  expect(values).toEqual([2, 1]);
});

test("a line through points on a line is that line", () => {
  const line = fitLine([
    [10, 25],
    [100, 205],
    [1000, 2005],
  ]);
  expect(line?.start).toBeCloseTo(5);
  expect(line?.slope).toBeCloseTo(2);
});

test("a small point is followed as closely as a big one", () => {
  const line = fitLine([
    [10, 10],
    [100, 10],
    [1000, 1000],
  ]);
  expect(line?.start).toBeLessThan(15);
  expect(line?.start).toBeGreaterThan(5);
});

test("there is no line through one point, nor through points above each other", () => {
  expect(fitLine([])).toBeUndefined();
  expect(fitLine([[1, 1]])).toBeUndefined();
  expect(
    fitLine([
      [1, 1],
      [1, 2],
    ]),
  ).toBeUndefined();
});
