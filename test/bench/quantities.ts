/** Everything that the table shows, in its order. */
import type { Quantity } from "./results.ts";

const MEDIAN = 50;

function quantity(
  id: string,
  title: string,
  unit: Quantity["unit"],
  more: Partial<Quantity> = {},
): Quantity {
  return { id, title, unit, percent: MEDIAN, ...more };
}

export const START = quantity("start", "start until all run", "ms", {
  slope: true,
});
export const STOP = quantity("stop", "stop until nothing is left", "ms", {
  slope: true,
});
export const PROCESSES = quantity("processes", "supervising processes", "");
export const PRIVATE = quantity("private", "memory, private", "MB", {
  slope: true,
});
export const PROPORTIONAL = quantity("pss", "memory, proportional", "MB", {
  slope: true,
});
export const RESIDENT = quantity("rss", "memory, resident", "MB", {
  slope: true,
});
export const PAGE_TABLES = quantity(
  "page-tables",
  "memory, page tables",
  "MB",
  {
    slope: true,
  },
);
export const EARLY_WAKES = quantity(
  "idle-first-wakes",
  "idle, 1st minute: wake-ups",
  "1/min",
);
export const EARLY_CPU = quantity(
  "idle-first-cpu",
  "idle, 1st minute: CPU",
  "ms/min",
);
export const LATE_WAKES = quantity(
  "idle-later-wakes",
  "idle, 2nd minute: wake-ups",
  "1/min",
);
export const LATE_CPU = quantity(
  "idle-later-cpu",
  "idle, 2nd minute: CPU",
  "ms/min",
);
export const RESPAWN = quantity("respawn", "kill to exec, median", "ms");
export const RESPAWN_WORST = quantity(
  "respawn-99",
  "kill to exec, 99 %",
  "ms",
  {
    percent: 99,
  },
);
export const PICKUP = quantity("pickup", "new script to exec", "ms");
export const STATUS_ALL = quantity("status-all", "status of all", "ms");
export const RESTART_ONE = quantity("restart-one", "restart one", "ms");
export const RESTART_ALL = quantity(
  "restart-all",
  "restart all: until all run",
  "ms",
);
export const RESTART_ALL_RETURNS = quantity(
  "restart-all-returns",
  "restart all: until told",
  "ms",
);
export const STORM_STARTS = quantity("storm-starts", "storm: starts", "1/s");
export const STORM_CPU = quantity(
  "storm-cpu",
  "storm: CPU of supervisors",
  "%",
);
export const STORM_RESPAWN = quantity(
  "storm-respawn",
  "storm: kill to exec of others",
  "ms",
);
export const STORM_RESPAWN_WORST = quantity(
  "storm-respawn-99",
  "storm: the same, 99 %",
  "ms",
  { percent: 99 },
);

export const QUANTITIES: readonly Quantity[] = [
  START,
  STOP,
  PROCESSES,
  PRIVATE,
  PROPORTIONAL,
  RESIDENT,
  PAGE_TABLES,
  EARLY_WAKES,
  EARLY_CPU,
  LATE_WAKES,
  LATE_CPU,
  RESPAWN,
  RESPAWN_WORST,
  PICKUP,
  STATUS_ALL,
  RESTART_ONE,
  RESTART_ALL,
  RESTART_ALL_RETURNS,
  STORM_STARTS,
  STORM_CPU,
  STORM_RESPAWN,
  STORM_RESPAWN_WORST,
];
