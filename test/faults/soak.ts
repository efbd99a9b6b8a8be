/**
 * Many restarts, and many services at once, through the built binary: does it grow, does it keep up?
 *
 *   bun test/faults/soak.ts [--restarts N] [--services N]...
 */
import { linkSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readProcesses } from "../../src/proc.ts";
import { Sandbox, until } from "../integration/sandbox.ts";

/** What one look at a process tells. */
export interface Size {
  /** Kilobytes of memory of its own. */
  readonly memory: number;
  readonly descriptors: number;
  readonly threads: number;
}

/** What became of a number of restarts. */
export interface Restarts {
  readonly made: number;
  readonly seconds: number;
  /** After the first tenth, and at the end. */
  readonly before: Size;
  readonly after: Size;
  readonly zombies: number;
  readonly exitCode: number;
}

/** What became of a number of services. */
export interface Crowd {
  readonly services: number;
  readonly secondsUntilUp: number;
  readonly secondsOfStatus: number;
  readonly secondsUntilDown: number;
  readonly shownUp: number;
  readonly size: Size;
  readonly exitCode: number;
  readonly left: number;
  /** Lines of the log that tell of something other than starts and stops. */
  readonly complaints: readonly string[];
}

/** So many services that end a second after they were started use two processors. */
const RESTARTING = 200;
const LOOK_INTERVAL = 200;
const LONGEST = 3_600_000;
/** Milliseconds within which the end of a child is noticed, on a machine that is busy with this. */
const NOTICE = 30_000;
/** A process beside the services: sysmgr, the shells of this machine and so on. */
const PROCESSES_BESIDE = 500;

/** Has services end again and again until they have been restarted so often. */
export async function restart(wanted: number): Promise<Restarts> {
  await using box = new Sandbox();
  // It ends a little later than a second, so that it is started again at once.
  box.script("ends0", "exec sleep 1.05");
  for (let index = 1; index < RESTARTING; index++)
    linkSync(join(box.sysdir, "ends0"), join(box.sysdir, `ends${index}`));
  const begun = performance.now();
  await box.start();
  const total = () =>
    readdirSync(box.sysdir).reduce(
      (sum, name) => sum + Number(box.state(name, "starts") ?? 0),
      0,
    );
  const reached = (starts: number) =>
    patiently(() => total() >= starts, `there were ${starts} starts`);
  await reached(wanted / 10 + RESTARTING);
  const before = sizeOf(box.daemon.pid);
  await reached(wanted + RESTARTING);
  const after = sizeOf(box.daemon.pid);
  const made = total() - RESTARTING;
  const seconds = (performance.now() - begun) / 1000;
  const zombies = await zombiesOf(box.daemon.pid);
  const exitCode = await box.stop();
  return { made, seconds, before, after, zombies, exitCode };
}

/** Runs so many services at once. */
export async function crowd(services: number): Promise<Crowd> {
  await using box = new Sandbox();
  box.script("stays0", "exec sleep 100000");
  for (let index = 1; index < services; index++)
    linkSync(join(box.sysdir, "stays0"), join(box.sysdir, `stays${index}`));
  const begun = performance.now();
  await box.start();
  // It has a descriptor for each; to count these does not keep it from its work.
  await patiently(
    () => sizeOf(box.daemon.pid).descriptors >= services,
    `${services} services run`,
  );
  await patiently(
    () => readdirSync(box.sysdir).every((name) => box.pid(name) !== undefined),
    "the pid of each is written",
  );
  const up = performance.now();
  const status = await box.svctl("status");
  const shown = performance.now();
  const size = sizeOf(box.daemon.pid);
  const exitCode = await box.stop();
  const down = performance.now();
  return {
    services,
    secondsUntilUp: (up - begun) / 1000,
    secondsOfStatus: (shown - up) / 1000,
    secondsUntilDown: (down - shown) / 1000,
    shownUp: status.out.split("\n").filter((line) => line.includes(": UP "))
      .length,
    size,
    exitCode,
    left: box.processes().length + box.leftovers().length,
    complaints: box
      .log()
      .split("\n")
      .filter(
        (line) =>
          !/: (started|stopping|stopped|still running)|^$|stopping all/.test(
            line,
          ),
      ),
  };
}

/** The limit of the machine that keeps so many services from running; undefined when there is none. */
export function limitFor(services: number): string | undefined {
  const own = readFileSync("/proc/self/limits", "utf8");
  const hard = (name: string) => {
    const value = new RegExp(`^${name} +\\S+ +(\\S+)`, "m").exec(own)?.[1];
    return value === "unlimited" ? Infinity : Number(value);
  };
  const kernel = (path: string) =>
    Number(readFileSync(`/proc/sys/${path}`, "utf8"));
  const limits: Record<string, number> = {
    "kernel.pid_max": kernel("kernel/pid_max"),
    "kernel.threads-max": kernel("kernel/threads-max"),
    "fs.inotify.max_user_watches": kernel("fs/inotify/max_user_watches"),
    "open files (ulimit -n)": hard("Max open files"),
    "processes (ulimit -u)": hard("Max processes"),
  };
  const [narrow] = Object.entries(limits).filter(
    ([, value]) => value < services + PROCESSES_BESIDE,
  );
  return narrow === undefined ? undefined : `${narrow[0]} is ${narrow[1]}`;
}

function sizeOf(pid: number): Size {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1]);
  return {
    memory: field("RssAnon"),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: field("Threads"),
  };
}

/** Children that have ended and are not waited for, however long one waits. */
async function zombiesOf(pid: number): Promise<number> {
  const ended = () =>
    readProcesses()
      .filter((each) => each.parent === pid && each.ended)
      .map((each) => each.pid);
  let left = new Set(ended());
  const deadline = performance.now() + NOTICE;
  while (left.size > 0 && performance.now() < deadline) {
    await Bun.sleep(LOOK_INTERVAL);
    left = new Set(ended().filter((each) => left.has(each)));
  }
  return left.size;
}

async function patiently(
  condition: () => boolean,
  what: string,
): Promise<void> {
  await until(condition, what, LONGEST, LOOK_INTERVAL);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      restarts: { type: "string", default: "100000" },
      services: { type: "string", multiple: true, default: ["1000", "5000"] },
    },
  });
  for (const services of values.services.map(Number)) {
    const limit = limitFor(services);
    console.log(
      limit === undefined
        ? await crowd(services)
        : `${services} services are too many for this machine: ${limit}`,
    );
  }
  if (values.restarts !== "0")
    console.log(await restart(Number(values.restarts)));
}
