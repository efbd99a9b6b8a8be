/** What a computer goes through from the kernel's first instruction to power off. */
import { expect, test } from "bun:test";
import type { Computer } from "./computers.ts";
import { type Medium, live, obstacle } from "./machine.ts";

/** For an emulated computer on a machine with others at work. */
const PATIENCE = 180_000;
/** Also for making it. */
const LONG = 240_000;

/** What the script in the computer says, in this order. */
const STORY = [
  "up: the page is hello",
  "up: the log has what was logged",
  "killed a service: it has come back, the page is hello, it had ended by SIGKILL",
  "killed sysmgr: init has started another, the services are the same",
  "upgraded sysmgr: init has started another, the services are the same",
  "killed an adopted service: it has come back, the page is hello",
  "stopped it: exit code 0, web: DOWN (stopped)",
  "stopped it: wget's exit code is 1",
  "started it: exit code 0",
  "started it: the page is hello",
  "status: exit code 0, getty-ttyS1: polite: syslogd: visitor: web: 5 up",
  "stopped and started it without svctl",
  "another sysmgr: broken: cannot start: its interpreter /bin/missing does not exist (ENOENT)",
  "another sysmgr: exit code 0, it has left 0 files",
  "powering off",
  "polite: ended as it was told to",
  "left in the run directory: 0 files",
  "left of the services: 0 processes",
];

/** The test that a computer with its root on a medium boots, works and ends; skipped where that cannot be. */
export function bootTest(
  name: string,
  computer: Computer,
  medium: Medium,
): void {
  const problem = obstacle(computer);
  if (problem !== undefined) {
    console.warn(`skipped: ${problem}: ${name}`);
    test.skip(`${name} (skipped: ${problem})`, () => undefined);
    return;
  }
  test(
    name,
    async () => {
      const life = await live(computer, medium, PATIENCE);
      if (marked(life.console, "@").length !== STORY.length)
        console.warn(life.console);
      expect(marked(life.console, "@")).toEqual(STORY);
      expect(life.terminal).toContain("login:");
      expect(life.exitCode).toBe(0);
      const figures = marked(life.console, "#");
      const seconds = `seconds from power on to off: ${life.seconds.toFixed(1)}`;
      console.log([`${name}:`, ...figures, seconds].join("\n  "));
    },
    LONG,
  );
}

/** The lines of the console that begin with a mark, without it. */
function marked(console: string, mark: string): string[] {
  return console
    .split("\n")
    .filter((line) => line.startsWith(`${mark} `))
    .map((line) => line.slice(mark.length + 1));
}
