/** No environment variable turns the binary into something else, and services get all of them as they are. */
import { expect, setDefaultTimeout } from "bun:test";
import {
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import type { Outcome } from "../integration/sandbox.ts";
import { IDLE, Root, rootTest } from "./root.ts";

setDefaultTimeout(180_000);

const PLACES = ["SYSDIR=/sv", "RUNDIR=/run/sysmgr", "PATH=/bin"];

/** Each of these makes a program that Bun has compiled do something else, or would if it were obeyed. */
const HOSTILE = [
  "BUN_BE_BUN=1",
  "BUN_OPTIONS=--preload=/evil.js --cpu-prof",
  "BUN_INSPECT=127.0.0.1:0",
  "BUN_INSPECT_CONNECT_TO=127.0.0.1:1",
  "BUN_JSC_useJIT=bad",
  "BUN_JSC_dumpOptions=1",
  "BUN_GC_TIMER_DISABLE=0",
  "BUN_BYTECODE_ORDER_OUT=/order",
  "BUN_CONFIG_FILE=/bunfig.toml",
  "NODE_OPTIONS=--require=/evil.js",
  "NODE_ENV=development",
  "NODE_V8_COVERAGE=/coverage",
  "MIMALLOC_VERBOSE=1",
  "MIMALLOC_SHOW_STATS=1",
  "MIMALLOC_SCAVENGER=1",
  "Malloc=1",
  "JSC_useJIT=bad",
  "LD_PRELOAD=/evil.so",
  "LD_DEBUG=all",
  "DO_NOT_TRACK=0",
  "CONSOLA_LEVEL=-999",
  "DEBUG=1",
  "CI=1",
  "TEST=1",
];

/** Variables that are easily lost or changed on their way through a program. */
const AWKWARD = [
  "EQUALS==a=b=",
  "EMPTY=",
  "SPACES=  two  words  ",
  "LINES=one\ntwo\n",
  "UMLAUT=Gr\u00fc\u00dfe \u{1f600}",
  "CONTROL=a\u0001b\u001b[31m",
  `LONG=${"x".repeat(100_000)}`,
  "__proto__=prototype",
  "constructor=constructor",
  "7=digit",
  "TZ=Europe/Vienna",
  "lower.case-name=1",
  "DO_NOT_TRACK=1",
  "MIMALLOC_SCAVENGER=0",
  "BUN_JSC_useDFGJIT=0",
];

/** The same with bytes that are not text; each character stands for one byte. */
const NOT_TEXT = [
  "VALUE=caf\xe9",
  "BUN_VALUE=\xff\xfe",
  "SURROGATE=\xed\xa0\x80",
  "N\xe4me=value",
  "\x01MARKED=value",
];

rootTest(
  "every applet does the same in a hostile environment as in a clean one",
  async () => {
    await using root = new Root();
    root.service("a", IDLE);
    writeFileSync(
      root.path("/evil.js"),
      'require("node:fs").writeFileSync("/evil", "");\n',
    );
    await root.boot();
    const daemon = root.begin([
      "/bin/env",
      ...PLACES,
      ...HOSTILE,
      "/bin/sysmgr",
    ]);
    await root.up("a");
    const before = root.files();
    const run = (environment: string[], command: string[]): Promise<Outcome> =>
      root.run(["/bin/env", "-i", ...PLACES, ...environment, ...command]);
    for (const command of [
      ["/bin/sysmgr", "--version"],
      ["/bin/sysmgr", "--help"],
      ["/bin/sysmgr", "--list"],
      ["/bin/sysmgr", "--nonsense"],
      ["/bin/sysmgr"],
      ["/bin/svctl", "--version"],
      ["/bin/svctl", "stop", "a"],
      ["/bin/svctl", "status", "a"],
      ["/bin/svctl", "start", "a"],
      ["/bin/svctl", "restart", "a", "nobody"],
      ["/bin/sysmgr-depends", "a"],
      ["/bin/sysmgr-depends", "nobody"],
      ["/bin/sysmgr-depends", "--version"],
    ]) {
      const expected = await run([], command);
      expect({ command, ...(await run(HOSTILE, command)) }).toEqual({
        command,
        ...expected,
      });
    }
    expect(root.files()).toEqual(before);
    const sysmgr = root.outside(Number(root.read("/run/sysmgr/pid")));
    const open = readdirSync(`/proc/${sysmgr}/fd`).map((descriptor) =>
      readlinkSync(`/proc/${sysmgr}/fd/${descriptor}`),
    );
    expect(open.length).toBeGreaterThan(3);
    expect(open.filter((each) => each.startsWith("socket:"))).toEqual([]);
    root.signalSysmgr("SIGTERM");
    expect(await root.end(daemon)).toBe(0);
    const said = root
      .log()
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("sysmgr: "));
    expect(said.filter((line) => line !== IDLE.trim())).toEqual([]);
  },
);

for (const { what, variables, encoding } of [
  { what: "hostile variables", variables: HOSTILE, encoding: "utf8" },
  { what: "awkward variables", variables: AWKWARD, encoding: "utf8" },
  {
    what: "variables that are not text",
    variables: NOT_TEXT,
    encoding: "latin1",
  },
] as const) {
  rootTest(
    `a service gets ${what} as sysmgr got them, and none that is new but its own`,
    async () => {
      await using root = new Root();
      root.service("a", IDLE);
      const quoted = [...PLACES, ...variables].map((each) => `'${each}'`);
      const script = `exec /bin/env -i ${quoted.join(" ")} /bin/sysmgr
`;
      writeFileSync(root.path("/etc/start"), script, encoding);
      await root.boot(["/bin/sh", "/etc/start"]);
      const service = root.outside(await root.up("a"));
      const given = variablesOf(root.firstProcess);
      expect(given).toHaveLength(PLACES.length + variables.length);
      const expected = [...given, "SYSMGR_SERVICE=a"].sort();
      expect(variablesOf(service)).toEqual(expected);
    },
  );
}

/** What a process found in its environment, sorted; each character stands for one byte. */
function variablesOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/environ`, "latin1");
  return text.split("\0").slice(0, -1).sort();
}
