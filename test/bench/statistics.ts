/** What is said about many measurements in one number. */

/** The middle value; NaN of nothing. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/**
 * The value that so many percent of all do not exceed, interpolated between neighbours; NaN of nothing.
 * @param percent 0 to 100.
 */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = ((sorted.length - 1) * percent) / 100;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

/** A straight line: y = start + slope * x. */
export interface Line {
  readonly start: number;
  readonly slope: number;
}

/**
 * The line with the least sum of squared relative errors. Relative, since with 10, 100 and 1000 services a
 * plain fit would be the line through the last two points whatever the first one is.
 * @param points x and y, y greater than 0.
 * @returns undefined with fewer than two different x.
 */
export function fitLine(
  points: readonly (readonly [x: number, y: number])[],
): Line | undefined {
  let weights = 0;
  let sumX = 0;
  let sumY = 0;
  for (const [x, y] of points) {
    const weight = 1 / y ** 2;
    weights += weight;
    sumX += weight * x;
    sumY += weight * y;
  }
  const meanX = sumX / weights;
  const meanY = sumY / weights;
  let covariance = 0;
  let variance = 0;
  for (const [x, y] of points) {
    const weight = 1 / y ** 2;
    covariance += weight * (x - meanX) * (y - meanY);
    variance += weight * (x - meanX) ** 2;
  }
  if (!(variance > 0)) return undefined;
  const slope = covariance / variance;
  return { start: meanY - slope * meanX, slope };
}
