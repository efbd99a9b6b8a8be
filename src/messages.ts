/** How the applets speak: `applet: what happened`, one line each, on stderr. */
import { type ConsolaInstance, createConsola } from "consola/core";
import { errorCode } from "./errors.ts";
import { writeSome } from "./system/files.ts";
import { printable } from "./text.ts";

const STDERR = 2;
const INFORMATION = 3;
const LONGEST = 2000;
/** Milliseconds to wait before a full pipe is tried again. */
const FULL_PIPE_WAIT = 5;

/**
 * Makes the logger of an applet.
 * @param write takes one finished line without its newline.
 */
export function createMessages(
  applet: string,
  write: (line: string) => void,
): ConsolaInstance {
  return createConsola({
    level: INFORMATION,
    // Consola would swallow repeated messages; the supervisor thins them out in its own way.
    throttle: Number.NEGATIVE_INFINITY,
    reporters: [
      {
        log: ({ args }) =>
          write(`${applet}: ${printable(args.map(String).join(" "), LONGEST)}`),
      },
    ],
  });
}

/** The logger of an applet that ends soon and may wait until its messages are written. */
export function createSimpleMessages(applet: string): ConsolaInstance {
  return createMessages(applet, (line) => {
    try {
      writeFully(STDERR, `${line}\n`);
    } catch (error) {
      // There is no other place to say that stderr cannot be written; the exit code has to do.
      if (errorCode(error) === undefined) throw error;
    }
  });
}

/**
 * Writes text to stdout or stderr, all of it, waiting where a pipe is full.
 * @returns false when nobody reads it any more.
 * @throws the system's error when it cannot be written for another reason (ENOSPC, EIO).
 */
export function writeFully(descriptor: number, text: string): boolean {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSome(descriptor, rest));
    } catch (error) {
      // Somebody else has set O_NONBLOCK on a pipe that is shared with this process.
      if (errorCode(error) === "EPIPE") return false;
      if (errorCode(error) !== "EAGAIN") throw error;
      Bun.sleepSync(FULL_PIPE_WAIT);
    }
  }
  return true;
}
