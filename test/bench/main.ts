/**
 * Measures the built sysmgr side by side with what else keeps services alive, in one run on one machine.
 *
 *   bun run bench [--services N,…] [--rounds N] [--only CONTENDER,…] [--measure MEASURE,…] [--json]
 *
 * Further contenders are found in the directories that SYSMGR_BENCH_MORE names, joined by colons: one with
 * sysmgr and svctl, one with nitro and nitroctl, or one with a busybox that has runsvdir, runsv and sv.
 */
import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import type { Bench } from "./bench.ts";
import type { Contender } from "./contenders/contender.ts";
import { findContenders } from "./contenders/find.ts";
import { loop } from "./contenders/loop.ts";
import { sysmgr } from "./contenders/sysmgr.ts";
import { machine } from "./machine.ts";
import { type Options, readOptions, USAGE, UsageError } from "./options.ts";
import { type Outcome, renderJson, renderText } from "./report.ts";
import { Results } from "./results.ts";
import { MEASURES, measureAll } from "./run.ts";
import { ShortPrograms } from "./short-programs.ts";
import { Workshop } from "./workshop.ts";

const BINARY = join(import.meta.dir, "../../dist/sysmgr");
const TOOLS = {
  unshare: "util-linux",
  setpriv: "util-linux",
  cc: "gcc libc6-dev",
};
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const USAGE_EXIT = 2;
const INTERRUPTED_EXIT = 130;

/** Something that the benchmark cannot do without. */
class MissingError extends Error {}

const interruption = new AbortController();

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), MEASURES);
  if (options.help) {
    console.log(`${USAGE}\n\nmeasures: ${MEASURES.join(", ")}`);
    return;
  }
  checkTools();
  await using workshop = new Workshop();
  for (const signal of SIGNALS)
    process.once(signal, () => void interrupt(workshop));
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
  const found = findContenders(process.env["SYSMGR_BENCH_MORE"]);
  for (const reason of found.leftOut) progress(`left out: ${reason}`);
  const all = [
    sysmgr("sysmgr", version, workshop.copySysmgr(BINARY)),
    ...found.contenders,
    loop(await workshop.compileForBun("loop", "static")),
  ];
  const bench: Bench = {
    workshop,
    programs,
    contenders: choose(all, options.only),
    results: new Results(),
    shortPrograms: new ShortPrograms(),
    failures: new Map(),
    services: options.services,
    rounds: options.rounds,
    interruption: interruption.signal,
    progress,
  };
  await measureAll(bench, options.measures);
  return {
    machine: facts,
    loadAfter: loadavg(),
    leftOut: found.leftOut,
    ...bench,
  };
}

function choose(
  all: readonly Contender[],
  only: readonly string[] | undefined,
): readonly Contender[] {
  if (only === undefined) return all;
  const names = all.map(({ name }) => name);
  for (const name of only)
    if (!names.includes(name))
      throw new UsageError(
        `--only: '${name}' is not one of ${names.join(", ")}`,
      );
  return all.filter(({ name }) => only.includes(name));
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

async function interrupt(workshop: Workshop): Promise<never> {
  interruption.abort();
  await workshop[Symbol.asyncDispose]();
  process.exit(INTERRUPTED_EXIT);
}

try {
  await main();
} catch (error) {
  // What fails because of the interruption needs no words.
  if (interruption.signal.aborted) process.exit(INTERRUPTED_EXIT);
  const message = error instanceof Error ? error.message : String(error);
  const usage = error instanceof UsageError;
  console.error(`bench: ${message}${usage ? `\n${USAGE}` : ""}`);
  process.exitCode = usage ? USAGE_EXIT : 1;
}
