/**
 * The least that a program compiled by Bun can do to keep services alive: it starts every script in the
 * directory named by its argument, and starts again at once what ends. TERM stops all.
 */
import { readdirSync } from "node:fs";

const directory = process.argv[2] ?? ".";
const running = new Set<Bun.Subprocess>();
let stopping = false;

process.on("SIGTERM", () => {
  stopping = true;
  for (const child of running) child.kill();
});
for (const name of readdirSync(directory)) keep(`${directory}/${name}`);

function keep(path: string): void {
  const child = Bun.spawn([path], {
    detached: true,
    stdio: ["ignore", "inherit", "inherit"],
    onExit: (ended) => {
      running.delete(ended);
      if (!stopping) keep(path);
      else if (running.size === 0) process.exit(0);
    },
  });
  running.add(child);
}
