/** `sysmgr --list` and `sysmgr --install DIR`: what the binary can be called, and links to call it so. */
import { reasonOf } from "../errors.ts";
import { createSimpleMessages, writeFully } from "../messages.ts";
import { absolutePath, relativePath } from "../paths.ts";
import { linkStatus, makeLink, readLink, realPath } from "../system/files.ts";

const STDOUT = 1;
const USAGE_INSTALL = "usage: sysmgr --install DIR";
const USAGE_LIST = "usage: sysmgr --list";

/** Prints the names of the applets, one a line. */
export function list(
  names: readonly string[],
  operands: readonly string[],
): number {
  if (operands.length > 0) return wrongUsage(operands[0] ?? "", USAGE_LIST);
  writeFully(STDOUT, `${names.join("\n")}\n`);
  return 0;
}

/**
 * Makes relative symlinks for the applets in a directory: to a `sysmgr` that lies there, otherwise to the
 * running binary. What is not a link to one of these is never overwritten.
 */
export function install(
  names: readonly string[],
  operands: readonly string[],
  calledAs: string,
): number {
  const [directory, extra] = operands;
  if (directory === undefined || directory === "" || extra !== undefined)
    return wrongUsage(extra, USAGE_INSTALL);
  const messages = createSimpleMessages("sysmgr");
  try {
    const binary = runningBinary(calledAs);
    const place = realPath(absolutePath(directory));
    const here = `${place}/sysmgr`;
    const target = existsAt(here) ? "sysmgr" : relativePath(place, binary);
    const wanted =
      target === "sysmgr"
        ? names.filter((name) => name !== "sysmgr")
        : [...names];
    const refused = wanted.filter(
      (name) => !link(`${place}/${name}`, target, binary, messages.error),
    );
    return refused.length === 0 ? 0 : 1;
  } catch (error) {
    messages.error(`--install ${directory}: ${reasonOf(error)}`);
    return 1;
  }
}

function link(
  path: string,
  target: string,
  binary: string,
  complain: (text: string) => void,
): boolean {
  if (existsAt(path)) {
    if (isOwnLink(path, target, binary)) return true;
    complain(`${path}: there already, and not a link to sysmgr: left alone`);
    return false;
  }
  try {
    makeLink(target, path);
    return true;
  } catch (error) {
    complain(`${path}: ${reasonOf(error)}`);
    return false;
  }
}

function isOwnLink(path: string, target: string, binary: string): boolean {
  if (linkStatus(path)?.isLink !== true) return false;
  if (readLink(path) === target) return true;
  const aim = absolutePath(readLink(path), `${path}/..`);
  return existsAt(aim) && realPath(aim) === binary;
}

function existsAt(path: string): boolean {
  return linkStatus(path) !== undefined;
}

/** /proc/self/exe is right whatever the name it was called by; without /proc that name has to do. */
function runningBinary(calledAs: string): string {
  const exe = "/proc/self/exe";
  return realPath(existsAt(exe) ? exe : absolutePath(calledAs));
}

function wrongUsage(extra: string | undefined, usage: string): number {
  const messages = createSimpleMessages("sysmgr");
  const what =
    extra === undefined ? "a directory is missing" : `'${extra}' is too much`;
  messages.error(what);
  writeFully(2, `${usage}\n`);
  return 2;
}
