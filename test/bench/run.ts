/** Everything that is to be measured, in rounds. */
import type { Bench, JointMeasure, Measure } from "./bench.ts";
import type { Contender } from "./contenders/contender.ts";
import { COMMANDS } from "./measures/commands.ts";
import { IDLE } from "./measures/idle.ts";
import { LIFE_PARTS, lifeWith } from "./measures/life.ts";
import { PICKUPS } from "./measures/pickup.ts";
import { SPAWN } from "./measures/spawn.ts";
import { STORM, STORM_SERVICES } from "./measures/storm.ts";

const JOINT: readonly JointMeasure[] = [COMMANDS, SPAWN, IDLE];

/** The names of all measures. */
export const MEASURES: readonly string[] = [
  ...LIFE_PARTS,
  ...[PICKUPS, STORM, ...JOINT].map(({ name }) => name),
];

/** One measurement to be made in every round. */
interface Task {
  readonly measure: Measure;
  readonly services: number;
  readonly contender: Contender;
}

/**
 * Measures all that is wanted. What fails is put into the bench's failures and is not tried again.
 * @param wanted names of measures.
 */
export async function measureAll(
  bench: Bench,
  wanted: readonly string[],
): Promise<void> {
  for (let round = 0; round < bench.rounds; round++)
    for (const { measure, services, contender } of tasks(
      bench,
      wanted,
      round,
    )) {
      const what = `${measure.name} with ${services} services under ${contender.name}`;
      if (bench.failures.has(what)) continue;
      bench.progress(`round ${round + 1} of ${bench.rounds}: ${what}`);
      await attempt(bench, what, () =>
        measure.measure(bench, contender, services, round),
      );
    }
  for (const joint of JOINT) {
    if (!wanted.includes(joint.name)) continue;
    bench.progress(joint.name);
    await attempt(bench, joint.name, () => joint.measure(bench));
  }
}

/** Side by side what is to be compared; whoever came first comes last in the next round. */
function tasks(
  bench: Bench,
  wanted: readonly string[],
  round: number,
): readonly Task[] {
  const life = LIFE_PARTS.some((part) => wanted.includes(part))
    ? [lifeWith(wanted)]
    : [];
  const ofEachSize = [
    ...life,
    ...[PICKUPS].filter(({ name }) => wanted.includes(name)),
  ];
  const todo = bench.services.flatMap((services) =>
    ofEachSize.map((measure) => ({ measure, services })),
  );
  if (wanted.includes(STORM.name))
    todo.push({ measure: STORM, services: STORM_SERVICES });
  const order =
    round % 2 === 0 ? bench.contenders : bench.contenders.toReversed();
  return todo
    .flatMap((task) => order.map((contender) => ({ ...task, contender })))
    .filter(isPossible);
}

function isPossible({ measure, services, contender }: Task): boolean {
  if (contender.most !== undefined && services > contender.most) return false;
  return !(contender.minimal && (measure === STORM || measure === PICKUPS));
}

/** Lets one measure fail without the others. */
async function attempt(
  { failures, progress, interruption }: Bench,
  what: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (interruption.aborted || !(error instanceof Error)) throw error;
    progress(`${what} failed: ${error.message}`);
    failures.set(what, error.message.split("\n")[0] ?? "");
  }
}
