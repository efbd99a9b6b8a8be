/** What happens in the two directories, with nothing but plain file operations. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import type { Happening, Lap } from "./lap.ts";
import type { Random } from "./random.ts";
import { attempt } from "./system.ts";

/** An entry that comes back within this many milliseconds has not gone: a second, less some room. */
const SHORT_ABSENCE = 700;
const LONG_ABSENCE = 1800;
/** Milliseconds that an entry stays before it is hidden again. */
const PRESENCE = 1500;
const LOCKS: readonly string[] = [
  "TERM\n",
  "15\n",
  "KILL\n",
  "9\n",
  "INT\n",
  "HUP\n",
  "SIGUSR1\n",
  "TERM",
  "once\n",
  "0\n",
  "",
  "banana\n",
  "\u0000\u0001\u00ff\n",
  `${"long ".repeat(40)}\n`,
];
const GARBAGE: readonly string[] = [
  "",
  "\n",
  "garbage\n",
  "-1\n",
  "0\n",
  "1\n",
  "12 34\n",
  "4194303\n",
  "99999999999999999999\n",
  "SIGNONSENSE\n",
  "\u0000\u0000\n",
  "x".repeat(5000),
];

export const FILE_EVENTS: readonly Happening[] = [
  { name: "write-lock", weight: 5, happen: writeLock },
  { name: "write-lock-slowly", weight: 1, happen: writeLockSlowly },
  { name: "remove-lock", weight: 6, happen: removeLock },
  { name: "hide-entry", weight: 3, happen: hide },
  { name: "hide-entry-long", weight: 1, happen: hideLong },
  { name: "replace-entry", weight: 2, happen: replace },
  { name: "chmod-entry", weight: 2, happen: toggleMode },
  { name: "remove-state", weight: 2, happen: removeState },
  { name: "garbage-pid", weight: 2, happen: garbage("pid") },
  { name: "garbage-exit", weight: 2, happen: garbage("exit") },
  { name: "garbage-starts", weight: 2, happen: garbage("starts") },
  { name: "foreign-pid", weight: 1, happen: foreignPid },
  { name: "trap-file", weight: 1, happen: trap },
];

function writeLock({ arena, victims }: Lap, random: Random): void {
  const { name } = random.pick(victims);
  const text = random.pick(LOCKS);
  if (!existsSync(arena.entry(name))) return;
  arena.note("write-lock", name, JSON.stringify(text.slice(0, 20)));
  arena.harm(name);
  attempt(() => mkdirSync(arena.state(name), { recursive: true }));
  attempt(() => writeFileSync(arena.state(name, "lock"), text));
}

/** As `echo` does when it is interrupted: 1 is HUP, 15 is TERM. */
async function writeLockSlowly(lap: Lap, random: Random): Promise<void> {
  const { arena } = lap;
  const { name } = random.pick(lap.victims);
  const path = arena.state(name, "lock");
  if (!existsSync(arena.entry(name))) return;
  arena.note("write-lock-slowly", name);
  arena.harm(name);
  for (const part of ["1", "5", "\n"]) {
    attempt(() => appendFileSync(path, part));
    await Bun.sleep(random.between(0, 30));
  }
}

function removeLock({ arena, victims }: Lap, random: Random): void {
  const locked = victims.filter(({ name }) =>
    existsSync(arena.state(name, "lock")),
  );
  if (locked.length === 0) return;
  const { name } = random.pick(locked);
  arena.note("remove-lock", name);
  attempt(() => unlinkSync(arena.state(name, "lock")));
}

/** Short enough that nothing is to come of it. */
function hide(lap: Lap, random: Random): void {
  const { name } = random.pick(lap.plans);
  const length = random.between(0, SHORT_ABSENCE);
  hideFor(lap, "hide-entry", name, length);
}

