/** Waits until everything is as it should be, and sees that it stays so. */
import type { Arena } from "./arena.ts";
import { Check, type Descriptors, type Problem } from "./check.ts";
import type { Respawner } from "./respawner.ts";

const PATIENCE = 30_000;
const INTERVAL = 100;
const HOLD = 300;
const ATTEMPTS = 4;

/** What it came to. */
export interface Outcome {
  /** The check that was made last. */
  readonly check: Check | undefined;
  /** None when all is well. */
  readonly problems: readonly Problem[];
}

/** Waits with patience for a state with nothing wrong in it, and looks again a moment later. */
export async function settle(
  arena: Arena,
  respawner: Respawner,
  usual: Descriptors | undefined,
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    const first = await until(
      arena,
      respawner,
      usual,
      performance.now() + PATIENCE,
    );
    if (first.problems.length > 0) return first;
    await Bun.sleep(HOLD);
    const second = await look(arena, respawner, usual);
    const firm = second.problems.filter(({ passing }) => !passing);
    if (firm.length === 0) break;
    // A service that was told to end may take its time for it, and end just now.
    if (attempt === ATTEMPTS) return { ...second, problems: firm };
  }
  return await until(arena, respawner, usual, performance.now() + PATIENCE);
}

/**
 * What may be a moment between two states is a problem only when it is there each time; so it is enough
 * that each such thing is seen to be well once.
 */
async function until(
  arena: Arena,
  respawner: Respawner,
  usual: Descriptors | undefined,
  deadline: number,
): Promise<Outcome> {
  let open: ReadonlySet<string> | undefined;
  for (;;) {
    const outcome = await look(arena, respawner, usual);
    const firm = outcome.problems.filter(({ passing }) => !passing);
    const passing = outcome.problems.filter((problem) => problem.passing);
    const keys = passing.map(key);
    if (firm.length === 0)
      open = new Set(
        keys.filter((each) => open === undefined || open.has(each)),
      );
    const left = passing.filter((problem) => open?.has(key(problem)) ?? true);
    const problems = [...firm, ...left];
    if (problems.length === 0 || arena.closed)
      return { ...outcome, problems: [] };
    if (performance.now() > deadline)
      return { ...outcome, problems: firm.length > 0 ? firm : left };
    await Bun.sleep(INTERVAL);
  }
}

async function look(
  arena: Arena,
  respawner: Respawner,
  usual: Descriptors | undefined,
): Promise<Outcome> {
  const { pid } = respawner;
  if (pid === undefined || !respawner.ready) {
    await Bun.sleep(INTERVAL);
    return { check: undefined, problems: [NOT_RUNNING] };
  }
  const check = new Check(arena, pid, usual);
  return { check, problems: check.problems };
}

const NOT_RUNNING: Problem = {
  service: undefined,
  expected: "sysmgr runs and RUNDIR/pid names it",
  found: "it does not",
  passing: false,
};

function key({ service, expected }: Problem): string {
  return `${service ?? ""}\0${expected.replace(/\d+/g, "#")}`;
}
