/** A directory for one test, gone when the test is over, and the traps that can be put into it. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NOBODY = 65_534;

export class TemporaryDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "sysmgr-test-"));
  readonly #sockets: { stop(): void }[] = [];
  readonly #directories = [this.path];

  constructor() {
    chmodSync(this.path, 0o755);
  }

  at(name: string): string {
    return `${this.path}/${name}`;
  }

  file(name: string, content: string | Uint8Array, mode = 0o644): string {
    writeFileSync(this.at(name), content);
    chmodSync(this.at(name), mode);
    return this.at(name);
  }

  /** A file that seems to have so many bytes and needs no room. */
  sparse(name: string, bytes: number): string {
    truncateSync(this.file(name, ""), bytes);
    return this.at(name);
  }

  directory(name: string, mode = 0o755): string {
    mkdirSync(this.at(name));
    this.#directories.push(this.at(name));
    chmodSync(this.at(name), mode);
    return this.at(name);
  }

  link(name: string, target: string): string {
    symlinkSync(target, this.at(name));
    return this.at(name);
  }

  fifo(name: string): string {
    const { success } = Bun.spawnSync(["mkfifo", "--", this.at(name)]);
    if (!success) throw new Error("mkfifo failed");
    return this.at(name);
  }

  socket(name: string): string {
    const socket = { data: () => undefined };
    this.#sockets.push(Bun.listen({ unix: this.at(name), socket }));
    return this.at(name);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.stop();
    for (const path of this.#directories)
      if (existsSync(path)) chmodSync(path, 0o755);
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Does something without root's privileges, whoever runs the tests. */
export function withoutPrivileges<T>(work: () => T): T {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(NOBODY);
  try {
    return work();
  } finally {
    process.seteuid?.(0);
  }
}
