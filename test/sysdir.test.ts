import { describe, expect, test } from "bun:test";
import { chmodSync, statSync, writeFileSync } from "node:fs";
import {
  type Entry,
  examine,
  exists,
  interpreterProblem,
  listNames,
} from "../src/sysdir.ts";
import {
  openDescriptors,
  TemporaryDirectory,
  withoutPrivileges,
} from "./temporary.ts";

const SCRIPT = "#!/bin/sh\n";
const isRoot = process.geteuid?.() === 0;
const asRoot = isRoot ? "" : " (only root is kept from it)";

type Arrange = (place: TemporaryDirectory, name: string) => void;

const service: Arrange = (place, name) => place.file(name, SCRIPT, 0o755);
const target = (place: TemporaryDirectory, mode: number) =>
  place.file("target", SCRIPT, mode);

describe("a service is", () => {
  const SERVICES: Record<string, Arrange> = {
    "an executable script": service,
    "a script without #!": (place, name) => place.file(name, "exit", 0o755),
    "an empty executable": (place, name) => place.file(name, "", 0o755),
    "one that only its owner may execute": (place, name) =>
      place.file(name, SCRIPT, 0o700),
    "a link to an executable": (place, name) =>
      place.link(name, target(place, 0o755)),
    "a relative link": (place, name) => {
      target(place, 0o755);
      place.link(name, "target");
    },
    "a link to a link to a program": (place, name) =>
      place.link(name, place.link("other", "/bin/sh")),
  };

  test.each(Object.entries(SERVICES))("%s", (_, arrange) => {
    using place = new TemporaryDirectory();
    arrange(place, "web");
    expect(examine(place.path, "web").is).toBe("service");
  });

  const NAMES = ["a b", "-rf", "a\nb", "*", "ü", "n".repeat(255), "pid2", "a."];

  test.each(NAMES)("one whose name is %j", (name) => {
    using place = new TemporaryDirectory();
    service(place, name);
    expect(examine(place.path, name).is).toBe("service");
    expect(listNames(place.path)).toEqual([name]);
  });
});

describe("what is no service is not started, for a reason:", () => {
  const REASONS: Record<string, [Arrange, why: string, hidden: boolean]> = {
    "a script that is not executable": [
      (place, name) => place.file(name, SCRIPT),
      "not executable",
      false,
    ],
    "a link to one": [
      (place, name) => place.link(name, target(place, 0o644)),
      "not executable",
      true,
    ],
    "a directory": [
      (place, name) => place.directory(name),
      "not a regular file",
      false,
    ],
    "a link to a directory": [
      (place, name) => place.link(name, "/"),
      "not a regular file",
      true,
    ],
    "a FIFO": [(place, name) => place.fifo(name), "not a regular file", false],
    "a socket": [
      (place, name) => place.socket(name),
      "not a regular file",
      false,
    ],
    "a device": [
      (place, name) => place.link(name, "/dev/null"),
      "not a regular file",
      true,
    ],
    "a link to nothing": [
      (place, name) => place.link(name, "nothing"),
      "a symbolic link to nothing",
      true,
    ],
    "a link to itself": [
      (place, name) => place.link(name, name),
      "too many levels of symbolic links (ELOOP)",
      true,
    ],
    "a link through a file": [
      (place, name) => place.link(name, `${target(place, 0o755)}/bin`),
      "not a directory (ENOTDIR)",
      true,
    ],
  };

  test.each(Object.entries(REASONS))("%s", (_, [arrange, why, hidden]) => {
    using place = new TemporaryDirectory();
    arrange(place, "web");
    expect(examine(place.path, "web")).toEqual({ is: "unusable", why, hidden });
    expect(exists(place.path, "web")).toBe(true);
  });

  const asOther = isRoot ? " (root may execute it)" : "";
  test.skipIf(isRoot)(`a script that only others may execute${asOther}`, () => {
    using place = new TemporaryDirectory();
    place.file("web", SCRIPT, 0o611);
    expect(examine(place.path, "web")).toMatchObject({ why: "not executable" });
  });

  test("a name that RUNDIR needs", () => {
    using place = new TemporaryDirectory();
    service(place, "pid");
    expect(examine(place.path, "pid")).toEqual({
      is: "unusable",
      why: "the name is needed for sysmgr's own state",
      hidden: false,
    });
  });

  test("a name that is too long for a file", () => {
    using place = new TemporaryDirectory();
    expect(examine(place.path, "n".repeat(256))).toMatchObject({
      is: "unusable",
      why: "file name too long (ENAMETOOLONG)",
    });
  });

  test("what must not be looked at", () => {
    using place = new TemporaryDirectory();
    const sysdir = place.directory("sv", 0o000);
    expect(withoutPrivileges(() => examine(sysdir, "web"))).toMatchObject({
      is: "unusable",
      why: "permission denied (EACCES)",
    });
  });
});

