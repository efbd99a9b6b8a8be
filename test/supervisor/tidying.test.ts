/** When memory is given back, told by timers that do not run of themselves. */
import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import {
  AGE_OF_CODE,
  BURST,
  QUIET_AFTER_BURST,
  Tidying,
} from "../../src/supervisor/tidying.ts";

let done: string[];
let tidying: Tidying;

beforeEach(() => {
  jest.useFakeTimers();
  done = [];
  tidying = new Tidying(
    () => done.push("collect"),
    () => done.push("release"),
  );
});
afterEach(() => jest.useRealTimers());

function tidied(): string[] {
  return done.splice(0);
}

test("the start is a burst, and what it has left goes when its code is old enough", () => {
  tidying.note();
  jest.advanceTimersByTime(QUIET_AFTER_BURST - 1);
  expect(tidied()).toEqual([]);
  jest.advanceTimersByTime(1);
  expect(tidied()).toEqual(["collect"]);
  jest.advanceTimersByTime(AGE_OF_CODE);
  expect(tidied()).toEqual(["collect", "release"]);
});

test("nothing is done in the midst of a burst", () => {
  for (let count = 0; count < 10; count++) {
    tidying.note();
    jest.advanceTimersByTime(QUIET_AFTER_BURST - 1);
  }
  expect(tidied()).toEqual([]);
  jest.advanceTimersByTime(2 * QUIET_AFTER_BURST + AGE_OF_CODE);
  expect(tidied()).toEqual(["collect", "collect", "release"]);
});

test("an event between the two collections makes it begin again", () => {
  tidying.note();
  jest.advanceTimersByTime(QUIET_AFTER_BURST);
  tidying.note();
  jest.advanceTimersByTime(AGE_OF_CODE);
  expect(tidied()).toEqual(["collect"]);
  jest.advanceTimersByTime(QUIET_AFTER_BURST + AGE_OF_CODE);
  expect(tidied()).toEqual(["collect", "collect", "release"]);
});

test("no timer is left then, and few events do not set one", () => {
  tidying.note();
  jest.advanceTimersByTime(QUIET_AFTER_BURST + AGE_OF_CODE);
  tidied();
  expect(jest.getTimerCount()).toBe(0);
  for (let count = 1; count < BURST; count++) tidying.note();
  expect(jest.getTimerCount()).toBe(0);
  tidying.note();
  expect(jest.getTimerCount()).toBe(1);
  jest.advanceTimersByTime(QUIET_AFTER_BURST + AGE_OF_CODE);
  expect(tidied()).toEqual(["collect", "collect", "release"]);
});
