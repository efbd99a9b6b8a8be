/**
 * Everything that people may want to know or set: where things are, how long things take.
 * Defaults are fixed when building (`bun run build --sysdir=… --rundir=…`), as in a config.h.
 */
import { absolutePath } from "./paths.ts";

/** What one run of an applet works with. */
export interface Configuration {
  /** Absolute path of the service directory. */
  readonly sysdir: string;
  /** Absolute path of the run directory. */
  readonly rundir: string;
  /** Milliseconds from the stop signal to KILL. */
  readonly stopTimeout: number;
}

/** What a command line may say about the configuration; absent values are left to the environment. */
export interface ConfigurationOptions {
  readonly sysdir?: string | undefined;
  readonly rundir?: string | undefined;
  readonly timeout?: string | undefined;
}

/** A setting that makes no sense; the message names it and its value. */
export class ConfigurationError extends Error {}

/** The defaults that were set when the binary was built. */
export const DEFAULT_SYSDIR =
  typeof BUILD_SYSDIR === "string" ? BUILD_SYSDIR : "/var/sysmgr";
export const DEFAULT_RUNDIR =
  typeof BUILD_RUNDIR === "string" ? BUILD_RUNDIR : "/run/sysmgr";

/**
 * How to use another directory than a default that is of no use here, to be put behind what is wrong with it;
 * nothing for a directory that somebody has chosen.
 */
export function adviceOn(directory: string): string {
  if (directory === DEFAULT_SYSDIR)
    return "; another one is named by -s or SYSDIR";
  if (directory === DEFAULT_RUNDIR)
    return "; another one is named by -r or RUNDIR";
  return "";
}

/** The version of package.json, given when building. */
export const VERSION =
  typeof BUILD_VERSION === "string" ? BUILD_VERSION : "0.0.0";

/** Seconds from the stop signal to KILL: what dinit and supervisord give a server to flush its data. */
export const DEFAULT_STOP_TIMEOUT_SECONDS = 10;

/** A service is started at most once in this many milliseconds, as runit and s6 do it. */
export const RESTART_INTERVAL = 1000;

/** A script that changed less than this many milliseconds ago may still be being copied. */
export const SETTLE_TIME = 50;

/** A file that went away may be about to be replaced: only after this many milliseconds it is gone. */
export const REPLACEMENT_GRACE = 1000;

/** So many ends in a row are logged each; later ones of the same crash loop only now and then. */
export const LOGGED_ENDS = 10;

/** Milliseconds between two log lines of a crash loop that has been thinned out. */
export const THINNED_LOG_INTERVAL = 60_000;

/** A service that ran for so many milliseconds is not in a crash loop. */
export const STEADY_RUN = 10_000;

/** Signals to a process that KILL has not ended are repeated after so many milliseconds. */
export const KILL_REPEAT = 1000;

/**
 * First and longest milliseconds between two looks at a process group whose leader has ended. The
 * kernel reports the end of children only, so what they left behind has to be looked at.
 */
export const GROUP_CHECK_FIRST = 2;
export const GROUP_CHECK_LONGEST = 100;

/** svctl waits so many seconds longer than a stop may take before it says that nothing happened. */
export const CONTROL_MARGIN_SECONDS = 2;

/** setTimeout fires at once for anything longer (milliseconds; Bun and Node.js alike). */
export const LONGEST_TIMER = 2_147_483_647;

/** Longest time that an option may give, in seconds; JavaScript's timers end at 2^31 milliseconds. */
const LONGEST_SECONDS = 2_000_000;

/**
 * Puts options, environment and defaults together; an option beats the environment.
 * @throws ConfigurationError where a value makes no sense.
 */
export function configure(
  options: ConfigurationOptions,
  environment: Readonly<Record<string, string | undefined>>,
): Configuration {
  const timeout = options.timeout ?? environment["SYSMGR_STOP_TIMEOUT"];
  const timeoutName =
    options.timeout === undefined ? "SYSMGR_STOP_TIMEOUT" : "--timeout";
  return {
    sysdir: directory(
      options.sysdir ?? (environment["SYSDIR"] || DEFAULT_SYSDIR),
      "--sysdir",
    ),
    rundir: directory(
      options.rundir ?? (environment["RUNDIR"] || DEFAULT_RUNDIR),
      "--rundir",
    ),
    stopTimeout:
      timeout === undefined || timeout === ""
        ? DEFAULT_STOP_TIMEOUT_SECONDS * 1000
        : parseSeconds(timeout, timeoutName) * 1000,
  };
}

/**
 * Reads a number of seconds, whole or with a decimal fraction.
 * @param name what to call it in the error.
 * @throws ConfigurationError unless it is a number from 0 to two million.
 */
export function parseSeconds(text: string, name: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= 0 && seconds <= LONGEST_SECONDS) return seconds;
  throw new ConfigurationError(
    `${name}: '${text}' is not a number of seconds from 0 to ${LONGEST_SECONDS}`,
  );
}

function directory(path: string, name: string): string {
  if (path === "" || path.includes("\0"))
    throw new ConfigurationError(`${name}: '${path}' is not a directory name`);
  return absolutePath(path);
}
