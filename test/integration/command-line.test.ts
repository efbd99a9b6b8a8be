/** Contract: "One file, three names" and "Where things are". */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import {
  DIST,
  DONE,
  failure,
  type Outcome,
  Sandbox,
  until,
} from "./sandbox.ts";

const APPLETS = ["sysmgr", "svctl", "sysmgr-depends"];
const BINARY = join(DIST, "sysmgr");
const LIST = "sysmgr\nsvctl\nsysmgr-depends\n";
/** Whether it brings its own start-up code, which hides from Bun what the environment says to Bun. */
const IS_STATIC = !(await Bun.file(BINARY).slice(0, 4096).text()).includes(
  "/ld-",
);

setDefaultTimeout(180_000);

/** Links the binary under another name, or by another way, and says where. */
function linkAs(box: Sandbox, name: string): string {
  const path = join(box.directory, name);
  symlinkSync(BINARY, path);
  return path;
}

/** Exactly one line that says what is wrong and a usage line, and nothing on stdout. */
function wrongUsage(applet: string): Outcome {
  const form = `^${applet}: \\P{Cc}+\\nusage: ${applet} \\P{Cc}+\\n$`;
  return {
    code: 2,
    out: "",
    err: expect.stringMatching(new RegExp(form, "u")),
  };
}

function without(...names: readonly string[]): string[] {
  return ["env", ...names.flatMap((name) => ["-u", name])];
}

