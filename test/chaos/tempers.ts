/** Services of different tempers: good ones, bad ones, and those that are awkward to bring down. */
import type { Random } from "./random.ts";

/** One service. */
export interface Plan {
  readonly name: string;
  readonly temper: string;
  readonly script: string;
  /** `steady` runs until it is stopped, `ending` ends by itself, `never` cannot be started at all. */
  readonly life: "steady" | "ending" | "never";
  /** The service that its script waits for before it does anything. */
  readonly dependsOn?: string;
}

interface Temper {
  readonly name: string;
  readonly weight: number;
  readonly life: Plan["life"];
  readonly body: (random: Random) => string;
  readonly interpreter?: string;
}

/** Each script notes its birth, so that a crash loop can be seen to be alive. */
const BIRTH = ': > "$BORN/$SYSMGR_SERVICE"';
const DEPENDENTS = 3;

const TEMPERS: readonly Temper[] = [
  {
    name: "steady",
    weight: 9,
    life: "steady",
    body: () => "exec sleep 1000",
  },
  {
    name: "bare",
    weight: 2,
    life: "steady",
    interpreter: "",
    body: () => "exec sleep 1000",
  },
  {
    name: "shell",
    weight: 6,
    life: "steady",
    body: () => "while :; do sleep 1000; done",
  },
  {
    name: "crash",
    weight: 4,
    life: "ending",
    body: (random) =>
      random.pick(["exit 1", "exit 0", "kill -SEGV $$", "exit 111"]),
  },
  {
    name: "flaky",
    weight: 5,
    life: "ending",
    body: (random) => `sleep ${random.between(0.2, 3).toFixed(2)}; exit 3`,
  },
  {
    name: "slow",
    weight: 5,
    life: "steady",
    body: (random) =>
      [
        `trap 'sleep ${random.between(0.5, 1).toFixed(2)}; exit 0' TERM`,
        "while :; do sleep 1000 & wait $!; done",
      ].join("\n"),
  },
  {
    name: "stubborn",
    weight: 4,
    life: "steady",
    body: () => "trap '' TERM; exec sleep 1000",
  },
  {
    name: "forking",
    weight: 4,
    life: "ending",
    body: (random) =>
      `sleep 1000 &\nsleep ${random.between(0.01, 2).toFixed(2)}; exit 0`,
  },
  {
    name: "daemon",
    weight: 4,
    life: "steady",
    body: () => "(trap '' TERM; exec sleep 1000) &\nexec sleep 1000",
  },
  {
    name: "vast",
    weight: 1,
    life: "steady",
    // Its mark comes after a hundred kilobytes of other things.
    body: () =>
      [
        "big=x; for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do big=$big$big; done",
        'exec env -i "BIG=$big" "BIGGER=$big" "PATH=$PATH" "RUNDIR=$RUNDIR" "SYSMGR_SERVICE=$SYSMGR_SERVICE" sleep 1000',
      ].join("\n"),
  },
  {
    name: "hopeless",
    weight: 1,
    life: "never",
    interpreter: "#!/nonexistent/interpreter\n",
    body: () => "exit 0",
  },
];

const ODD_NAMES: readonly string[] = [
  "two words",
  "-dash",
  'it\'s "quoted"',
  "grüße",
  "$(touch x) `y` & ;",
  "back\\slash",
  "100%*?",
];

/** Makes so many services, some of each temper. */
export function makePlans(count: number, random: Random): Plan[] {
  const plans = [
    ...ODD_NAMES.slice(0, Math.floor(count / 6)).map((name) =>
      make(name, pickTemper(["steady", "shell", "slow"], random), random),
    ),
  ];
  const temperless = Math.max(1, count - DEPENDENTS - plans.length);
  for (const temper of shares(temperless)) {
    const number = String(plans.length).padStart(2, "0");
    plans.push(make(`${temper.name}-${number}`, temper, random));
  }
  const steady = plans.filter(({ life }) => life === "steady");
  while (plans.length < count && steady.length > 0) {
    const number = String(plans.length).padStart(2, "0");
    plans.push(dependent(`needy-${number}`, random.pick(steady).name));
  }
  return plans;
}

function pickTemper(names: readonly string[], random: Random): Temper {
  return random.pick(TEMPERS.filter(({ name }) => names.includes(name)));
}

/** As many tempers as asked for, in proportion to their weights. */
function shares(count: number): Temper[] {
  const total = TEMPERS.reduce((sum, { weight }) => sum + weight, 0);
  const chosen: Temper[] = [];
  let due = 0;
  for (const temper of TEMPERS) {
    due += (temper.weight / total) * count;
    while (chosen.length < Math.round(due)) chosen.push(temper);
  }
  return chosen;
}

function make(name: string, temper: Temper, random: Random): Plan {
  const interpreter = temper.interpreter ?? "#!/bin/sh\n";
  return {
    name,
    temper: temper.name,
    script: `${interpreter}${BIRTH}\n${temper.body(random)}\n`,
    life: temper.life,
  };
}

function dependent(name: string, dependsOn: string): Plan {
  const quoted = `'${dependsOn.replaceAll("'", "'\\''")}'`;
  return {
    name,
    temper: "needy",
    script: `#!/bin/sh\n${BIRTH}\nsysmgr-depends -q -- ${quoted} || exit 1\nexec sleep 1000\n`,
    life: "steady",
    dependsOn,
  };
}
