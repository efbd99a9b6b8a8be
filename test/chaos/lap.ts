/** One lap: who may be harmed in it, how long it lasts, what is still to be put back. */
import type { Arena } from "./arena.ts";
import type { Random } from "./random.ts";
import type { Respawner } from "./respawner.ts";
import type { Plan } from "./tempers.ts";

/** Something that can happen, the oftener the greater its weight. */
export interface Happening {
  readonly name: string;
  readonly weight: number;
  readonly happen: (lap: Lap, random: Random) => void | Promise<void>;
}

/** Somebody who does one thing after the other. */
export interface Actor {
  readonly happenings: readonly Happening[];
  /** The longest pause between two, in milliseconds. */
  readonly pause: number;
}

export class Lap {
  readonly #end: number;
  readonly #afterwards: Promise<void>[] = [];

  /**
   * @param spared services that nothing is done to which may end their processes.
   * @param without names of happenings that do not happen.
   */
  constructor(
    readonly arena: Arena,
    readonly respawner: Respawner,
    readonly spared: ReadonlySet<string>,
    readonly without: ReadonlySet<string>,
    milliseconds: number,
  ) {
    this.#end = performance.now() + milliseconds;
  }

  get over(): boolean {
    return this.arena.closed || performance.now() > this.#end;
  }

  get plans(): readonly Plan[] {
    return this.arena.plans;
  }

  /** Services whose processes may come to harm. */
  get victims(): readonly Plan[] {
    return this.plans.filter(({ name }) => !this.spared.has(name));
  }

  /** Does something in a while, also when the lap is over by then. */
  later(milliseconds: number, work: () => void): void {
    this.#afterwards.push(Bun.sleep(milliseconds).then(work));
  }

  /** Lets all actors act side by side to the end of the lap, and everything be put back. */
  async run(actors: readonly Actor[], random: Random): Promise<void> {
    await Promise.all(actors.map((actor) => this.#act(actor, random.branch())));
    await Promise.all(this.#afterwards);
  }

  async #act({ happenings, pause }: Actor, random: Random): Promise<void> {
    const possible = happenings.filter(({ name }) => !this.without.has(name));
    if (possible.length === 0) return;
    while (!this.over) {
      await Bun.sleep(random.between(0, pause));
      await random.weighted(possible).happen(this, random);
    }
  }
}
