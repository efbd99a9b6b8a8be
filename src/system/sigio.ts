/**
 * Being told by a signal that there is something to read (fcntl(2), O_ASYNC). To wait for it as for a socket
 * would have Bun wake up once a second, and a thread would cost memory.
 */
import { libc, must } from "./library.ts";
import { hold } from "./signal-mask.ts";

const F_SETFL = 4;
const F_SETOWN = 8;
const O_NONBLOCK = 0o4000;
const O_ASYNC = 0o20000;
const SIGIO = 29;

/**
 * Calls back whenever the kernel says of any such descriptor that there is something in it. It becomes
 * non-blocking, and is to be read until it is empty.
 * @throws SystemError
 */
export function onInput(descriptor: number, listener: () => void): void {
  process.on("SIGIO", listener);
  hold(SIGIO);
  const set = (command: number, value: number) =>
    must("fcntl", undefined, () => libc().fcntl(descriptor, command, value));
  set(F_SETOWN, process.pid);
  set(F_SETFL, O_NONBLOCK | O_ASYNC);
}