describe("the name picks the applet", () => {
  test.concurrent.each(APPLETS)("%s is itself", async (applet) => {
    await using box = new Sandbox();
    const { out, err, code } = await box.run([join(DIST, applet), "--help"]);
    expect(out).toStartWith(`usage: ${applet} `);
    expect({ err, code }).toEqual({ err: "", code: 0 });
  });

  test.concurrent.each(APPLETS)("%s is found by PATH", async (applet) => {
    await using box = new Sandbox();
    const { out } = await box.run([applet, "--help"]);
    expect(out).toStartWith(`usage: ${applet} `);
  });

  test.concurrent.each(APPLETS)(
    "another name takes %s as its first argument",
    async (applet) => {
      await using box = new Sandbox();
      const other = linkAs(box, "sysmgr-linux-x64");
      const direct = await box.run([join(DIST, applet), "--help"]);
      expect(await box.run([other, applet, "--help"])).toEqual(direct);
    },
  );

  test.concurrent(
    "a copy under another name does all that svctl does",
    async () => {
      await using box = new Sandbox();
      const copy = join(box.directory, "sysmgr-1.2.3");
      copyFileSync(BINARY, copy);
      box.script("a", "exec sleep 1000");
      await box.start();
      await box.up("a");
      expect((await box.run([copy, "svctl", "status"])).out).toStartWith(
        "a: UP (pid ",
      );
      expect(await box.run([copy, "svctl", "-q", "stop", "a"])).toEqual(DONE);
      expect(box.pid("a")).toBeUndefined();
    },
  );

  test.concurrent("another name runs the daemon, too", async () => {
    await using box = new Sandbox();
    box.script("a", "exec sleep 1000");
    const daemon = box.begin([linkAs(box, "x"), "sysmgr"]);
    await box.up("a");
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test.concurrent.each([
    "nosuch",
    "status",
    "constructor",
    "__proto__",
    "toString",
    "",
  ])(
    "another name with '%s', which is no applet: a list on stderr, 127",
    async (word) => {
      await using box = new Sandbox();
      const { code, out, err } = await box.run([linkAs(box, "other"), word]);
      expect({ code, out }).toEqual({ code: 127, out: "" });
      expect(err).toStartWith("other: ");
      expect(err).toEndWith(`\n${LIST}`);
    },
  );

  test.concurrent("another name alone: a list on stderr, 127", async () => {
    await using box = new Sandbox();
    const { code, out, err } = await box.run([linkAs(box, "other")]);
    expect({ code, out }).toEqual({ code: 127, out: "" });
    expect(err).toEndWith(`\n${LIST}`);
  });

  test.concurrent("what is no applet is never printed raw", async () => {
    await using box = new Sandbox();
    const { err } = await box.run([
      linkAs(box, "other"),
      "\u001b[31m\nsvctl: done",
    ]);
    expect(err).not.toContain("\u001b");
    expect(err.trimEnd().split("\n")).toHaveLength(4);
  });
});

describe("--list", () => {
  test.concurrent.each([
    ["sysmgr", []],
    ["sysmgr-linux-x64", []],
    ["sysmgr-linux-x64", ["sysmgr"]],
  ] as [string, string[]][])(
    "of %s %p prints the applets, one a line",
    async (name, before) => {
      await using box = new Sandbox();
      const outcome = await box.run([linkAs(box, name), ...before, "--list"]);
      expect(outcome).toEqual({ code: 0, out: LIST, err: "" });
    },
  );

  test.concurrent("takes nothing more", async () => {
    await using box = new Sandbox();
    expect(await box.run([BINARY, "--list", "x"])).toEqual(
      wrongUsage("sysmgr"),
    );
  });
});

describe("--install", () => {
  const LINKS = ["svctl", "sysmgr-depends"];

  /** Says of both links where they point, and proves that they work. */
  async function linksIn(box: Sandbox, directory: string): Promise<string[]> {
    const places = LINKS.map((name) => join(directory, name));
    for (const place of places) {
      const { out } = await box.run([place, "--help"]);
      expect(out).toStartWith(`usage: ${place.slice(directory.length + 1)} `);
    }
    return places.map((place) => readlinkSync(place));
  }

  test.concurrent("links relatively to a sysmgr that lies there", async () => {
    await using box = new Sandbox();
    const copy = join(box.directory, "sysmgr");
    copyFileSync(BINARY, copy);
    expect(await box.run([copy, "--install", box.directory])).toEqual(DONE);
    expect(await linksIn(box, box.directory)).toEqual(["sysmgr", "sysmgr"]);
    expect(lstatSync(copy).isFile()).toBeTrue();
  });

  test.concurrent(
    "takes the sysmgr that lies there also when it is called from elsewhere",
    async () => {
      await using box = new Sandbox();
      linkAs(box, "sysmgr");
      expect((await box.run([BINARY, "--install", "."])).code).toBe(0);
      expect(await linksIn(box, box.directory)).toEqual(["sysmgr", "sysmgr"]);
    },
  );

  test.concurrent(
    "links relatively to the binary in any other directory",
    async () => {
      await using box = new Sandbox();
      const directory = join(box.directory, "bin");
      mkdirSync(directory);
      expect(await box.run([BINARY, "--install", directory])).toEqual(DONE);
      for (const target of await linksIn(box, directory))
        expect(target).toStartWith("../");
      expect(realpathSync(join(directory, "svctl"))).toBe(realpathSync(BINARY));
    },
  );

  test.concurrent(
    "links rightly in a directory that is itself a link",
    async () => {
      await using box = new Sandbox();
      mkdirSync(join(box.directory, "a/b/c"), { recursive: true });
      symlinkSync("a/b/c", join(box.directory, "bin"));
      expect((await box.run([BINARY, "--install", "bin"])).code).toBe(0);
      await linksIn(box, join(box.directory, "bin"));
    },
  );

  test.concurrent(
    "works under another name, which is the first step after a download",
    async () => {
      await using box = new Sandbox();
      const copy = join(box.directory, "sysmgr-linux-x64");
      copyFileSync(BINARY, copy);
      expect((await box.run([copy, "sysmgr", "--install", "."])).code).toBe(0);
      expect(await linksIn(box, box.directory)).toEqual([
        "sysmgr-linux-x64",
        "sysmgr-linux-x64",
      ]);
    },
  );

  test.concurrent("is as well the second time", async () => {
    await using box = new Sandbox();
    linkAs(box, "sysmgr");
    await box.run([BINARY, "--install", "."]);
    expect(await box.run([BINARY, "--install", "."])).toEqual(DONE);
    expect(await linksIn(box, box.directory)).toEqual(["sysmgr", "sysmgr"]);
  });

  test.concurrent(
    "leaves a foreign file alone, makes the other link, and says so",
    async () => {
      await using box = new Sandbox();
      const foreign = join(box.directory, "svctl");
      writeFileSync(foreign, "mine\n");
      linkAs(box, "sysmgr");
      const outcome = await box.run([BINARY, "--install", box.directory]);
      expect(outcome).toEqual(failure("sysmgr", foreign));
      expect(readFileSync(foreign, "utf8")).toBe("mine\n");
      expect(readlinkSync(join(box.directory, "sysmgr-depends"))).toBe(
        "sysmgr",
      );
    },
  );

  test.concurrent.each(["/bin/sh", "nowhere"])(
    "leaves a foreign link to %s alone",
    async (target) => {
      await using box = new Sandbox();
      const foreign = join(box.directory, "sysmgr-depends");
      symlinkSync(target, foreign);
      linkAs(box, "sysmgr");
      const outcome = await box.run([BINARY, "--install", box.directory]);
      expect(outcome).toEqual(failure("sysmgr", foreign));
      expect(readlinkSync(foreign)).toBe(target);
    },
  );

  test.concurrent("leaves a directory in the way alone", async () => {
    await using box = new Sandbox();
    mkdirSync(join(box.directory, "svctl"));
    linkAs(box, "sysmgr");
    const outcome = await box.run([BINARY, "--install", box.directory]);
    expect(outcome).toEqual(failure("sysmgr", join(box.directory, "svctl")));
    expect(lstatSync(join(box.directory, "svctl")).isDirectory()).toBeTrue();
  });

  test.concurrent.each(["nowhere", "a-file"])(
    "into %s, which is no directory, is an error",
    async (place) => {
      await using box = new Sandbox();
      writeFileSync(join(box.directory, "a-file"), "");
      expect(await box.run([BINARY, "--install", place])).toEqual(
        failure("sysmgr", place),
      );
    },
  );

  test.concurrent.each([[[]], [[""]], [["bin", "more"]]])(
    "wants one directory, not %p",
    async (operands) => {
      await using box = new Sandbox();
      mkdirSync(join(box.directory, "bin"));
      expect(await box.run([BINARY, "--install", ...operands])).toEqual(
        wrongUsage("sysmgr"),
      );
      expect(readdirSync(join(box.directory, "bin"))).toEqual([]);
    },
  );
});

describe("help and version", () => {
  const help = APPLETS.flatMap((applet) =>
    ["-h", "--help"].map((option) => [applet, option] as const),
  );

  test.concurrent.each(help)("%s %s is on stdout", async (applet, option) => {
    await using box = new Sandbox();
    const { code, out, err } = await box.run([join(DIST, applet), option]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toStartWith(`usage: ${applet} `);
    for (const word of ["--sysdir", "--rundir", "--help", "--version"])
      expect(out).toContain(word);
  });

  test.concurrent.each(APPLETS)(
    "%s --version is sysmgr and three numbers",
    async (applet) => {
      await using box = new Sandbox();
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
      const outcome = await box.run([join(DIST, applet), "--version"]);
      expect(outcome).toEqual({ code: 0, out: `sysmgr ${version}\n`, err: "" });
    },
  );

  test.concurrent("svctl --help has every operation", async () => {
    await using box = new Sandbox();
    const { out } = await box.svctl("--help");
    const operations =
      "start up stop down restart kill once signal reload status stat";
    for (const operation of operations.split(" "))
      expect(out).toMatch(new RegExp(`\\b${operation}\\b`));
  });

  test.concurrent("help that cannot be written has failed", async () => {
    await using box = new Sandbox();
    const { code } = await box.run(["sh", "-c", "svctl --help >/dev/full"]);
    expect(code).toBe(1);
  });
});

describe("a wrong command line: one line, a usage line, exit 2, and nothing is done", () => {
  /** Arguments that are wrong for every applet; `OK` stands for what would be right otherwise. */
  const ANYWHERE = [
    ["--nope", "OK"],
    ["--nope=1", "OK"],
    ["-x", "OK"],
    ["-qx", "OK"],
    ["OK", "--nope"],
    ["--constructor", "OK"],
    ["--__proto__=x", "OK"],
    ["--no-help", "OK"],
    ["--help=yes", "OK"],
    ["-s"],
    ["OK", "-r"],
    ["OK", "--rundir"],
    ["-s", "", "OK"],
    ["-r", "", "OK"],
    ["--sysdir=", "OK"],
    ["--rundir=", "OK"],
    ["--\u001b[31m\nred", "OK"],
  ];
  const NO_SECONDS = [
    "abc",
    "-1",
    "",
    "nan",
    "NaN",
    "Infinity",
    "1e3",
    "0x10",
    "1s",
    "1,5",
    " 1",
    "1 2",
    "--5",
    "\n",
  ];

  const SVCTL = [
    [],
    ["frobnicate"],
    ["frobnicate", "a"],
    [""],
    ["constructor", "a"],
    ["toString", "a"],
    ["STOP", "a"],
    ["start"],
    ["stop"],
    ["restart"],
    ["kill"],
    ["once"],
    ["reload"],
    ["signal"],
    ["signal", "HUP"],
    ["signal", "a"],
    ["signal", "NOPE", "a"],
    ["signal", "SIG", "a"],
    ["signal", "", "a"],
    ["signal", "0", "a"],
    ["signal", "65", "a"],
    ["signal", "999999999999", "a"],
    ["signal", "9x", "a"],
    ["signal", "-9", "a"],
    ["stop", ""],
    ["stop", "/"],
    ["stop", "a", ""],
    ["--no-wait=1", "stop", "a"],
    ["--no-quiet", "stop", "a"],
    ["-w", "stop"],
    ...NO_SECONDS.map((value) => ["-w", value, "stop", "a"]),
    ["-wabc", "stop", "a"],
    ["-w", "abc", "status"],
    ["-w", "-1", "status"],
    ["stop", "a", "-w"],
    ...ANYWHERE.map((words) =>
      words.flatMap((word) => (word === "OK" ? ["stop", "a"] : [word])),
    ),
  ];

  test.concurrent.each(SVCTL.map((words) => [words]))(
    "svctl %p",
    async (words) => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      await box.start();
      const pid = await box.up("a");
      expect(await box.svctl(...words)).toEqual(wrongUsage("svctl"));
      expect(box.state("a", "lock")).toBeUndefined();
      expect(box.pid("a")).toBe(pid);
      expect(readdirSync(box.rundir).sort()).toEqual(["a", "pid"]);
    },
  );

  const SYSMGR = [
    ["more"],
    [""],
    ["svctl", "status"],
    ...NO_SECONDS.map((value) => ["-t", value]),
    ["-t"],
    ["--timeout="],
    ["-q"],
    ["-tabc"],
    ...ANYWHERE.map((words) => words.filter((word) => word !== "OK")),
  ];

  test.concurrent.each(SYSMGR.map((words) => [words]))(
    "sysmgr %p",
    async (words) => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      expect(await box.run([BINARY, ...words])).toEqual(wrongUsage("sysmgr"));
      expect(existsSync(box.rundir)).toBeFalse();
    },
  );

  const DEPENDS = [
    [],
    ["-q"],
    ...NO_SECONDS.map((value) => ["-t", value, "a"]),
    ["-t"],
    ["-t", "1"],
    ["--timeout=", "a"],
    ...ANYWHERE.map((words) =>
      words.map((word) => (word === "OK" ? "a" : word)),
    ),
  ];

  test.concurrent.each(DEPENDS.map((words) => [words]))(
    "sysmgr-depends %p",
    async (words) => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      expect(await box.depends(...words)).toEqual(wrongUsage("sysmgr-depends"));
      expect(existsSync(box.rundir)).toBeFalse();
    },
  );

  test.concurrent.each([
    ["sysmgr", []],
    ["svctl", ["stop", "a"]],
  ] as [string, string[]][])(
    "%s with a SYSMGR_STOP_TIMEOUT that is none",
    async (applet, words) => {
      await using box = new Sandbox();
      const command = [join(DIST, applet), ...words];
      const outcome = await box.run(command, { SYSMGR_STOP_TIMEOUT: "soon" });
      expect(outcome).toEqual(wrongUsage(applet));
      expect(outcome.err).toMatch(/SYSMGR_STOP_TIMEOUT.*'soon'/);
      expect(existsSync(box.rundir)).toBeFalse();
    },
  );

  test.concurrent.each([
    ["svctl", ["-w", "abc", "status"], ["-w", "'abc'"]],
    ["svctl", ["--nope", "status"], ["--nope"]],
    ["svctl", ["frob", "a"], ["'frob'"]],
    ["svctl", ["signal", "NOPE", "a"], ["'NOPE'"]],
    ["sysmgr", ["-t", "-1"], ["timeout", "'-1'"]],
    ["sysmgr-depends", ["-t", "x", "a"], ["timeout", "'x'"]],
  ] as [string, string[], string[]][])(
    "%s %p names what is wrong",
    async (applet, words, named) => {
      await using box = new Sandbox();
      const { err } = await box.run([join(DIST, applet), ...words]);
      const [message] = err.split("\n");
      for (const fact of named) expect(message).toContain(fact);
    },
  );
});

