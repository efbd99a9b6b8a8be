/** Tells what is wrong so that somebody who was not there understands it. */
import { lstatSync } from "node:fs";
import type { Arena } from "./arena.ts";
import type { Problem } from "./check.ts";
import { wanted } from "./check.ts";
import {
  attempt,
  commandLine,
  listDirectory,
  markedProcesses,
  readText,
} from "./system.ts";

const LONGEST_STORY = 60;
const MOST_SERVICES = 4;

/** Everything that is known about some problems. */
export function report(arena: Arena, problems: readonly Problem[]): string {
  const lines = problems.map(
    ({ service, expected, found }) =>
      `  ${service ?? "sysmgr"}: expected: ${expected}; found: ${found}`,
  );
  const services = [...new Set(problems.map(({ service }) => service))];
  for (const service of services.slice(0, MOST_SERVICES))
    lines.push("", ...describe(arena, service));
  return lines.join("\n");
}

function describe(arena: Arena, service: string | undefined): string[] {
  const facts = service === undefined ? [] : factsOf(arena, service);
  return [
    `--- ${service ?? "sysmgr"} ---`,
    ...facts,
    "what was done to it (seconds before now) and what the log says:",
    ...arena.story(service, LONGEST_STORY),
  ];
}

function factsOf(arena: Arena, service: string): string[] {
  const plan = arena.plans.find(({ name }) => name === service);
  const directory = arena.state(service);
  const files = listDirectory(directory).map((file) => {
    const path = arena.state(service, file);
    const time = attempt(() => lstatSync(path).mtime.toISOString());
    return `  ${file}: ${JSON.stringify(readText(path))} (${time})`;
  });
  const processes = markedProcesses(arena.rundir)
    .filter((process) => process.service === service)
    .map(
      ({ pid, parent, group, session, state }) =>
        `  pid ${pid}, state ${state}, parent ${parent}, group ${group}, session ${session}: ${commandLine(pid).slice(0, 200)}`,
    );
  return [
    `wanted: ${wanted(arena, service)}`,
    "script:",
    ...(plan?.script.split("\n").map((line) => `  ${line}`) ?? []),
    `now: ${new Date().toISOString()}`,
    `${directory}:`,
    ...files,
    "processes:",
    ...processes,
  ];
}
