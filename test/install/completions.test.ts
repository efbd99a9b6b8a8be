/** The completions, as somebody at a terminal gets them: words are typed, TAB is pressed, the line is run. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { until } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";

const COMPLETIONS = join(import.meta.dir, "../../src/completions");
const OPERATIONS =
  "down kill once reload restart signal start stat status stop up";

/** A shell with completion, and how to define a command in it that says what it was given. */
interface Shell {
  readonly command: readonly string[];
  readonly setup: string;
  define(name: string): string;
}

const posixDefine = (name: string) =>
  `${name}() { printf '<%s>' GOT "$@" END; echo; }`;

const SHELLS: Readonly<Record<string, Shell>> = {
  bash: {
    command: ["bash", "--norc", "--noprofile", "-i"],
    setup: `. ${COMPLETIONS}/sysmgr.bash; bind 'set bell-style none'`,
    define: posixDefine,
  },
  zsh: {
    command: ["zsh", "-f", "-i"],
    setup: `fpath=(${COMPLETIONS} $fpath); autoload -U compinit; compinit -D -u`,
    define: posixDefine,
  },
  fish: {
    command: ["fish", "--no-config", "--private", "-i"],
    setup: `source ${COMPLETIONS}/sysmgr.fish`,
    define: (name) =>
      `function ${name}; printf '<%s>' GOT $argv END; echo; end`,
  },
};

const KEYS: readonly {
  readonly name: string;
  readonly typed: string;
  readonly given: readonly string[];
}[] = [
  {
    name: "an operation and a service",
    typed: "svctl rest\tw\t",
    given: ["restart", "web"],
  },
  {
    name: "a signal after signal, then a service",
    typed: "svctl signal KI\tdb\t",
    given: ["signal", "KILL", "dbus"],
  },
  {
    name: "an option first",
    typed: "svctl --js\tstatu\tdb\t",
    given: ["--json", "status", "dbus"],
  },
  {
    name: "several services",
    typed: "svctl stop db\tw\t",
    given: ["stop", "dbus", "web"],
  },
  {
    name: "a service with a blank in its name",
    typed: "svctl once two\t",
    given: ["once", "two words"],
  },
  {
    name: "nothing hidden",
    typed: "svctl down .h\t",
    given: ["down", ".h"],
  },
  {
    name: "services of the directory after -s",
    typed: "svctl -s other kill el\t",
    given: ["-s", "other", "kill", "elsewhere"],
  },
  {
    name: "services of the directory after --sysdir=",
    typed: "svctl --sysdir=other kill el\t",
    given: ["--sysdir=other", "kill", "elsewhere"],
  },
  {
    name: "the directory itself",
    typed: "sysmgr -s oth\t",
    given: ["-s", "other"],
  },
  {
    name: "services for sysmgr-depends, also after a value",
    typed: "sysmgr-depends -t 5 w\t",
    given: ["-t", "5", "web"],
  },
  {
    name: "an option of sysmgr",
    typed: "sysmgr --lis\t",
    given: ["--list"],
  },
];

let directory: TemporaryDirectory;

beforeAll(() => {
  directory = new TemporaryDirectory();
  directory.directory("sv");
  directory.directory("other");
  directory.directory("sv/directory");
  for (const name of ["web", "dbus", "two words", ".hidden"])
    directory.file(`sv/${name}`, "", 0o755);
  directory.file("other/elsewhere", "", 0o755);
});

afterAll(() => directory[Symbol.dispose]());

for (const [name, shell] of Object.entries(SHELLS)) {
  const missing = Bun.which(name) === null;
  describe.skipIf(missing)(
    missing ? `skipped: ${name} is not installed` : name,
    () => {
      for (const keys of KEYS)
        test(`completes ${keys.name}`, async () => {
          expect(await typeInto(shell, keys.typed)).toEqual([...keys.given]);
        });
    },
  );
}

/** Types a line into a shell, and gives the arguments that the command got. */
async function typeInto(shell: Shell, line: string): Promise<string[]> {
  let output = "";
  const child = Bun.spawn([...shell.command], {
    cwd: directory.path,
    env: {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: directory.path,
      TERM: "xterm",
      SYSDIR: directory.at("sv"),
    },
    terminal: {
      cols: 200,
      data: (_, data) => {
        output += new TextDecoder().decode(data);
      },
    },
  });
  try {
    const commands = ["svctl", "sysmgr", "sysmgr-depends"];
    const define = commands.map((each) => shell.define(each)).join("; ");
    child.terminal?.write(`${define}; ${shell.setup}; printf 'RE%s\\n' ADY\r`);
    await until(() => output.includes("READY"), "the shell is set up");
    child.terminal?.write(`${line}\r`);
    const answer = await until(
      () => /<GOT>(.*)<END>/.exec(output),
      `the command has run; the terminal shows:\n${output}`,
    );
    return [...(answer[1] ?? "").matchAll(/<(.*?)>/g)].map(
      // Whether the slash after a directory stays is the shell's affair.
      ([, word = ""]) => word.replace(/\/$/, ""),
    );
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    child.terminal?.close();
  }
}

describe("in bash, for the words of a line,", () => {
  test("offers every operation", () => {
    expect(offered("svctl", "")).toBe(OPERATIONS);
  });

  test("offers every service, and what is none is not offered", () => {
    expect(offered("svctl", "stop", "")).toBe("dbus two\\ words web");
    expect(offered("sysmgr-depends", "")).toBe("dbus two\\ words web");
  });

  test("offers the signals and not the services", () => {
    const signals = offered("svctl", "signal", "").split(" ");
    expect(signals).toContain("TERM");
    expect(signals).not.toContain("web");
  });

  test("offers nothing for a number of seconds", () => {
    expect(offered("svctl", "-w", "")).toBe("");
  });

  test.each(["sysmgr", "svctl", "sysmgr-depends"])(
    "offers for %s the options that its help shows",
    async (applet) => {
      const binary = join(import.meta.dir, "../../dist", applet);
      const help = Bun.spawnSync([binary, "--help"]).stdout.toString();
      const options = [...help.matchAll(/^ {2}.{4}(--[a-z-]+)/gm)].map(
        ([, option]) => option,
      );
      const shown = offered(applet, "--").split(" ");
      expect(options.length).toBeGreaterThan(4);
      for (const option of options) expect(shown).toContain(String(option));
    },
  );
});

/** What bash would offer, sorted and with blanks between. */
function offered(...words: readonly string[]): string {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const { stdout, stderr } = Bun.spawnSync(
    [
      "bash",
      "-c",
      `. ${COMPLETIONS}/sysmgr.bash
COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}
_sysmgr ${words[0]}
printf '%s\\n' "\${COMPREPLY[@]}" | LC_ALL=C sort`,
    ],
    { env: { ...process.env, SYSDIR: directory.at("sv") } },
  );
  expect(stderr.toString()).toBe("");
  return stdout.toString().trim().replaceAll("\n", " ");
}
