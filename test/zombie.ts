/** A process whose parent never waits for it: killed, it stays a zombie for as long as the test lasts. */
import { readArguments, readProcess } from "../src/proc.ts";
import { until } from "./integration/sandbox.ts";

export class Neglected implements AsyncDisposable {
  readonly pid: number;
  readonly #parent: Bun.Subprocess;

  private constructor(pid: number, parent: Bun.Subprocess) {
    this.pid = pid;
    this.#parent = parent;
  }

  static async start(): Promise<Neglected> {
    // The shell becomes a program that knows nothing of the child.
    const script = "sleep 1000 & echo $!; exec sleep 2000";
    const parent = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
    const { value } = await parent.stdout.getReader().read();
    await until(
      () => readArguments(parent.pid)?.includes("2000"),
      "the shell has become another program",
    );
    return new Neglected(Number(new TextDecoder().decode(value)), parent);
  }

  async die(): Promise<void> {
    process.kill(this.pid, "SIGKILL");
    await until(() => readProcess(this.pid)?.ended, "it is a zombie");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (readProcess(this.pid)?.ended === false)
      process.kill(this.pid, "SIGKILL");
    this.#parent.kill("SIGKILL");
    await this.#parent.exited;
  }
}