describe("options may stand", () => {
  test.concurrent.each([
    [["-q", "-w5", "stop", "a"]],
    [["-qw", "5", "stop", "a"]],
    [["stop", "-q", "--seconds=5", "a"]],
    [["stop", "a", "-w", "0.5e0".replace("e0", ""), "-q"]],
    [["-q", "--", "stop", "a"]],
    [["stop", "--", "a"]],
  ])("anywhere: svctl %p", async (words) => {
    await using box = new Sandbox();
    box.script("a", "exec sleep 1000");
    await box.start();
    await box.up("a");
    expect(await box.svctl(...words)).toEqual(DONE);
    expect(box.state("a", "lock")).toBe("TERM");
  });
});

describe("an option beats the environment, the environment beats the default", () => {
  const NOWHERE = { SYSDIR: "/nonexistent/sv", RUNDIR: "/nonexistent/run" };

  test.concurrent("sysmgr -s -r", async () => {
    await using box = new Sandbox();
    box.script("a", "env > $DIR/env; exec sleep 1000");
    await box.start(["-s", box.sysdir, "-r", box.rundir], NOWHERE);
    await box.up("a");
    const environment = await until(
      () => box.read("env"),
      "the service has written its environment",
    );
    expect(`\n${environment}`).toContain(`\nSYSDIR=${box.sysdir}\n`);
    expect(`\n${environment}`).toContain(`\nRUNDIR=${box.rundir}\n`);
  });

  test.concurrent(
    "sysmgr --sysdir= --rundir= relative to where it was started",
    async () => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      await box.start(["--sysdir=sv", "--rundir=./run/"], NOWHERE);
      await box.up("a");
      expect(
        (await box.svctl("-s", "sv/", "-r", "run", "status")).out,
      ).toStartWith("a: UP");
    },
  );

  test.concurrent("svctl -s -r", async () => {
    await using box = new Sandbox();
    box.script("a", "exec sleep 1000");
    await box.start();
    await box.up("a");
    const options = ["-s", box.sysdir, "-r", box.rundir];
    const outcome = await box.run(
      [join(DIST, "svctl"), ...options, "stop", "a"],
      NOWHERE,
    );
    expect(outcome).toEqual(DONE);
    expect(box.pid("a")).toBeUndefined();
  });

  test.concurrent("sysmgr-depends -s -r", async () => {
    await using box = new Sandbox();
    box.script("a", "exec sleep 1000");
    await box.start();
    await box.up("a");
    const options = ["-s", box.sysdir, "-r", box.rundir, "-t", "9"];
    const outcome = await box.run(
      [join(DIST, "sysmgr-depends"), ...options, "a"],
      NOWHERE,
    );
    expect(outcome).toEqual(DONE);
  });

  test.concurrent("without either: /var/sysmgr and /run/sysmgr", async () => {
    await using box = new Sandbox();
    const bare = without("SYSDIR", "RUNDIR");
    const sysdir = await box.run([
      ...bare,
      "sysmgr-depends",
      "no-such-service",
    ]);
    expect(sysdir).toEqual(
      failure("sysmgr-depends", "no-such-service", "/var/sysmgr"),
    );
    const rundir = await box.run([
      ...bare,
      "svctl",
      "-s",
      box.sysdir,
      "stop",
      "no-such-service",
    ]);
    if (!existsSync("/run/sysmgr"))
      expect(rundir).toEqual(failure("svctl", "/run/sysmgr"));
  });

  const STUBBORN =
    'trap "" TERM; touch $DIR/ready; while :; do sleep 0.05; done';

  async function secondsToStop(
    options: string[],
    environment: Record<string, string>,
  ): Promise<number> {
    await using box = new Sandbox();
    box.script("a", STUBBORN);
    await box.start(options, environment);
    await box.up("a");
    await until(() => box.read("ready") !== undefined, "it ignores TERM");
    const begun = performance.now();
    box.lock("a", "TERM");
    await box.down("a");
    expect(box.state("a", "exit")).toBe("SIGKILL");
    return (performance.now() - begun) / 1000;
  }

  test.concurrent("stop timeout: the environment", async () => {
    const seconds = await secondsToStop([], { SYSMGR_STOP_TIMEOUT: "0.7" });
    expect(seconds).toBeGreaterThan(0.69);
    expect(seconds).toBeLessThan(8);
  });

  test.concurrent("stop timeout: the option", async () => {
    const seconds = await secondsToStop(["-t", "0.7"], {
      SYSMGR_STOP_TIMEOUT: "50",
    });
    expect(seconds).toBeGreaterThan(0.69);
    expect(seconds).toBeLessThan(8);
  });

  test.concurrent("stop timeout: KILL at once with 0", async () => {
    expect(await secondsToStop(["--timeout=0"], {})).toBeLessThan(5);
  });

  test.concurrent(
    "stop timeout: ten seconds, and svctl waits for it",
    async () => {
      await using box = new Sandbox();
      box.script("a", STUBBORN);
      await box.start();
      await box.up("a");
      await until(() => box.read("ready") !== undefined, "it ignores TERM");
      const begun = performance.now();
      expect(await box.svctl("stop", "a")).toEqual(DONE);
      const seconds = (performance.now() - begun) / 1000;
      expect(seconds).toBeGreaterThan(9.9);
      expect(seconds).toBeLessThan(12);
    },
  );

  test.concurrent(
    "svctl waits for the stop timeout of its environment plus two seconds",
    async () => {
      await using box = new Sandbox();
      box.script("a", STUBBORN);
      await box.start();
      await box.up("a");
      await until(() => box.read("ready") !== undefined, "it ignores TERM");
      const outcome = await box.run(["svctl", "stop", "a"], {
        SYSMGR_STOP_TIMEOUT: "0.5",
      });
      expect(outcome).toEqual({
        code: 1,
        out: "",
        err: "svctl: a: still running after 2.5 s\n",
      });
    },
  );
});

