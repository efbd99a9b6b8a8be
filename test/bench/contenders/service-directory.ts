/** Services that are directories with an executable "run", as daemontools has brought them up. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Place } from "./contender.ts";

/** The parts of a usage that all of that family share, and the directory that is scanned. */
export function serviceDirectories({ directory, script }: Place) {
  const scanned = `${directory}/sv`;
  mkdirSync(scanned);
  return {
    scanned,
    prepare: (path: string) => {
      mkdirSync(path);
      writeFileSync(`${path}/run`, script, { mode: 0o755 });
    },
    entry: (service: string) => `${scanned}/${service}`,
  };
}

/** A shell command that does the same to every one of many services. */
export function forEach(
  command: string,
  services: readonly string[],
): readonly string[] {
  return [
    "sh",
    "-c",
    `for each do ${command} "$each"; done`,
    "sh",
    ...services,
  ];
}
