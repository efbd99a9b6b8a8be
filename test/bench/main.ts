/**
 * Measures the built sysmgr side by side with what else keeps services alive, in one run on one machine.
 *
 *   bun run bench [--services N,…] [--rounds N] [--only CONTENDER,…] [--measure MEASURE,…] [--json]
 *
 * Further contenders are found in the directories that SYSMGR_BENCH_MORE names, joined by colons: one with
 * sysmgr and svctl, one with nitro and nitroctl, or one with a busybox that has runsvdir, runsv and sv.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import type { Bench, JointMeasure, Measure } from "./bench.ts";
import type { Contender } from "./contenders/contender.ts";
import { findContenders } from "./contenders/find.ts";
import { loop } from "./contenders/loop.ts";
import { sysmgr } from "./contenders/sysmgr.ts";
import { machine } from "./machine.ts";
import { COMMANDS } from "./measures/commands.ts";
import { IDLE } from "./measures/idle.ts";
import { CONTROL, LIFE, lifeOf, RESPAWNS } from "./measures/life.ts";
import { PICKUPS } from "./measures/pickup.ts";
import { SPAWN } from "./measures/spawn.ts";
import { CRASHING, STORM } from "./measures/storm.ts";
import { type Options, readOptions, USAGE, UsageError } from "./options.ts";
import { type Outcome, renderJson, renderText } from "./report.ts";
import { Results } from "./results.ts";
import { ShortPrograms } from "./short-programs.ts";
import { Workshop } from "./workshop.ts";

const BINARY = join(import.meta.dir, "../../dist/sysmgr");
const LIVES: readonly Measure[] = [LIFE, RESPAWNS, CONTROL];
const JOINT: readonly JointMeasure[] = [COMMANDS, SPAWN, IDLE];
const MEASURES = [...LIVES, PICKUPS, STORM, ...JOINT].map(({ name }) => name);
const TOOLS = {
  unshare: "util-linux",
  setpriv: "util-linux",
  cc: "gcc libc6-dev",
};
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const USAGE_EXIT = 2;
const INTERRUPTED_EXIT = 130;

/** Whether it was interrupted, so that what fails from then on needs no words. */
let stopping = false;

/** Something that the benchmark cannot do without. */
class MissingError extends Error {}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), MEASURES);
  if (options.help) {
    console.log(`${USAGE}\n\nmeasures: ${MEASURES.join(", ")}`);
    return;
  }
  checkTools();
  await using workshop = new Workshop();
  for (const signal of SIGNALS)
    process.once(signal, () => void interrupted(workshop));
  const outcome = await measure(options, workshop);
  console.log(options.json ? renderJson(outcome) : renderText(outcome));
  if (outcome.failures.size > 0) process.exitCode = 1;
}

async function measure(options: Options, workshop: Workshop): Promise<Outcome> {
  const facts = machine();
  progress("compiling what is needed");
  const programs = {
    stage: await workshop.compile("stage"),
    actor: await workshop.compile("actor"),
  };
  const { contenders, leftOut } = await chooseContenders(options, workshop);
  for (const reason of leftOut) console.error(`bench: left out: ${reason}`);
  const bench: Bench = {
    workshop,
    programs,
    contenders,
    results: new Results(),
    shortPrograms: new ShortPrograms(),
    failures: new Map(),
    services: options.services,
    rounds: options.rounds,
    progress,
  };
  for (let round = 0; round < options.rounds; round++)
    await measureRound(bench, options, round);
  for (const joint of JOINT) {
    if (!options.measures.includes(joint.name)) continue;
    progress(joint.name);
    await failing(bench, joint.name, () => joint.measure(bench));
  }
  return { machine: facts, leftOut, ...bench };
}

async function measureRound(
  bench: Bench,
  { measures }: Options,
  round: number,
): Promise<void> {
  const wanted = (measure: Measure) => measures.includes(measure.name);
  const perSize = [
    ...(LIVES.some(wanted) ? [lifeOf(measures)] : []),
    ...[PICKUPS].filter(wanted),
  ];
  const todo = bench.services.flatMap((services) =>
    perSize.map((measure) => ({ measure, services })),
  );
  if (wanted(STORM)) todo.push({ measure: STORM, services: CRASHING });
  // Whoever comes first may find a cooler processor, so that the order turns round.
  const order =
    round % 2 === 0 ? bench.contenders : bench.contenders.toReversed();
  for (const { measure, services } of todo)
    for (const contender of order) {
      if (services > (contender.most ?? Number.POSITIVE_INFINITY)) continue;
      if (contender.minimal && (measure === STORM || measure === PICKUPS))
        continue;
      const what = `${measure.name} with ${services} services under ${contender.name}`;
      if (bench.failures.has(what)) continue;
      progress(`round ${round + 1} of ${bench.rounds}: ${what}`);
      await failing(bench, what, () =>
        measure.measure(bench, contender, services, round),
      );
    }
}

/** Lets one measure fail without the others; what failed is told at the end. */
async function failing(
  { failures }: Bench,
  what: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (stopping || !(error instanceof Error)) throw error;
    console.error(`bench: ${what}: ${error.message}`);
    failures.set(what, error.message.split("\n")[0] ?? "");
  }
}

async function chooseContenders(
  { only }: Options,
  workshop: Workshop,
): Promise<{ contenders: Contender[]; leftOut: readonly string[] }> {
  const { contenders: others, leftOut } = findContenders(
    process.env["SYSMGR_BENCH_MORE"],
  );
  const binaries = workshop.copySysmgr(BINARY);
  const all = [
    sysmgr("sysmgr", version, binaries),
    ...others,
    loop(await workshop.compileForBun("loop", "static")),
  ];
  if (only === undefined) return { contenders: all, leftOut };
  const names = all.map(({ name }) => name);
  for (const name of only)
    if (!names.includes(name))
      throw new UsageError(
        `--only: '${name}' is not one of ${names.join(", ")}`,
      );
  const contenders = all.filter(({ name }) => only.includes(name));
  return { contenders, leftOut };
}

function checkTools(): void {
  if (!existsSync(BINARY))
    throw new MissingError("dist/sysmgr is not there: 'bun run build' first");
  for (const [tool, packages] of Object.entries(TOOLS))
    if (Bun.which(tool) === null)
      throw new MissingError(
        `${tool} is not installed (Debian: apt-get install ${packages})`,
      );
}

function progress(text: string): void {
  const seconds = Math.round(performance.now() / 1000);
  console.error(`bench: ${seconds} s: ${text}`);
}

async function interrupted(workshop: Workshop): Promise<never> {
  stopping = true;
  await workshop[Symbol.asyncDispose]();
  process.exit(INTERRUPTED_EXIT);
}

try {
  await main();
} catch (error) {
  if (stopping) process.exitCode = INTERRUPTED_EXIT;
  else if (error instanceof UsageError) {
    console.error(`bench: ${error.message}\n${USAGE}`);
    process.exitCode = USAGE_EXIT;
  } else {
    console.error(
      `bench: ${error instanceof Error ? error.message : String(error)}`,
    );
    process.exitCode = 1;
  }
}