describe("no file is read for configuration", () => {
  /** Leaves a trace when anything loads it. */
  const EVIL =
    'require("node:fs").writeFileSync(process.env.DIR + "/loaded", "");\n';
  const HOSTILE: Readonly<Record<string, string>> = {
    ".env":
      "SYSDIR=/evil\nRUNDIR=/evil\nSYSMGR_STOP_TIMEOUT=evil\nEVIL=1\nBUN_OPTIONS=--preload=./evil.cjs\n",
    ".env.local": "EVIL=1\n",
    ".env.production": "EVIL=1\n",
    ".env.development": "EVIL=1\n",
    "evil.cjs": EVIL,
    "bunfig.toml":
      'preload = ["./evil.cjs"]\nlogLevel = "debug"\n[run]\nbun = true\n[define]\n"process.env.SYSDIR" = "\'/evil\'"\n',
    ".bunfig.toml": 'preload = ["./evil.cjs"]\n',
    "package.json":
      '{ "type": "commonjs", "main": "evil.cjs", "imports": { "#x": "./evil.cjs" }, garbage',
    "tsconfig.json":
      '{ "extends": "./nowhere", "compilerOptions": { "paths": { "*": ["./evil.cjs"] } }, garbage',
    "jsconfig.json": "garbage",
    ".npmrc": "garbage=${",
    ".sysmgrrc": "garbage",
    "sysmgr.conf": "garbage",
  };

  function plantHostileFiles(box: Sandbox): void {
    for (const [name, content] of Object.entries(HOSTILE))
      writeFileSync(join(box.directory, name), content);
  }

  test.concurrent(
    "wherever it is started from and whatever HOME is",
    async () => {
      await using box = new Sandbox();
      plantHostileFiles(box);
      const home = { HOME: box.directory, XDG_CONFIG_HOME: box.directory };
      box.script("a", "env > $DIR/env; exec sleep 1000");
      const daemon = await box.start([], home);
      await box.up("a");
      expect(await box.run(["svctl", "restart", "a"], home)).toEqual(DONE);
      expect((await box.run(["svctl", "status"], home)).out).toMatch(
        /^a: UP \(pid \d+, \d+s\)\n$/,
      );
      expect(await box.run(["sysmgr-depends", "a"], home)).toEqual(DONE);
      expect(await until(() => box.read("env"), "it runs")).not.toContain(
        "EVIL",
      );
      expect(box.read("loaded")).toBeUndefined();
      daemon.kill("SIGTERM");
      expect(await daemon.exited).toBe(0);
      for (const line of box.log().trimEnd().split("\n"))
        expect(line).toStartWith("sysmgr: ");
    },
  );

  test.concurrent("nor where there is nothing in the environment", async () => {
    await using box = new Sandbox();
    plantHostileFiles(box);
    const outcome = await box.run([
      "env",
      "-i",
      join(DIST, "sysmgr-depends"),
      "nosuch",
    ]);
    expect(outcome).toEqual(failure("sysmgr-depends", "nosuch", "/var/sysmgr"));
  });
});

