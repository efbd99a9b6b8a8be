/**
 * Signals that are held back (sigprocmask(2)) but while the event loop waits, when Bun lets all of them
 * through (epoll_pwait(2) with an empty mask). So a signal that is sent a thousand times meanwhile comes
 * once, instead of filling the queue that Bun has for all signals.
 */
import { libc, must } from "./library.ts";

const SIG_SETMASK = 2;
const BYTES = 128;

const none = new Uint8Array(BYTES);
const held = new Uint8Array(BYTES);

/** Lets all signals through, whatever the process that started this one had blocked. @throws SystemError */
export function releaseAll(): void {
  setMask(none);
}

/** Holds a signal back from now on. @throws SystemError */
export function hold(signal: number): void {
  const bit = signal - 1;
  held[bit >> 3] = (held[bit >> 3] ?? 0) | (1 << (bit & 7));
  setMask(held);
}

/** Does something with all signals let through, such as a start: children inherit the mask. */
export function unmasked<T>(work: () => T): T {
  setMask(none);
  try {
    return work();
  } finally {
    setMask(held);
  }
}

function setMask(mask: Uint8Array): void {
  must("sigprocmask", undefined, () =>
    libc().sigprocmask(SIG_SETMASK, mask, null),
  );
}