describe("what others could change", () => {
  const UNSAFE: Record<string, [Arrange, hidden: boolean]> = {
    "a script that everybody may write to": [
      (place, name) => place.file(name, SCRIPT, 0o777),
      false,
    ],
    "a link to one": [
      (place, name) => place.link(name, target(place, 0o757)),
      true,
    ],
    "any script in a directory that everybody may write to": [
      (place, name) => {
        service(place, name);
        chmodSync(place.path, 0o777);
      },
      false,
    ],
    "any script in a directory like /tmp": [
      (place, name) => {
        service(place, name);
        chmodSync(place.path, 0o1777);
      },
      false,
    ],
  };

  test.skipIf(!isRoot).each(Object.entries(UNSAFE))(
    `is not run by root: %s${asRoot}`,
    (_, [arrange, hidden]) => {
      using place = new TemporaryDirectory();
      arrange(place, "web");
      expect(examine(place.path, "web")).toEqual({
        is: "unusable",
        why: expect.stringContaining("writable by everybody"),
        hidden,
      });
    },
  );

  test.each(Object.entries(UNSAFE))(
    "may be run by another user: %s",
    (_, [arrange]) => {
      using place = new TemporaryDirectory();
      arrange(place, "web");
      const entry = withoutPrivileges(() => examine(place.path, "web"));
      expect(entry.is).toBe("service");
    },
  );

  test("its group may change a script, as an administrator's group does", () => {
    using place = new TemporaryDirectory();
    place.file("web", SCRIPT, 0o775);
    expect(examine(place.path, "web").is).toBe("service");
  });
});

describe("an entry", () => {
  const changed = (entry: Entry) =>
    entry.is === "service" ? entry.changed : 0;

  test("that is missing, or in a missing directory, is absent", () => {
    using place = new TemporaryDirectory();
    for (const sysdir of [place.path, place.at("nowhere")]) {
      expect(examine(sysdir, "web")).toEqual({ is: "absent" });
      expect(exists(sysdir, "web")).toBe(false);
    }
  });

  test("has changed when its file or the link to it has", () => {
    using place = new TemporaryDirectory();
    const path = target(place, 0o755);
    place.link("web", path);
    const first = changed(examine(place.path, "web"));
    do chmodSync(path, 0o755);
    while (statSync(path).ctimeMs <= first);
    expect(changed(examine(place.path, "web"))).toBe(statSync(path).ctimeMs);
  });
});

describe("the names", () => {
  test("of a service directory leave out what starts with a dot", () => {
    using place = new TemporaryDirectory();
    for (const name of [".hidden", "..web", "web", "pid"]) service(place, name);
    place.directory("sub");
    place.directory(".git");
    expect(listNames(place.path).sort()).toEqual(["pid", "sub", "web"]);
  });

  test("that are not UTF-8 lead nowhere, and harm nobody", () => {
    using place = new TemporaryDirectory();
    const path = Buffer.concat([Buffer.from(place.at("a")), Buffer.of(0xff)]);
    writeFileSync(path, SCRIPT, { mode: 0o755 });
    const [name = ""] = listNames(place.path);
    expect(name).toContain("\ufffd");
    expect(examine(place.path, name)).toEqual({ is: "absent" });
  });

  test.each<[string, (place: TemporaryDirectory) => string, string]>([
    ["is missing", (place) => place.at("nowhere"), "ENOENT"],
    ["is a file", (place) => place.file("file", ""), "ENOTDIR"],
    ["must not be read", (place) => place.directory("dir", 0o000), "EACCES"],
  ])("cannot be had of a directory that %s", (_, arrange, code) => {
    using place = new TemporaryDirectory();
    const path = arrange(place);
    expect(() => withoutPrivileges(() => listNames(path))).toThrow(code);
  });
});

describe("an interpreter", () => {
  test.each<[string, string]>([
    ["#!/nope\n", "/nope"],
    ["#!/nope", "/nope"],
    ["#! \t/no/such/shell -e\n", "/no/such/shell"],
    ["#!/bin/sh\r\n", "/bin/sh\r"],
  ])("that is missing is named: %j", (content, interpreter) => {
    using place = new TemporaryDirectory();
    const path = place.file("web", content, 0o755);
    const before = openDescriptors();
    expect(interpreterProblem(path)).toBe(
      `its interpreter ${interpreter} does not exist`,
    );
    expect(openDescriptors()).toBe(before);
  });

  test.each([
    SCRIPT,
    "#!/bin/sh",
    "#! /bin/sh -e\n",
    "#!/bin/sh\t-e\n",
    "",
    "#",
    "#!",
    "#!\n/nope\n",
    "#!sh\n",
    " #!/nope\n",
    "echo hello\n#!/nope\n",
    "\u007fELF\u0001\u0001",
  ])("gives no cause for complaint: %j", (content) => {
    using place = new TemporaryDirectory();
    const path = place.file("web", content, 0o755);
    expect(interpreterProblem(path)).toBeUndefined();
  });

  test.each<[string, (place: TemporaryDirectory) => string]>([
    ["nothing", (place) => place.at("web")],
    ["a directory", (place) => place.directory("web")],
    ["a FIFO", (place) => place.fifo("web")],
    ["an unreadable file", (place) => place.file("web", "#!/nope\n", 0o111)],
  ])("is not looked for in %s", (_, arrange) => {
    using place = new TemporaryDirectory();
    const path = arrange(place);
    const look = () => interpreterProblem(path);
    expect(withoutPrivileges(look)).toBeUndefined();
  });
});
