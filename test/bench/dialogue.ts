/** What is said to the program that is process 1 of a stage, and what it answers. */

type Speaker = Bun.Subprocess<"pipe", "pipe">;

/** Milliseconds in which an answer has to come. */
const PATIENCE = 60_000;

export class Dialogue {
  readonly #process: Speaker;
  /** Answers that nobody has asked for yet, by their first word. */
  readonly #heard = new Map<string, string[][]>();
  readonly #waiting = new Map<string, (words: string[]) => void>();

  constructor(process: Speaker) {
    this.#process = process;
    void this.#listen();
  }

  say(...words: readonly string[]): void {
    this.#process.stdin.write(`${words.join("\t")}\n`);
    void this.#process.stdin.flush();
  }

  /**
   * Waits for an answer.
   * @param kind its first word.
   * @returns its other words.
   * @throws Error when it does not come.
   */
  async answer(kind: string): Promise<readonly string[]> {
    const there = this.#heard.get(kind)?.shift();
    if (there !== undefined) return there;
    const { promise, resolve, reject } = Promise.withResolvers<string[]>();
    this.#waiting.set(kind, resolve);
    const fail = (why: string) => reject(new Error(`no '${kind}': ${why}`));
    const timer = setTimeout(fail, PATIENCE, `waited ${PATIENCE / 1000} s`);
    void this.#process.exited.then(() => fail("the stage has ended"));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(kind);
    }
  }

  async #listen(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split(
        "\n",
      );
      rest = lines.pop() ?? "";
      for (const line of lines) this.#hear(line.split("\t"));
    }
  }

  #hear([kind = "", ...words]: string[]): void {
    const waiting = this.#waiting.get(kind);
    if (waiting) waiting(words);
    else this.#heard.set(kind, [...(this.#heard.get(kind) ?? []), words]);
  }
}
