/** Waiting in the event loop until a descriptor that is no socket has something to say. */
import { errorCode } from "../errors.ts";
import { close } from "./files.ts";
import { Ring, RING_DESCRIPTORS } from "./ring.ts";

/** Undefined: not tried yet; null: there is none to be had. */
let ring: Ring | null | undefined;

/** How many descriptors the next wait opens for itself. */
export function descriptorsToWait(): number {
  return ring === undefined ? RING_DESCRIPTORS : 0;
}

/**
 * Calls back once when a descriptor becomes readable, and closes it then.
 * @param failed is called instead when it cannot be waited for; the descriptor is closed then, too.
 */
export function whenReadable(
  descriptor: number,
  readable: () => void,
  failed: () => void,
): void {
  if (ring === undefined) ring = openRing();
  if (ring === null) {
    whenReadableAsSocket(descriptor, readable, failed);
    return;
  }
  try {
    ring.whenReadable(descriptor, () => {
      close(descriptor);
      readable();
    });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    whenReadableAsSocket(descriptor, readable, failed);
  }
}

/**
 * The same where the kernel is old, or lets nobody use its rings. Bun polls what it is given for a socket;
 * when that is readable it finds out that it is none and closes it, and that close is the news. As long as
 * there is such a descriptor, Bun wakes up once a second to look for sockets that time out.
 */
export function whenReadableAsSocket(
  descriptor: number,
  readable: () => void,
  failed: () => void,
): void {
  Bun.connect({
    fd: descriptor,
    socket: { data: ignore, error: ignore, close: readable },
  }).catch(() => {
    close(descriptor);
    failed();
  });
}

function openRing(): Ring | null {
  try {
    return new Ring();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return null;
  }
}

function ignore(): void {
  // Neither data nor the error that reading what is no socket gives is of interest.
}
