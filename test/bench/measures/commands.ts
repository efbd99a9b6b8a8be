/** Whole processes of short programs, which take turns: A B C A B C… */
import {
  type Bench,
  type JointMeasure,
  milliseconds,
  stageFor,
} from "../bench.ts";
import type { Stage } from "../stage.ts";

const SERVICES = 10;
const RUNS_PER_ROUND = 25;
/** Milliseconds after everything is up. */
const SETTLED = 1000;
const HELLOS = [
  { source: "bare", title: "console.log alone" },
  { source: "hello", title: "hello with citty and consola" },
];

interface Turn {
  readonly name: string;
  readonly stage: Stage;
  readonly command: readonly string[];
}

export const COMMANDS: JointMeasure = {
  name: "commands",
  async measure(bench) {
    await using open = new AsyncDisposableStack();
    const turns: Turn[] = [];
    for (const contender of bench.contenders) {
      const stage = open.use(stageFor(bench, contender, SERVICES));
      await stage.startAll();
      const [service = ""] = stage.services;
      for (const [name, command] of Object.entries(stage.usage.isUp ?? {}))
        turns.push({
          name: `${name} (${contender.name})`,
          stage,
          command: command(service),
        });
    }
    const [stage] = turns.map((turn) => turn.stage);
    if (stage === undefined) return;
    turns.push(...(await hellos(bench, stage)));
    await Bun.sleep(SETTLED);
    for (let run = 0; run < RUNS_PER_ROUND * bench.rounds; run++)
      for (const turn of turns) await take(bench, turn);
  },
};

async function hellos(bench: Bench, stage: Stage): Promise<Turn[]> {
  const turns: Turn[] = [];
  for (const { source, title } of HELLOS)
    for (const form of ["static", "dynamic"] as const) {
      bench.progress(`commands: compiling ${source}, ${form}`);
      const program = await bench.workshop.compileForBun(source, form);
      turns.push({ name: `${title}, ${form}`, stage, command: [program] });
    }
  return turns;
}

async function take(bench: Bench, { name, stage, command }: Turn) {
  const { from, to, code, peak } = await stage.run(command);
  if (code !== 0)
    throw new Error(`${command.join(" ")} failed with exit code ${code}`);
  bench.shortPrograms.add(name, milliseconds(to - from), peak);
}
