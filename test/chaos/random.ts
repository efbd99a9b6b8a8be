/** Random choices that can be made once more: the same seed gives the same sequence. */

const TWO_TO_THE_32 = 2 ** 32;

/** A sequence of random choices (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A seed that nobody has chosen. */
  static seed(): number {
    return Math.floor(Math.random() * TWO_TO_THE_32);
  }

  /** A number from 0 to 1, never 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / TWO_TO_THE_32;
  }

  /** Another sequence, so that what one actor does changes nothing for the others. */
  branch(): Random {
    return new Random(Math.floor(this.next() * TWO_TO_THE_32));
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** A whole number, both ends included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @throws RangeError when there is nothing to choose from. */
  pick<T>(choices: readonly T[]): T {
    const [choice] = choices.slice(this.integer(0, choices.length - 1));
    if (choice === undefined) throw new RangeError("nothing to choose from");
    return choice;
  }

  /** Some of the choices, each at most once. */
  some<T>(choices: readonly T[], howMany: number): T[] {
    const left = [...choices];
    const chosen: T[] = [];
    while (chosen.length < howMany && left.length > 0)
      chosen.push(...left.splice(this.integer(0, left.length - 1), 1));
    return chosen;
  }

  /** A choice that is the likelier the greater its weight. */
  weighted<T extends { readonly weight: number }>(choices: readonly T[]): T {
    const total = choices.reduce((sum, { weight }) => sum + weight, 0);
    let left = this.next() * total;
    for (const choice of choices) {
      left -= choice.weight;
      if (left < 0) return choice;
    }
    return this.pick(choices);
  }
}
