/** What people do with svctl, several at a time. */
import type { Happening, Lap } from "./lap.ts";
import type { Random } from "./random.ts";
import { endsWithin } from "./system.ts";

/** Milliseconds that svctl may take beyond what its -w says: it is a busy machine. */
const MARGIN = 10_000;
const HARMLESS_SIGNALS: readonly string[] = ["CONT", "WINCH", "URG"];
const SIGNALS: readonly string[] = [
  ...HARMLESS_SIGNALS,
  "HUP",
  "USR1",
  "TERM",
  "KILL",
  "9",
];

export const SVCTL_EVENTS: readonly Happening[] = [
  operation("start", 6),
  operation("stop", 3),
  operation("restart", 3),
  operation("kill", 2),
  operation("once", 1),
  operation("reload", 1),
  { name: "svctl-signal", weight: 2, happen: signal },
  { name: "svctl-status", weight: 2, happen: status },
];

function operation(word: string, weight: number): Happening {
  const name = `svctl-${word}`;
  return {
    name,
    weight,
    happen(lap, random) {
      // What runs is not touched by a start.
      const plans = word === "start" ? lap.plans : lap.victims;
      const names = random.some(plans, random.integer(1, 4)).map(nameOf);
      return run(lap, name, names, [word], random.pick([0, 0.3, 1, 3]));
    },
  };
}

function signal(lap: Lap, random: Random): Promise<void> {
  const word = random.pick(SIGNALS);
  const plans = HARMLESS_SIGNALS.includes(word) ? lap.plans : lap.victims;
  const names = [random.pick(plans).name];
  return run(lap, "svctl-signal", names, ["signal", word], 1);
}

function status(lap: Lap, random: Random): Promise<void> {
  const names = random.chance(0.5) ? [] : [random.pick(lap.plans).name];
  const words = random.chance(0.5) ? ["status"] : ["--json", "status"];
  return run(lap, "svctl-status", names, words, 1);
}

async function run(
  { arena }: Lap,
  kind: string,
  names: readonly string[],
  words: readonly string[],
  seconds: number,
): Promise<void> {
  const command = ["-w", String(seconds), ...words, "--", ...names];
  arena.note(kind, names[0], `${command.join(" ")} (begins)`);
  for (const name of names.slice(1)) arena.journal(name, command.join(" "));
  const child = Bun.spawn([arena.program("svctl"), ...command], {
    cwd: arena.directory,
    env: { ...arena.environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const harm = () => {
    if (!isHarmless(words)) for (const each of names) arena.harm(each);
  };
  harm();
  const text = child.stderr.text();
  const limit = seconds * 1000 + MARGIN;
  if (!(await endsWithin(child.exited, limit))) {
    child.kill("SIGKILL");
    if (!arena.closed)
      arena.incident(
        names[0],
        `svctl ${command.join(" ")}: took over ${limit} ms`,
      );
  }
  const said = await text;
  const code = await child.exited;
  harm();
  for (const name of names)
    arena.journal(name, `${words.join(" ")} (ends: ${code}) ${said.trim()}`);
  if (arena.closed) return;
  const strange = said
    .split("\n")
    .find((line) => line !== "" && !line.startsWith("svctl: "));
  if (strange !== undefined || code > 1)
    arena.incident(
      names[0],
      `svctl ${command.join(" ")}: exit code ${code}, said: ${said}`,
    );
}

/** What svctl is told to do ends no process. */
function isHarmless(words: readonly string[]): boolean {
  const [operation, signal = ""] = words;
  return (
    operation === "start" ||
    words.includes("status") ||
    (operation === "signal" && HARMLESS_SIGNALS.includes(signal))
  );
}

function nameOf({ name }: { readonly name: string }): string {
  return name;
}
