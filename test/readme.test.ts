/** README.md: what it shows of a terminal happens when it is typed. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync } from "node:fs";
import { Sandbox, until } from "./integration/sandbox.ts";
import { readBlock } from "./readme.ts";

setDefaultTimeout(60_000);

interface Step {
  readonly command: string;
  /** What it says. */
  readonly expected: string;
}

/** What is typed behind "# ", or "> " where a command goes on, and what comes of it. */
function readTranscript(text: string): Step[] {
  return text
    .split(/^# /m)
    .filter(Boolean)
    .map((part) => {
      const lines = part.trimEnd().split("\n");
      const typed = lines.filter(
        (line, index) => index === 0 || line.startsWith("> "),
      );
      const said = lines.slice(typed.length).map((line) => `${line}\n`);
      return {
        command: typed.map((line) => line.replace(/^> /, "")).join("\n"),
        expected: said.join(""),
      };
    });
}

/** Pids and times are others every time. */
function shape(said: string): string {
  return said.replace(/\d+(?=[,s])/g, "N");
}

/** A port that nobody uses at the moment. */
function freePort(): string {
  const socket = { data: () => undefined };
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
  const { port } = listener;
  listener.stop(true);
  return String(port);
}

test("the transcript at its beginning", async () => {
  await using box = new Sandbox();
  chmodSync(box.directory, 0o755);
  const port = freePort();
  await box.start();
  const steps = readTranscript(readBlock("## How it looks"));
  expect(steps.length).toBeGreaterThan(8);
  for (const { command, expected } of steps) {
    const placed = command
      .replaceAll("/var/sysmgr", box.sysdir)
      .replaceAll("/run/sysmgr", box.rundir)
      .replaceAll("8080", port);
    // A person who types it is slower than a restart is.
    await until(async () => {
      const { out, err } = await box.run(["sh", "-c", placed]);
      return shape(out + err) === shape(expected);
    }, `'${command}' says: ${expected}`);
  }
});