describe("no environment variable makes anything else of it", () => {
  const EVIL = 'require("node:fs").writeFileSync("loaded", "");\n';
  /** Bun without the static build's start-up code obeys these. */
  const BUN_OBEYS = [
    ["NODE_CHANNEL_FD", "2"],
    ["BUN_OPTIONS", "--cwd=/"],
    ["BUN_BE_BUN", "1"],
    ["BUN_OPTIONS", "--version"],
    ["BUN_OPTIONS", "--help"],
    ["BUN_OPTIONS", "--revision"],
  ] as const;
  /** With these it refuses to start, which is bad enough, but runs nothing that is not its own. */
  const BUN_REFUSES = [
    ["BUN_OPTIONS", "--preload=./evil.cjs"],
    ["BUN_OPTIONS", "--config=./evil.toml"],
    ["BUN_INSPECT", "ws://127.0.0.1:1/x?break=1"],
    ["BUN_INSPECT_CONNECT_TO", "ws://127.0.0.1:1/"],
    ["BUN_INSPECT_PRELOAD", "./evil.cjs"],
    ["BUN_JSC_nonsense", "1"],
  ] as const;
  const HARMLESS = [
    ["BUN_OPTIONS", "--eval=1"],
    ["BUN_OPTIONS", "--print=1"],
    ["BUN_OPTIONS", "--inspect-brk"],
    ["BUN_OPTIONS", "--smol --nope"],
    ["BUN_INSPECT_NOTIFY", "unix:///nonexistent"],
    ["BUN_CONFIG_VERBOSE_FETCH", "curl"],
    ["BUN_DEBUG_QUIET_LOGS", "0"],
    ["NODE_OPTIONS", "--require ./evil.cjs"],
    ["NODE_ENV", "development"],
    ["NODE_PATH", "."],
    ["NODE_DEBUG", "*"],
    ["DEBUG", "*"],
    ["TEST", "1"],
    ["CI", "1"],
    ["CONSOLA_LEVEL", "-999"],
    ["FORCE_COLOR", "3"],
    ["TZ", "Nowhere/Land"],
    ["LANG", "de_DE.UTF-8"],
  ] as const;

  function plantEvil(box: Sandbox): void {
    writeFileSync(join(box.directory, "evil.cjs"), EVIL);
    writeFileSync(
      join(box.directory, "evil.toml"),
      'preload = ["./evil.cjs"]\n',
    );
  }

  async function expectSysmgr(name: string, value: string): Promise<void> {
    await using box = new Sandbox();
    plantEvil(box);
    const environment = { [name]: value };
    const told = await box.run([BINARY, "--version"], environment);
    expect(told).toEqual({ code: 0, out: `sysmgr ${version}\n`, err: "" });
    const refused = await box.run(["sysmgr-depends", "nosuch"], environment);
    expect(refused).toEqual(failure("sysmgr-depends", "nosuch"));
    const wrong = await box.run(["svctl", "frob"], environment);
    expect(wrong).toEqual(wrongUsage("svctl"));
    expect(box.read("loaded")).toBeUndefined();
  }

  test.concurrent.each(HARMLESS)("not %s=%s", expectSysmgr);

  const onlyStatic = IS_STATIC
    ? ""
    : " (skipped: dist/sysmgr is not the static build)";
  const withOwnStart = IS_STATIC ? test.concurrent : test.skip;
  withOwnStart.each([...BUN_REFUSES, ...BUN_OBEYS])(
    `not %s=%s${onlyStatic}`,
    expectSysmgr,
  );

  test.concurrent.each(BUN_REFUSES)(
    "nor does it run anything or listen for it with %s=%s",
    async (name, value) => {
      await using box = new Sandbox();
      plantEvil(box);
      const told = await box.run([BINARY, "--version"], { [name]: value });
      expect(["", `sysmgr ${version}\n`]).toContain(told.out);
      expect(box.read("loaded")).toBeUndefined();
    },
  );

  test.concurrent(
    "and in a hostile environment services get it unchanged",
    async () => {
      await using box = new Sandbox();
      plantEvil(box);
      const hostile = IS_STATIC
        ? [...HARMLESS, ...BUN_REFUSES, ...BUN_OBEYS]
        : HARMLESS;
      box.script("a", "env > $DIR/env; pwd > $DIR/cwd; exec sleep 1000");
      await box.start([], Object.fromEntries(hostile));
      const environment = await until(
        () => box.read("env"),
        "the service has written its environment",
      );
      for (const [name, value] of Object.entries(Object.fromEntries(hostile)))
        expect(environment.split("\n")).toContain(`${name}=${value}`);
      expect(await box.stop()).toBe(0);
      expect(box.read("cwd")).toBe(`${box.directory}\n`);
      expect(box.read("loaded")).toBeUndefined();
      for (const line of box.log().trimEnd().split("\n"))
        expect(line).toMatch(/^sysmgr: \P{Cc}+$/u);
    },
  );
});

