/** The short form of main.ts, for every day: a few laps, each time with another seed. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";

setDefaultTimeout(300_000);

const LAPS = 4;
const MAIN = join(import.meta.dir, "main.ts");
/** A seed that has been printed may be given again. */
const { CHAOS_SEED } = process.env;

test(`${LAPS} laps leave everything as the files say`, async () => {
  const seed = CHAOS_SEED === undefined ? [] : ["--seed", CHAOS_SEED];
  const chaos = Bun.spawn(
    [process.execPath, MAIN, "--laps", String(LAPS), ...seed],
    { stdout: "pipe", stderr: "pipe" },
  );
  const said = await chaos.stdout.text();
  console.log(said.split("\n", 1)[0]);
  expect([await chaos.stderr.text(), await chaos.exited]).toEqual(["", 0]);
  expect(said).toContain(`lap ${LAPS}: all well`);
});
