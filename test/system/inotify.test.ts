import { expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import {
  type DirectoryEvent,
  inotify,
  type Watcher,
} from "../../src/system/inotify.ts";
import { until } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";

/** Somebody who remembers what happened. */
class Witness implements Watcher, Disposable {
  readonly events: DirectoryEvent[] = [];
  readonly watch: number;

  constructor(path: string) {
    this.watch = inotify.watch(path, this);
  }

  happened(watch: number, event: DirectoryEvent): void {
    expect(watch).toBe(this.watch);
    this.events.push(event);
  }

  saw(expected: Partial<DirectoryEvent>): Promise<DirectoryEvent> {
    return until(
      () =>
        this.events.find((event) =>
          Object.entries({ ...event, ...expected }).every(([key, value]) =>
            Object.entries(event).some(
              ([name, seen]) => name === key && seen === value,
            ),
          ),
        ),
      () => `${JSON.stringify(expected)}: ${JSON.stringify(this.events)}`,
    );
  }

  [Symbol.dispose](): void {
    inotify.unwatch(this.watch, this);
  }
}

test("everything that happens in a directory is told, repetitions too", async () => {
  using place = new TemporaryDirectory();
  using witness = new Witness(place.path);
  for (let index = 0; index < 500; index++) {
    writeFileSync(place.at("file"), "");
    rmSync(place.at("file"));
  }
  const seen = (what: "appeared" | "vanished") =>
    witness.events.filter((event) => event.name === "file" && event[what]);
  await until(() => seen("vanished").length === 500, "all are told");
  expect(seen("appeared").length).toBe(500);
});

test("what happens is told by name", async () => {
  using place = new TemporaryDirectory();
  place.file("a", "");
  using witness = new Witness(place.path);
  renameSync(place.at("a"), place.at("b"));
  await witness.saw({ name: "a", vanished: true, isDirectory: false });
  await witness.saw({ name: "b", appeared: true, isDirectory: false });
  mkdirSync(place.at("c"));
  await witness.saw({ name: "c", appeared: true, isDirectory: true });
  chmodSync(place.at("b"), 0o755);
  await witness.saw({ name: "b", appeared: false, vanished: false });
  chmodSync(place.path, 0o700);
  await witness.saw({ name: undefined, over: false });
});

test("a directory that goes away ends its watch, and one in its place can be watched", async () => {
  using place = new TemporaryDirectory();
  const path = place.directory("d");
  {
    using witness = new Witness(path);
    rmdirSync(path);
    await witness.saw({ name: undefined, over: true });
    expect(witness.events.filter(({ over }) => over).length).toBe(1);
  }
  mkdirSync(path);
  using witness = new Witness(path);
  writeFileSync(place.at("d/file"), "");
  await witness.saw({ name: "file", appeared: true });
});

test("two that watch the same directory do not get in each other's way", async () => {
  using place = new TemporaryDirectory();
  using first = new Witness(place.path);
  {
    using second = new Witness(place.path);
    writeFileSync(place.at("a"), "");
    await first.saw({ name: "a" });
    await second.saw({ name: "a" });
  }
  writeFileSync(place.at("b"), "");
  await first.saw({ name: "b" });
});

test("what cannot be watched is an error", () => {
  using place = new TemporaryDirectory();
  const witness: Watcher = { happened: () => undefined };
  for (const [path, code] of [
    [place.at("missing"), "ENOENT"],
    [place.file("file", ""), "ENOTDIR"],
  ] as const)
    expect(() => inotify.watch(path, witness)).toThrow(code);
});
