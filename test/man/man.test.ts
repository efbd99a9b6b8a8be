/** The manual pages: well-formed, and about every option that the programs have. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { lacks } from "../init/packages.ts";
import { DIST } from "../integration/sandbox.ts";

const MAN = join(import.meta.dir, "../../src/man");
const PAGES: Readonly<Record<string, string>> = {
  sysmgr: "sysmgr.8",
  svctl: "svctl.1",
  "sysmgr-depends": "sysmgr-depends.1",
};
/** What depends on the other manual pages of this machine. */
const ELSEWHERE = /referenced manual not found|outdated mandoc\.db/;

const problem = lacks("mandoc");

test.skipIf(problem !== undefined).each(Object.values(PAGES))(
  problem === undefined
    ? "mandoc finds nothing wrong with %s"
    : `skipped: ${problem}: %s`,
  (page) => {
    const lint = ["mandoc", "-T", "lint", join(MAN, page)];
    const { stdout, stderr } = Bun.spawnSync(lint);
    const found = `${stdout}${stderr}`.split("\n").filter(Boolean);
    expect(found.filter((line) => !ELSEWHERE.test(line))).toEqual([]);
  },
);

test.each(Object.entries(PAGES))(
  "of %s every option is in its manual page",
  (applet, page) => {
    const { stdout } = Bun.spawnSync([join(DIST, applet), "--help"]);
    const help = stdout.toString();
    const text = readFileSync(join(MAN, page), "utf8");
    const short = help.match(/(?<=^ {2}-)\w(?=,)/gm) ?? [];
    const long = help.match(/(?<=^ {2}(?:-\w,| {3}) -)-[\w-]+/gm) ?? [];
    expect(long.length).toBeGreaterThan(4);
    for (const option of [...short, ...long])
      expect(text).toMatch(new RegExp(`^\\.It (.* )?Fl ${option}( |$)`, "m"));
  },
);
