/** The floor for everything that runs on Bun: a loop that starts and restarts, and does nothing else. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Contender } from "./contender.ts";

/** @param program the compiled loop. */
export function loop(program: string): Contender {
  return {
    name: "bun-loop",
    version: Bun.version,
    minimal: true,
    use: ({ directory, script }) => {
      const scripts = `${directory}/sv`;
      mkdirSync(scripts);
      return {
        command: [program, scripts],
        prepare: (path) => writeFileSync(path, script, { mode: 0o755 }),
        entry: (service) => `${scripts}/${service}`,
        stopSignal: "SIGTERM",
      };
    },
  };
}
