import { expect, test } from "bun:test";
import { TemporaryDirectory } from "../../temporary.ts";
import { findContenders } from "./find.ts";

const OURS = '#!/bin/sh\necho "sysmgr 1.2.3"\n';
const C_PROGRAM =
  '#!/bin/sh\nprintf "usage: sysmgr\\n\\nVersion: 0.1.1\\n"\nexit 1\n';
const NOTHING = "#!/bin/sh\n";
const BUSYBOX =
  '#!/bin/sh\n[ "$1" = --list ] && exec printf "runsv\\nrunsvdir\\nsv\\n"\necho "BusyBox v9.8.7 (…) multi-call binary."\n';

/** Directories with programs in them, and the names of the contenders that are found with them only. */
function find(
  ...programs: readonly Readonly<Record<string, string>>[]
): ReturnType<typeof findContenders> {
  using temporary = new TemporaryDirectory();
  const directories = programs.map((texts, index) => {
    const directory = temporary.directory(`more${index}`);
    for (const [name, text] of Object.entries(texts))
      temporary.file(`more${index}/${name}`, text, 0o755);
    return directory;
  });
  return findContenders(directories.join(":"));
}

test("a sysmgr of ours is called like its directory", () => {
  const { contenders } = find({ sysmgr: OURS, svctl: NOTHING });
  const found = contenders.find(({ name }) => name === "more0");
  expect(found).toMatchObject({ version: "1.2.3" });
  expect(found?.scanInterval).toBeUndefined();
});

test("the C program looks for new services once a second", () => {
  const { contenders } = find({ sysmgr: C_PROGRAM, svctl: NOTHING });
  expect(contenders).toContainEqual(
    expect.objectContaining({
      name: "more0",
      version: "0.1.1",
      scanInterval: 1000,
    }),
  );
});

test("nitro is found, next to another one", () => {
  const { contenders } = find(
    { sysmgr: OURS, svctl: NOTHING },
    { nitro: NOTHING, nitroctl: NOTHING },
  );
  const names = contenders.map(({ name }) => name);
  expect(names).toContain("more0");
  expect(names).toContain("more1");
});

test("a busybox that has runit's programs stands in for one that has not", () => {
  const { contenders, leftOut } = find({ busybox: BUSYBOX });
  expect(contenders.map(({ name }) => name)).toContain("busybox");
  expect(leftOut.join()).not.toContain("busybox");
});

test("a directory with nothing to compare is said", () => {
  const { leftOut } = find({ svctl: NOTHING });
  expect(leftOut.at(-1)).toMatch(/more0 has neither sysmgr and svctl nor/);
});

test("no two have the same name", () => {
  using temporary = new TemporaryDirectory();
  temporary.directory("sysmgr");
  temporary.file("sysmgr/sysmgr", OURS, 0o755);
  temporary.file("sysmgr/svctl", NOTHING, 0o755);
  const directory = temporary.at("sysmgr");
  const { contenders } = findContenders(`${directory}:${directory}`);
  const names = contenders.map(({ name }) => name);
  expect(names).toContain("sysmgr-2");
  expect(names).toContain("sysmgr-3");
});