describe("what fails is one line that names what is at fault", () => {
  test.concurrent("SYSDIR is missing", async () => {
    await using box = new Sandbox();
    const nowhere = join(box.directory, "nowhere");
    expect(await box.run([BINARY, "-s", nowhere])).toEqual(
      failure("sysmgr", nowhere),
    );
    expect(existsSync(box.rundir)).toBeFalse();
  });

  test.concurrent("SYSDIR is a file", async () => {
    await using box = new Sandbox();
    expect(await box.run([BINARY, "-s", "/etc/passwd"])).toEqual(
      failure("sysmgr", "/etc/passwd"),
    );
    expect(existsSync(box.rundir)).toBeFalse();
  });

  test.concurrent("svctl cannot read SYSDIR", async () => {
    await using box = new Sandbox();
    expect(await box.svctl("-s", "/nonexistent", "status")).toEqual(
      failure("svctl", "/nonexistent"),
    );
    expect(await box.svctl("-s", "/etc/passwd", "status")).toEqual(
      failure("svctl", "/etc/passwd"),
    );
  });

  test.concurrent("RUNDIR is a file", async () => {
    await using box = new Sandbox();
    box.script("a", "exec sleep 1000");
    const outcome = await box.svctl("-r", "/etc/passwd", "stop", "a");
    expect(outcome).toEqual(failure("svctl", "/etc/passwd"));
  });

  test.concurrent("a path that no system has", async () => {
    await using box = new Sandbox();
    const long = `/${"x".repeat(5000)}`;
    for (const applet of ["sysmgr", "svctl"]) {
      const words = applet === "svctl" ? ["status"] : [];
      const { code, out, err } = await box.run([
        join(DIST, applet),
        "-s",
        long,
        ...words,
      ]);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toMatch(new RegExp(`^${applet}: /xxx[^\\n]{1,6000}\\n$`));
    }
  });

  test.concurrent("a path with what a terminal would obey", async () => {
    await using box = new Sandbox();
    const outcome = await box.svctl(
      "-s",
      "/\u001b[31m\nsvctl: all is well",
      "status",
    );
    expect(outcome).toEqual(failure("svctl", "all is well"));
  });

  test.concurrent(
    "stdout that cannot be written makes status fail",
    async () => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      await box.start();
      await box.up("a");
      expect((await box.svctl("status")).code).toBe(0);
      const { code } = await box.run(["sh", "-c", "svctl status >/dev/full"]);
      expect(code).toBe(1);
    },
  );

  test.concurrent(
    "closed descriptors keep nothing from being done",
    async () => {
      await using box = new Sandbox();
      box.script("a", "exec sleep 1000");
      await box.start();
      await box.up("a");
      const closed = await box.run(["sh", "-c", "svctl stop a <&- >&- 2>&-"]);
      expect(closed).toEqual(DONE);
      expect(box.pid("a")).toBeUndefined();
      expect(
        (await box.run(["sh", "-c", "svctl stop nosuch >&- 2>&-"])).code,
      ).toBe(1);
    },
  );
});
