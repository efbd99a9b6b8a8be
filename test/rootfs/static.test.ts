/** The binary needs nothing but itself: no loader, no library, no /proc, /dev or /tmp, no open descriptor. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  FILE_TYPE,
  readElf,
  SEGMENT_FLAG,
  SEGMENT_TYPE,
  segmentsOf,
} from "../../src/static-link/elf.ts";
import { DIST, type Outcome } from "../integration/sandbox.ts";
import { isRoot, Root, rootTest } from "./root.ts";

setDefaultTimeout(180_000);

const APPLETS = ["sysmgr", "svctl", "sysmgr-depends"] as const;
const STANDARD = [0, 1, 2] as const;
/** A name that is no applet's, so that the first argument says which one is meant. */
const ALONE = "sysmgr-linux-x64";
/** An empty environment. */
const CLEAN = ["env", "-i"];

test("the binary names no loader and no library", () => {
  const elf = readElf(readFileSync(join(DIST, "sysmgr")));
  expect(elf.type).toBe(FILE_TYPE.executable);
  expect(segmentsOf(elf, "interpreter")).toEqual([]);
  expect(segmentsOf(elf, "dynamic")).toEqual([]);
});

test("no part of the binary can be both written and executed, nor can the stack be executed", () => {
  const { segments } = readElf(readFileSync(join(DIST, "sysmgr")));
  const both = SEGMENT_FLAG.write | SEGMENT_FLAG.execute;
  for (const { type, flags } of segments)
    if (type !== SEGMENT_TYPE.stack) expect(flags & both).not.toBe(both);
  const stack = segments.filter(({ type }) => type === SEGMENT_TYPE.stack);
  expect(stack).toHaveLength(1);
  for (const { flags } of stack) expect(flags & SEGMENT_FLAG.execute).toBe(0);
});

for (const applet of APPLETS) {
  rootTest(
    `alone in a read-only root, ${applet} answers whatever descriptors are closed`,
    async () => {
      await using root = emptyRoot();
      for (const option of ["--version", "--help"]) {
        const expected = await onTheHost(applet, option);
        expect(expected.out).not.toBe("");
        for (const closed of subsets(STANDARD)) {
          // Then what is put in the place of stdout cannot be written to.
          if (closed.includes(1) && !isRoot) continue;
          const outcome = await root.runAlone([`/${ALONE}`, applet, option], {
            closed,
            through: CLEAN,
          });
          const out = closed.includes(1) ? "" : expected.out;
          expect({ closed, ...outcome }).toEqual({
            ...{ closed, code: 0, out, err: "" },
          });
        }
      }
    },
  );
}

rootTest(
  "alone in a read-only root, every applet says what it misses",
  async () => {
    await using root = emptyRoot();
    const say = (...command: string[]) =>
      root.runAlone([`/${ALONE}`, ...command], { through: CLEAN });
    expect(await say("sysmgr")).toEqual({
      code: 1,
      out: "",
      err: "sysmgr: /var/sysmgr: no such file or directory (ENOENT); another one is named by -s or SYSDIR\n",
    });
    for (const command of [
      ["svctl", "status"],
      ["sysmgr-depends", "a"],
    ]) {
      const { code, out, err } = await say(...command);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toMatch(new RegExp(`^${command[0]}: [^\n]+\n$`));
    }
    const { code, err } = await say("svctl", "--nonsense");
    expect(code).toBe(2);
    expect(err).toMatch(/^svctl: [^\n]*--nonsense[^\n]*\n[^\n]+\n$/);
    expect(root.files()).toEqual([ALONE]);
  },
);

/** Nothing but the file: no links, no busybox, no other directory. */
function emptyRoot(): Root {
  const root = new Root({ proc: false, dev: "none", readOnly: true });
  root.empty(ALONE);
  return root;
}

async function onTheHost(applet: string, option: string): Promise<Outcome> {
  const child = Bun.spawn([join(DIST, applet), option], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { code: await child.exited, out, err };
}

function subsets<T>([first, ...rest]: readonly T[]): T[][] {
  if (first === undefined) return [[]];
  return subsets(rest).flatMap((subset) => [subset, [first, ...subset]]);
}
