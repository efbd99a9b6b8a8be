import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  ConfigurationError,
  configure,
  DEFAULT_RUNDIR,
  DEFAULT_SYSDIR,
  parseSeconds,
} from "../src/config.ts";

const ENVIRONMENT = {
  SYSDIR: "/env/sv",
  RUNDIR: "/env/run",
  SYSMGR_STOP_TIMEOUT: "7",
};

describe("a configuration", () => {
  test("is the built-in one where nothing else is said", () => {
    expect(configure({}, {})).toEqual({
      sysdir: DEFAULT_SYSDIR,
      rundir: DEFAULT_RUNDIR,
      stopTimeout: 10_000,
    });
    expect([DEFAULT_SYSDIR, DEFAULT_RUNDIR]).toEqual([
      "/var/sysmgr",
      "/run/sysmgr",
    ]);
  });

  test("follows the environment", () => {
    expect(configure({}, ENVIRONMENT)).toEqual({
      sysdir: "/env/sv",
      rundir: "/env/run",
      stopTimeout: 7000,
    });
  });

  test("follows the options before the environment", () => {
    const options = { sysdir: "/opt/sv", rundir: "/opt/run", timeout: "0.5" };
    expect(configure(options, ENVIRONMENT)).toEqual({
      sysdir: "/opt/sv",
      rundir: "/opt/run",
      stopTimeout: 500,
    });
  });

  test("takes an empty variable for none", () => {
    const empty = { SYSDIR: "", RUNDIR: "", SYSMGR_STOP_TIMEOUT: "" };
    expect(configure({}, empty)).toEqual(configure({}, {}));
  });

  test("has absolute directories, wherever it was made", () => {
    const { sysdir, rundir } = configure(
      { sysdir: "sv/", rundir: "../run" },
      {},
    );
    expect(sysdir).toBe(`${process.cwd()}/sv`);
    expect(rundir).toBe(
      configure({ rundir: `${process.cwd()}/../run` }, {}).rundir,
    );
  });

  test.each<[Parameters<typeof configure>, says: string]>([
    [[{ sysdir: "" }, {}], "--sysdir: ''"],
    [[{ rundir: "" }, {}], "--rundir: ''"],
    [[{ sysdir: "a\0b" }, {}], "--sysdir"],
    [[{ timeout: "soon" }, ENVIRONMENT], "--timeout: 'soon'"],
    [[{}, { SYSMGR_STOP_TIMEOUT: "-3" }], "SYSMGR_STOP_TIMEOUT: '-3'"],
  ])("names what makes no sense: %j", ([options, environment], says) => {
    const refused = () => configure(options, environment);
    expect(refused).toThrow(ConfigurationError);
    expect(refused).toThrow(says);
  });

  test("does not mind a variable that an option overrides", () => {
    const { stopTimeout } = configure(
      { timeout: "3" },
      { SYSMGR_STOP_TIMEOUT: "nonsense" },
    );
    expect(stopTimeout).toBe(3000);
  });
});

describe("a number of seconds", () => {
  test.each([
    ["0", 0],
    ["5", 5],
    ["05", 5],
    ["0.25", 0.25],
    ["2000000", 2_000_000],
  ])("%j", (text, seconds) => {
    expect(parseSeconds(text, "-t")).toBe(seconds);
  });

  test.each([
    "",
    " ",
    "abc",
    "-1",
    "+1",
    "1e3",
    "0x10",
    ".5",
    "5.",
    "1.2.3",
    "1,5",
    " 5",
    "5 ",
    "5\n",
    "5s",
    "٥",
    "NaN",
    "Infinity",
    "2000000.1",
    "9".repeat(400),
  ])("is not %j", (text) => {
    expect(() => parseSeconds(text, "-t")).toThrow(
      new ConfigurationError(
        `-t: '${text}' is not a number of seconds from 0 to 2000000`,
      ),
    );
  });

  test("never becomes a timer that fires at once", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9.]{1,12}$/), (text) => {
        try {
          const milliseconds = parseSeconds(text, "-t") * 1000;
          expect(milliseconds).toBeWithin(0, 2 ** 31);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigurationError);
        }
      }),
    );
  });
});
