import { expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { TemporaryDirectory } from "../temporary.ts";
import { Marks } from "./marks.ts";

test("a start is told once, also when its line comes in two parts", () => {
  using directory = new TemporaryDirectory();
  const path = directory.at("marks");
  using marks = new Marks(path);
  appendFileSync(path, "1000 7 web\n2000 8 d");
  expect(marks.take()).toEqual([{ time: 1000, pid: 7, service: "web" }]);
  appendFileSync(path, "b\n3000 9 web\n");
  expect(marks.take()).toEqual([
    { time: 2000, pid: 8, service: "db" },
    { time: 3000, pid: 9, service: "web" },
  ]);
  expect(marks.count).toBe(3);
  expect(marks.last("web")?.pid).toBe(9);
});

test("waiting ends with the starts after a moment, in the order asked for", async () => {
  using directory = new TemporaryDirectory();
  const path = directory.at("marks");
  using marks = new Marks(path);
  appendFileSync(path, "1000 7 web\n2000 8 db\n");
  const waiting = marks.started(["web", "db"], 1500, 60_000);
  appendFileSync(path, "3000 9 web\n");
  const found = await waiting;
  expect(found.map(({ time }) => time)).toEqual([3000, 2000]);
});

test("who is not started is named", async () => {
  using directory = new TemporaryDirectory();
  const path = directory.at("marks");
  using marks = new Marks(path);
  appendFileSync(path, "1000 7 web\n");
  await expect(marks.started(["web", "db"], 500, 1)).rejects.toThrow(
    "1 of 2 services, such as db,",
  );
});
