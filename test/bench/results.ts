/** What was measured: numbers by quantity, number of services and contender. */

/** A row of the table, but for the number of services. */
export interface Quantity {
  readonly id: string;
  readonly title: string;
  readonly unit: "ms" | "s" | "MB" | "" | "%" | "1/s" | "1/min" | "ms/min";
  /** The percentile that is shown; 50 is the median. */
  readonly percent: number;
  /** Whether its growth with the number of services is shown. */
  readonly slope?: boolean;
}

/** One cell of the table. */
export interface Cell {
  readonly quantity: Quantity;
  readonly services: number;
  readonly contender: string;
  readonly samples: readonly number[];
}

export class Results {
  readonly #cells = new Map<string, Cell & { readonly samples: number[] }>();

  add(
    quantity: Quantity,
    services: number,
    contender: string,
    ...samples: readonly number[]
  ): void {
    const key = JSON.stringify([quantity.id, services, contender]);
    const cell = this.#cells.get(key);
    if (cell) cell.samples.push(...samples);
    else
      this.#cells.set(key, {
        quantity,
        services,
        contender,
        samples: [...samples],
      });
  }

  samples(
    quantity: Quantity,
    services: number,
    contender: string,
  ): readonly number[] {
    const key = JSON.stringify([quantity.id, services, contender]);
    return this.#cells.get(key)?.samples ?? [];
  }

  /** In the order in which they were first measured. */
  get cells(): readonly Cell[] {
    return [...this.#cells.values()];
  }
}
