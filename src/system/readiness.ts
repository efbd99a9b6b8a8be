/** Waiting in the event loop until a descriptor that is no socket has something to say. */
import { close } from "./files.ts";

/**
 * Calls back once when a descriptor becomes readable, and closes it then. Bun polls what it is given for
 * a socket; when that is readable it finds out that it is none and closes it, and that close is the news.
 * As long as there is such a descriptor, Bun wakes up once a second to look for sockets that time out.
 * @param failed is called instead when it cannot be polled; the descriptor is closed then, too.
 */
export function whenReadable(
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

function ignore(): void {
  // Neither data nor the error that reading what is no socket gives is of interest.
}
