/** Waiting in the event loop until a descriptor that is no socket has something to say. */
import { close } from "./files.ts";
import { libc, must } from "./library.ts";

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** The structure has 12 or 16 bytes (epoll_ctl(2)); what follows the first word is handed back only. */
const EVENT_WORDS = 4;

/**
 * Calls back once when a descriptor becomes readable, and closes it then. Bun polls what it is given for
 * a socket; when that is readable it finds out that it is none and closes it, and that close is the news.
 * @param failed is called instead when it cannot be polled; the descriptor is closed then, too.
 */
export function whenReadable(
  descriptor: number,
  readable: () => void,
  failed: (error: unknown) => void,
): void {
  Bun.connect({
    fd: descriptor,
    socket: { data: ignore, error: ignore, close: readable },
  }).catch((error) => {
    close(descriptor);
    failed(error);
  });
}

/**
 * Calls back once when a descriptor becomes readable, and leaves it open.
 * @param failed is called instead when it cannot be polled.
 * @throws SystemError without a free descriptor: it takes one while it waits.
 */
export function whenReadableAgain(
  descriptor: number,
  readable: () => void,
  failed: (error: unknown) => void,
): void {
  const poll = must("epoll_create1", undefined, () =>
    libc().epoll_create1(EPOLL_CLOEXEC),
  );
  const event = new Uint32Array(EVENT_WORDS);
  event[0] = EPOLLIN;
  try {
    must("epoll_ctl", undefined, () =>
      libc().epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, event),
    );
  } catch (error) {
    close(poll);
    throw error;
  }
  whenReadable(poll, readable, failed);
}

function ignore(): void {
  // Neither data nor the error that reading what is no socket gives is of interest.
}
