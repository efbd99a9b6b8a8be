/** Services that are directories with an executable "run", as daemontools has brought them up. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Place } from "./contender.ts";

/** Of those who trust no service that has not said that it is ready. */
export const READINESS_NOTE =
  "its services report that they are ready; without that it waits before each restart";

const READINESS_DESCRIPTOR = "3\n";

/**
 * The parts of a usage that all of that family share, and the directory that is scanned.
 * @param ready whether a service reports that it is ready.
 */
export function serviceDirectories(
  { directory, script }: Place,
  ready = false,
) {
  const scanned = `${directory}/sv`;
  mkdirSync(scanned);
  return {
    scanned,
    prepare: (path: string) => {
      mkdirSync(path);
      const text = ready ? `${script.trimEnd()} ready\n` : script;
      writeFileSync(`${path}/run`, text, { mode: 0o755 });
      if (ready) writeFileSync(`${path}/notification-fd`, READINESS_DESCRIPTOR);
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
