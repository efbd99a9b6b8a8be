/** One file, three names: picks the applet and loads nothing but what that applet needs. */
import { baseName } from "./paths.ts";

const FAILED = 1;
const NO_SUCH_APPLET = 127;

type Applet = (rawArguments: readonly string[]) => number | Promise<number>;

const APPLETS: Readonly<Record<string, () => Promise<Applet>>> = {
  sysmgr: async () => (await import("./applets/sysmgr.ts")).sysmgr,
  svctl: async () => (await import("./applets/svctl.ts")).svctl,
  "sysmgr-depends": async () =>
    (await import("./applets/sysmgr-depends.ts")).sysmgrDepends,
};

// Watches and timers that are left must not keep an applet that is done; its output is written already.
void main(process.argv0, process.argv.slice(2))
  .catch(withoutSystem)
  .then((code) => process.exit(code));

async function main(calledAs: string, rawArguments: string[]): Promise<number> {
  const own = Object.hasOwn(APPLETS, nameOf(calledAs))
    ? nameOf(calledAs)
    : undefined;
  const [first] = rawArguments;
  const name = own ?? (first === undefined ? "" : baseName(first));
  const rest = own === undefined ? rawArguments.slice(1) : rawArguments;
  if (own === undefined && first?.startsWith("-"))
    return aboutTheBinary(rawArguments, calledAs);
  const load = Object.hasOwn(APPLETS, name) ? APPLETS[name] : undefined;
  if (load === undefined) return noSuchApplet(name, calledAs);
  if (name === "sysmgr" && isAboutTheBinary(rest[0]))
    return aboutTheBinary(rest, calledAs);
  return (await load())(rest);
}

/** A login shell's leading dash is not part of the name. */
function nameOf(calledAs: string): string {
  return baseName(calledAs).replace(/^-/, "");
}

function isAboutTheBinary(argument: string | undefined): boolean {
  return argument === "--list" || argument === "--install";
}

async function aboutTheBinary(
  rawArguments: readonly string[],
  calledAs: string,
): Promise<number> {
  const { install, list } = await import("./applets/install.ts");
  const names = Object.keys(APPLETS);
  if (rawArguments[0] === "--list") return list(names, rawArguments.slice(1));
  if (rawArguments[0] === "--install")
    return install(names, rawArguments.slice(1), calledAs);
  const { sysmgr } = await import("./applets/sysmgr.ts");
  return sysmgr(rawArguments);
}

async function noSuchApplet(name: string, calledAs: string): Promise<number> {
  const { printable } = await import("./text.ts");
  const { writeFully } = await import("./messages.ts");
  const which =
    name === "" ? "no applet named" : `no such applet: '${printable(name)}'`;
  const known = Object.keys(APPLETS).join("\n");
  writeFully(
    2,
    `${printable(nameOf(calledAs))}: ${which}; there are:\n${known}\n`,
  );
  return NO_SUCH_APPLET;
}

/** Says why not even a message can be written in the usual way: that, too, is a call of the system. */
function withoutSystem(error: unknown): number {
  const reason = error instanceof Error ? error.message : String(error);
  const hint = "is the memory limited (ulimit -v, -d)?";
  console.error(`${nameOf(process.argv0)}: cannot begin: ${reason}; ${hint}`);
  return FAILED;
}
