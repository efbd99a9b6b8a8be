/** The results as one table for people, and as JSON for programs. */
import type { Contender } from "./contenders/contender.ts";
import { describe, type Machine } from "./machine.ts";
import { QUANTITIES } from "./quantities.ts";
import type { Cell, Quantity, Results } from "./results.ts";
import type { ShortPrograms } from "./short-programs.ts";
import { fitLine, type Line, median, percentile } from "./statistics.ts";
import { renderTable, threeDigits } from "./table.ts";

/** Everything that is told. */
export interface Outcome {
  /** Before anything was measured. */
  readonly machine: Machine;
  /** The machine's load afterwards, which is in part the benchmark's. */
  readonly loadAfter: readonly number[];
  readonly contenders: readonly Contender[];
  readonly leftOut: readonly string[];
  readonly rounds: number;
  readonly results: Results;
  readonly shortPrograms: ShortPrograms;
  /** What was tried in vain, and why. */
  readonly failures: ReadonlyMap<string, string>;
}

const PER_SERVICE = 1000;
const SMALLER: Readonly<Record<string, string>> = { MB: "kB", ms: "µs" };

/** For people. Behind each value its ratio to the first contender's. */
export function renderText(outcome: Outcome): string {
  const { contenders, shortPrograms, leftOut } = outcome;
  const versions = contenders.map(({ name, version }) => `${name} ${version}`);
  const parts = [
    `${describe(outcome.machine)}, load afterwards ${outcome.loadAfter.map((each) => each.toFixed(2)).join(" ")}; medians of ${outcome.rounds} round${outcome.rounds === 1 ? "" : "s"}, idleness watched once`,
    versions.join(", "),
    ...contenders.flatMap(({ name, note }) =>
      note ? [`${name}: ${note}`] : [],
    ),
    ...leftOut.map((reason) => `left out: ${reason}`),
    ...Array.from(outcome.failures, ([what, why]) => `failed: ${what}: ${why}`),
  ];
  const rows = mainRows(outcome);
  if (rows.length > 1) parts.push("", renderTable(rows));
  if (shortPrograms.rows().length > 0)
    parts.push("", renderTable(programRows(shortPrograms)));
  return parts.join("\n");
}

/** For programs. */
export function renderJson(outcome: Outcome): string {
  const {
    machine,
    loadAfter,
    contenders,
    leftOut,
    rounds,
    results,
    shortPrograms,
  } = outcome;
  return JSON.stringify(
    {
      machine,
      loadAfter,
      rounds,
      contenders: contenders.map(({ name, version, note }) => ({
        name,
        version,
        note,
      })),
      leftOut,
      failures: Object.fromEntries(outcome.failures),
      results: results.cells.map((cell) => ({
        quantity: cell.quantity.id,
        title: cell.quantity.title,
        unit: cell.quantity.unit,
        services: cell.services,
        contender: cell.contender,
        value: summary(cell),
        median: median(cell.samples),
        least: Math.min(...cell.samples),
        most: Math.max(...cell.samples),
        samples: cell.samples.length,
      })),
      slopes: contenders.flatMap(({ name }) =>
        QUANTITIES.filter(({ slope }) => slope).flatMap((quantity) => {
          const line = growth(results, quantity, name);
          if (line === undefined) return [];
          const { id, unit } = quantity;
          return [{ quantity: id, unit, contender: name, ...line }];
        }),
      ),
      programs: shortPrograms.rows(),
    },
    undefined,
    2,
  );
}

function mainRows({ contenders, results }: Outcome): string[][] {
  const head = ["", "services", ...contenders.map(({ name }) => name)];
  const rows = [head];
  for (const quantity of QUANTITIES) {
    const cells = results.cells.filter((cell) => cell.quantity === quantity);
    const sizes = [...new Set(cells.map(({ services }) => services))];
    const title = quantity.unit
      ? `${quantity.title}, ${quantity.unit}`
      : quantity.title;
    for (const services of sizes.sort((a, b) => a - b)) {
      const values = contenders.map(({ name }) =>
        percentile(results.samples(quantity, services, name), quantity.percent),
      );
      rows.push([title, String(services), ...withRatios(values)]);
    }
    if (quantity.slope && sizes.length > 1)
      rows.push(slopeRow(results, quantity, contenders));
  }
  return rows;
}

function slopeRow(
  results: Results,
  quantity: Quantity,
  contenders: readonly Contender[],
): string[] {
  const slopes = contenders.map(
    ({ name }) =>
      (growth(results, quantity, name)?.slope ?? Number.NaN) * PER_SERVICE,
  );
  const unit = SMALLER[quantity.unit] ?? quantity.unit;
  const title = `${quantity.title}, ${unit}`;
  return [title, "each more", ...withRatios(slopes)];
}

function growth(
  results: Results,
  quantity: Quantity,
  contender: string,
): Line | undefined {
  const cells = results.cells.filter(
    (cell) => cell.quantity === quantity && cell.contender === contender,
  );
  return fitLine(cells.map((cell) => [cell.services, summary(cell)] as const));
}

function summary({ quantity, samples }: Cell): number {
  return percentile(samples, quantity.percent);
}

/** Each value with how many times the first one it is. */
function withRatios(values: readonly number[]): string[] {
  const [first = Number.NaN] = values;
  return values.map((value, index) => {
    const text = threeDigits(value);
    const ratio = value / first;
    if (index === 0 || !(first > 0) || !(value > 0)) return text;
    return `${text} (×${threeDigits(ratio)})`;
  });
}

function programRows(programs: ShortPrograms): string[][] {
  const rows = programs.rows();
  const base = rows.find(({ name }) => name.startsWith("hello"));
  const ratio = (value: number) =>
    base ? `×${threeDigits(value / base.milliseconds)}` : "";
  return [
    ["short programs, whole process", "ms", "against hello", "peak MB"],
    ...rows.map(({ name, milliseconds, peak }) => [
      name,
      threeDigits(milliseconds),
      ratio(milliseconds),
      peak === 0 ? "" : threeDigits(peak),
    ]),
  ];
}