/** So long that it has gone; some do not come back in this lap. */
function hideLong(lap: Lap, random: Random): void {
  const { name } = random.pick(lap.victims);
  const length = random.between(0, LONG_ABSENCE);
  const returns = random.chance(0.5);
  lap.arena.harm(name);
  hideFor(lap, "hide-entry-long", name, returns ? length : undefined);
}

function hideFor(
  lap: Lap,
  kind: string,
  name: string,
  length: number | undefined,
): void {
  const { arena } = lap;
  const age =
    Date.now() -
    (attempt(() => statSync(arena.entry(name)).ctimeMs) ?? Infinity);
  // One that has only just come back could be missed between two absences, which would count as one.
  if (age < PRESENCE) return;
  const time = length === undefined ? "" : `${Math.round(length)} ms`;
  arena.note(kind, name, time);
  renameSync(arena.entry(name), arena.hidden(name));
  if (length === undefined) return;
  lap.later(length, () => {
    arena.journal(name, "show-entry");
    arena.show(name);
  });
}

function replace({ arena, plans }: Lap, random: Random): void {
  const plan = random.pick(plans);
  if (!existsSync(arena.entry(plan.name))) return;
  arena.note("replace-entry", plan.name);
  arena.install(plan);
}

function toggleMode(lap: Lap, random: Random): void {
  const { arena } = lap;
  const { name } = random.pick(lap.plans);
  const set = (mode: number) =>
    attempt(() => chmodSync(arena.entry(name), mode));
  arena.note("chmod-entry", name, "-x");
  set(0o644);
  if (random.chance(0.3) && !lap.spared.has(name)) return;
  lap.later(random.between(0, 500), () => {
    arena.journal(name, "chmod-entry +x");
    set(0o755);
  });
}

/** A service that is stopped: this starts it. */
function removeState({ arena, victims }: Lap, random: Random): void {
  const stopped = victims.filter(
    ({ name }) =>
      existsSync(arena.state(name, "lock")) &&
      !existsSync(arena.state(name, "pid")),
  );
  if (stopped.length === 0) return;
  const { name } = random.pick(stopped);
  arena.note("remove-state", name);
  attempt(
    () => rmSync(arena.state(name), { recursive: true }),
    ["ENOENT", "ENOTEMPTY"],
  );
}

function garbage(file: "pid" | "exit" | "starts"): Happening["happen"] {
  return ({ arena, plans }, random) => {
    const { name } = random.pick(plans);
    const path = arena.state(name, file);
    const text = random.pick(GARBAGE);
    if (!isPlainFile(path)) return;
    arena.note(`garbage-${file}`, name, JSON.stringify(text.slice(0, 20)));
    writeFileSync(path, text);
  };
}

/** The pid of another service, which must not come to harm by it. */
function foreignPid({ arena, plans }: Lap, random: Random): void {
  const [one, other] = random.some(plans, 2);
  if (one === undefined || other === undefined) return;
  const leader = arena.leader(other.name);
  const path = arena.state(one.name, "pid");
  if (leader === undefined || !isPlainFile(path)) return;
  arena.note("foreign-pid", one.name, `${leader.pid} of ${other.name}`);
  writeFileSync(path, `${leader.pid}\n`);
}

/** Nothing, a directory or a link in the place of a state file. */
function trap({ arena, plans }: Lap, random: Random): void {
  const { name } = random.pick(plans);
  const path = arena.state(name, random.pick(["pid", "exit", "starts"]));
  const what = random.pick(["nothing", "a directory", "a link"]);
  if (!isPlainFile(path)) return;
  arena.note("trap-file", name, `${path}: ${what}`);
  const expected = ["ENOENT", "EEXIST"];
  attempt(() => unlinkSync(path), expected);
  if (what === "a directory") attempt(() => mkdirSync(path), expected);
  if (what === "a link")
    attempt(() => symlinkSync(arena.decoy, path), expected);
}

/** A link must not be written through. */
function isPlainFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
