/** The machine that the numbers are from. */
import { readFileSync, statfsSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { stageParent } from "./workshop.ts";

export interface Machine {
  readonly date: string;
  readonly kernel: string;
  readonly architecture: string;
  readonly processor: string;
  readonly cores: number;
  readonly virtual: boolean;
  /** Bytes. */
  readonly memory: number;
  /** Processes that wanted to run, the means of the last 1, 5 and 15 minutes. */
  readonly load: readonly number[];
  /** The kind of file system that services and state files are on. */
  readonly files: "memory" | "disk";
  readonly bun: string;
}

const TMPFS = 0x0102_1994;
const DATE_LENGTH = 10;
const GIBI = 2 ** 30;

export function machine(): Machine {
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, DATE_LENGTH),
    kernel: release(),
    architecture: process.arch,
    processor: processors[0]?.model ?? "unknown",
    cores: processors.length,
    virtual: /^flags\s*:.*\bhypervisor\b/m.test(
      readFileSync("/proc/cpuinfo", "utf8"),
    ),
    memory: totalmem(),
    load: loadavg(),
    files: statfsSync(stageParent()).type === TMPFS ? "memory" : "disk",
    bun: Bun.version,
  };
}

/** One line about the machine. */
export function describe(machine: Machine): string {
  const { cores, architecture, virtual, processor, kernel, memory } = machine;
  return [
    machine.date,
    `${cores} core${cores === 1 ? "" : "s"}, ${architecture}${virtual ? " virtual machine" : ""} (${processor})`,
    `${(memory / GIBI).toFixed(1)} GiB`,
    `Linux ${kernel}`,
    `load ${machine.load.map((each) => each.toFixed(2)).join(" ")}`,
    `state on ${machine.files === "memory" ? "tmpfs" : "disk"}`,
    `Bun ${machine.bun}`,
  ].join(", ");
}
