/** install.sh, under both shells that it is for, with a stand-in for the binary where it need not run. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { layOut } from "../../src/release/contents.ts";
import { isRunning } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";

const ROOT = join(import.meta.dir, "../..");
const NOBODY = 65_534;
const SHELLS: Readonly<Record<string, readonly string[]>> = {
  dash: ["dash"],
  "busybox ash": ["busybox", "sh"],
};
const INITS: Readonly<Record<string, readonly string[]>> = {
  busybox: [],
  sysvinit: [],
  openrc: ["/etc/init.d/sysmgr"],
  runit: ["/etc/sv/sysmgr/control/k", "/etc/sv/sysmgr/run"],
  s6: ["/etc/s6/sv/sysmgr/run", "/etc/s6/sv/sysmgr/type"],
  dinit: ["/etc/dinit.d/sysmgr"],
  systemd: ["/usr/lib/systemd/system/sysmgr.service"],
  carbs: ["/etc/init/sysmgr.boot", "/etc/init/sysmgr.pre.shutdown"],
  kiss: ["/etc/rc.d/sysmgr.boot", "/etc/rc.d/sysmgr.pre.shutdown"],
};
const COOKBOOK = readdirSync(join(ROOT, "src/cookbook"))
  .sort()
  .map(
    (name) =>
      `/usr/share/sysmgr/cookbook/${name} ${name === "README.md" ? 644 : 755}`,
  );
const EVERYTHING = [
  "/usr/bin/svctl -> sysmgr",
  "/usr/bin/sysmgr 755",
  "/usr/bin/sysmgr-depends -> sysmgr",
  "/usr/share/bash-completion/completions/svctl -> sysmgr",
  "/usr/share/bash-completion/completions/sysmgr 644",
  "/usr/share/bash-completion/completions/sysmgr-depends -> sysmgr",
  "/usr/share/fish/vendor_completions.d/svctl.fish -> sysmgr.fish",
  "/usr/share/fish/vendor_completions.d/sysmgr-depends.fish -> sysmgr.fish",
  "/usr/share/fish/vendor_completions.d/sysmgr.fish 644",
  "/usr/share/man/man1/svctl.1 644",
  "/usr/share/man/man1/sysmgr-depends.1 644",
  "/usr/share/man/man8/sysmgr.8 644",
  ...COOKBOOK,
  "/usr/share/sysmgr/init/busybox/inittab 644",
  "/usr/share/sysmgr/init/dinit/sysmgr 644",
  "/usr/share/sysmgr/init/hooks/sysmgr.boot 644",
  "/usr/share/sysmgr/init/hooks/sysmgr.pre.shutdown 644",
  "/usr/share/sysmgr/init/openrc/sysmgr 755",
  "/usr/share/sysmgr/init/runit/control/k 755",
  "/usr/share/sysmgr/init/runit/run 755",
  "/usr/share/sysmgr/init/s6/run 755",
  "/usr/share/sysmgr/init/s6/type 644",
  "/usr/share/sysmgr/init/stop 755",
  "/usr/share/sysmgr/init/systemd/sysmgr.service 644",
  "/usr/share/sysmgr/init/sysvinit/inittab 644",
  "/usr/share/sysmgr/manifest 644",
  "/usr/share/zsh/site-functions/_sysmgr 644",
];

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let directory: TemporaryDirectory;
/** A root with a blank in its name, as all are that follow. */
let destdir: string;
let archive: string;

beforeEach(() => {
  directory = new TemporaryDirectory();
  destdir = directory.at("a root");
  archive = directory.at("sysmgr 1.0.0");
  const binary = directory.file(
    "binary",
    "#!/bin/sh\necho sysmgr 1.0.0\n",
    0o755,
  );
  layOut(ROOT, binary, "x64", archive);
});

afterEach(() => directory[Symbol.dispose]());

describe.each(Object.entries(SHELLS))("under %s, install.sh", (_, shell) => {
  function run(
    parameters: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    through: readonly string[] = [],
    script = join(archive, "install.sh"),
  ): Result {
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      [...through, ...shell, script, ...parameters],
      {
        cwd: directory.path,
        env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", ...environment },
      },
    );
    return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
  }

  function install(...parameters: readonly string[]): Result {
    return run(["--destdir", destdir, ...parameters]);
  }

  /** Installs where that cannot but work. */
  function installed(...parameters: readonly string[]): Result {
    const result = install(...parameters);
    expect(result).toMatchObject({ code: 0, err: "" });
    return result;
  }

  test("installs everything, and makes the service directory", () => {
    installed();
    expect(files()).toEqual(EVERYTHING);
    expect(lstatSync(join(destdir, "var/sysmgr")).isDirectory()).toBe(true);
    expect(readFileSync(join(destdir, "usr/bin/sysmgr"))).toEqual(
      readFileSync(join(archive, "sysmgr")),
    );
  });

  test("installs the same under any umask", () => {
    const [program = "", ...rest] = shell;
    const command = `umask 077; exec "$0" "$@"`;
    const through = ["sh", "-c", command, program, ...rest];
    const { exitCode } = Bun.spawnSync([
      ...through,
      join(archive, "install.sh"),
      "--destdir",
      destdir,
    ]);
    expect(exitCode).toBe(0);
    expect(files()).toEqual(EVERYTHING);
    expect(lstatSync(join(destdir, "var/sysmgr")).mode & 0o777).toBe(0o755);
  });

  test("changes nothing when it is run twice", () => {
    installed("--init", "runit");
    const before = snapshot();
    const { out } = installed("--init", "runit");
    expect(out).toContain("everything is in place already");
    expect(snapshot()).toEqual(before);
  });

  test("with --dry-run says what it would do and does nothing", () => {
    mkdirSync(destdir);
    const { out } = installed("--dry-run", "--init", "openrc");
    expect(readdirSync(destdir)).toEqual([]);
    const said = out.split("\n");
    expect(said).toContain(`would install ${destdir}/usr/bin/sysmgr`);
    expect(said).toContain(`would install ${destdir}/etc/init.d/sysmgr`);
    expect(said).toContain(`would make ${destdir}/var/sysmgr/`);
  });

  test("with --dry-run does not even make the root", () => {
    installed("--dry-run");
    expect(existsSync(destdir)).toBe(false);
  });

  test("puts everything where it is told to", () => {
    installed(
      "--prefix=/opt/x/",
      "--bindir=/sbin",
      "--mandir=/opt/man",
      "--sysdir=/srv/sv",
    );
    expect(files("sbin")).toEqual([
      "/sbin/svctl -> sysmgr",
      "/sbin/sysmgr 755",
      "/sbin/sysmgr-depends -> sysmgr",
    ]);
    expect(files("opt/man")).toEqual([
      "/opt/man/man1/svctl.1 644",
      "/opt/man/man1/sysmgr-depends.1 644",
      "/opt/man/man8/sysmgr.8 644",
    ]);
    expect(existsSync(join(destdir, "opt/x/share/sysmgr/manifest"))).toBe(true);
    expect(existsSync(join(destdir, "usr"))).toBe(false);
    expect(existsSync(join(destdir, "srv/sv"))).toBe(true);
    expect(existsSync(join(destdir, "var"))).toBe(false);
  });

  test("writes the directories into everything that names them", () => {
    installed(
      "--prefix=/opt",
      "--sysdir=/data/var/sysmgr/x",
      "--rundir=/x/run/sysmgr",
    );
    const options = "-s /data/var/sysmgr/x -r /x/run/sysmgr";
    const init = (name: string) => read(`opt/share/sysmgr/init/${name}`);
    for (const name of [
      "busybox/inittab",
      "sysvinit/inittab",
      "runit/run",
      "s6/run",
      "dinit/sysmgr",
      "systemd/sysmgr.service",
      "hooks/sysmgr.boot",
    ])
      expect(init(name)).toContain(`/opt/bin/sysmgr ${options}\n`);
    expect(init("openrc/sysmgr")).toContain("\ncommand=/opt/bin/sysmgr\n");
    expect(init("openrc/sysmgr")).toContain(`\ncommand_args="${options}"\n`);
    expect(init("stop")).toContain("[ -e /x/run/sysmgr/pid ]");
    expect(init("busybox/inittab")).toContain(
      "::shutdown:/opt/share/sysmgr/init/stop\n",
    );
    expect(read("opt/share/bash-completion/completions/sysmgr")).toContain(
      ":-/data/var/sysmgr/x}",
    );
    for (const name of files().flatMap((line) => line.split(" ")[0] ?? []))
      if (!name.includes("/man/") && existsSync(join(destdir, name)))
        expect(read(name)).not.toMatch(
          /\/usr\/bin\/sysmgr|[^a]\/var\/sysmgr|[^x]\/run\/sysmgr|%[bdrs]%/,
        );
  });

  test("installs the files for init as they are in the sources where nothing else is asked for", () => {
    installed();
    for (const name of ["stop", "busybox/inittab", "openrc/sysmgr", "s6/run"])
      expect(read(`usr/share/sysmgr/init/${name}`)).toBe(
        readFileSync(join(ROOT, "src/init", name), "utf8"),
      );
  });

  test.each(Object.entries(INITS))(
    "with --init %s puts it where that looks",
    (init, expected) => {
      const { out } = installed("--init", init);
      const rest = files().map((line) => line.split(" ")[0] ?? "");
      const usual = EVERYTHING.map((line) => line.split(" ")[0] ?? "");
      expect(rest.filter((path) => !usual.includes(path))).toEqual([
        ...expected,
      ]);
      if (expected.length === 0)
        expect(out).toContain(`/usr/share/sysmgr/init/${init}/inittab`);
    },
  );

  test("puts the completion for zsh where Debian's looks, where there is such a place", () => {
    const place = "usr/share/zsh/vendor-completions";
    mkdirSync(join(destdir, place), { recursive: true });
    installed();
    expect(files("usr/share/zsh")).toEqual([`/${place}/_sysmgr 644`]);
  });

  test("keeps what was installed for another init until it is all removed", () => {
    installed("--init", "runit");
    installed("--init", "s6");
    installed();
    expect(existsSync(join(destdir, "etc/sv/sysmgr/run"))).toBe(true);
    expect(existsSync(join(destdir, "etc/s6/sv/sysmgr/run"))).toBe(true);
    installed("--uninstall");
    expect(readdirSync(destdir)).toEqual([]);
  });

  test.each([
    [
      "a file",
      (path: string) => writeFileSync(path, "of somebody else"),
      "not installed by this script",
    ],
    [
      "a link",
      (path: string) => symlinkSync("elsewhere", path),
      "not installed by this script",
    ],
    ["a directory", (path: string) => mkdirSync(path), "not installed"],
  ])(
    "refuses to overwrite %s that is not its own, and does nothing",
    (_, make, why) => {
      for (const name of ["bin/sysmgr", "bin/svctl", "share/man/man8/sysmgr.8"])
        makeAt(join(destdir, "usr", name), make);
      const before = snapshot();
      const { code, err, out } = install();
      expect(code).toBe(1);
      expect(out).toBe("");
      for (const name of ["bin/sysmgr", "bin/svctl", "share/man/man8/sysmgr.8"])
        expect(err).toContain(`${destdir}/usr/${name}: there already`);
      expect(err).toContain(why);
      expect(err).toContain("nothing has been done");
      expect(snapshot()).toEqual(before);
    },
  );

  test("refuses where a file is in the way of a directory", () => {
    makeAt(join(destdir, "usr/share"), (path) => writeFileSync(path, ""));
    const { code, err } = install();
    expect(code).toBe(1);
    expect(err).toContain("usr/share: there already, and not a directory");
    expect(existsSync(join(destdir, "usr/bin"))).toBe(false);
  });

  test("refuses to overwrite what was changed since it was installed", () => {
    installed("--init", "openrc");
    const script = join(destdir, "etc/init.d/sysmgr");
    writeFileSync(script, "# changed\n");
    writeFileSync(
      join(archive, "init/openrc/sysmgr"),
      "#!/sbin/openrc-run\n# new\n",
    );
    const { code, err } = install("--init", "openrc");
    expect(code).toBe(1);
    expect(err).toContain(`${script}: changed since it was installed`);
    installed();
    expect(read("etc/init.d/sysmgr")).toBe("# changed\n");
  });

  test("takes for its own what is the same already", () => {
    makeAt(join(destdir, "usr/bin/sysmgr"), (path) => {
      copyFileSync(join(archive, "sysmgr"), path);
    });
    installed();
    installed("--uninstall");
    expect(existsSync(join(destdir, "usr/bin/sysmgr"))).toBe(false);
  });

  test("replaces a running binary, which goes on", async () => {
    copyFileSync("/bin/sleep", join(archive, "sysmgr"));
    installed();
    await using running = Bun.spawn([join(destdir, "usr/bin/sysmgr"), "1000"], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    const before = lstatSync(join(destdir, "usr/bin/sysmgr")).ino;
    copyFileSync("/bin/cat", join(archive, "sysmgr"));
    const { out } = installed();
    expect(out).toContain(`replace ${destdir}/usr/bin/sysmgr`);
    expect(lstatSync(join(destdir, "usr/bin/sysmgr")).ino).not.toBe(before);
    expect(isRunning(running.pid)).toBe(true);
    expect(readFileSync(join(destdir, "usr/bin/sysmgr"))).toEqual(
      readFileSync("/bin/cat"),
    );
  });

  test.each([
    "usr/bin",
    "usr/share/man/man1",
    "usr/share/fish/vendor_completions.d",
    "usr/share/sysmgr/init/runit/control",
    "usr/share/sysmgr",
  ])(
    "goes on where an earlier one failed in %s, and can be removed there",
    (failing) => {
      copyFileSync("/bin/cat", join(archive, "sysmgr"));
      installed();
      copyFileSync("/bin/sleep", join(archive, "sysmgr"));
      for (const name of [
        "man/svctl.1",
        "completions/sysmgr.fish",
        "init/runit/control/k",
      ])
        writeFileSync(join(archive, name), "new\n");
      const obstacle = join(destdir, failing, ".sysmgr-install");
      mkdirSync(obstacle);
      expect(install().code).not.toBe(0);
      rmSync(obstacle, { recursive: true });
      expect(files()).toEqual(EVERYTHING);
      cpSync(destdir, directory.at("copy"), {
        recursive: true,
        verbatimSymlinks: true,
      });
      installed();
      expect(files()).toEqual(EVERYTHING);
      expect(read("usr/share/man/man1/svctl.1")).toBe("new\n");

      const removed = run(["--uninstall", "--destdir", directory.at("copy")]);
      expect(removed).toMatchObject({ code: 0, err: "" });
      expect(readdirSync(directory.at("copy"))).toEqual([]);
    },
  );

  test("removes exactly its own", () => {
    for (const name of [
      "usr/bin/other",
      "usr/share/man/man1/other.1",
      "usr/share/sysmgr/notes",
      "etc/init.d/other",
      "var/sysmgr/web",
    ])
      makeAt(join(destdir, name), (path) => writeFileSync(path, name));
    const before = snapshot();
    installed("--init", "openrc");
    writeFileSync(join(destdir, "var/sysmgr/later"), "");
    installed("--uninstall");
    rmSync(join(destdir, "var/sysmgr/later"));
    expect(snapshot()).toEqual(before);
  });

  test("leaves services where they are, also in a directory that it has made", () => {
    installed();
    writeFileSync(join(destdir, "var/sysmgr/web"), "");
    installed("--uninstall");
    expect(files()).toEqual(["/var/sysmgr/web 644"]);
  });

  test("leaves what was changed since it was installed, and says so", () => {
    installed();
    const changed = join(destdir, "usr/share/sysmgr/init/stop");
    writeFileSync(changed, "changed");
    rmSync(join(destdir, "usr/bin/svctl"));
    symlinkSync("busybox", join(destdir, "usr/bin/svctl"));
    rmSync(join(destdir, "usr/bin/sysmgr-depends"));
    const { code, err } = install("--uninstall");
    expect(code).toBe(0);
    expect(err).toContain(`${changed}: changed since it was installed`);
    expect(err).toContain("usr/bin/svctl: changed since it was installed");
    expect(files()).toEqual([
      "/usr/bin/svctl -> busybox",
      "/usr/share/sysmgr/init/stop 755",
    ]);
  });

  test("with --uninstall --dry-run removes nothing", () => {
    installed();
    const before = snapshot();
    const { out } = installed("--uninstall", "--dry-run");
    expect(out).toContain(`would remove ${destdir}/usr/bin/sysmgr\n`);
    expect(snapshot()).toEqual(before);
  });

  test("removes nothing where nothing was installed", () => {
    makeAt(join(destdir, "usr/bin/sysmgr"), (path) => writeFileSync(path, ""));
    const { code, err } = install("--uninstall");
    expect(code).toBe(1);
    expect(err).toContain("there is nothing to remove");
    expect(files()).toEqual(["/usr/bin/sysmgr 644"]);
  });

  test("takes a root relative to where it is called", () => {
    expect(run(["--destdir=a root"])).toMatchObject({ code: 0, err: "" });
    expect(files()).toEqual(EVERYTHING);
  });

  test("takes PREFIX, BINDIR, MANDIR and DESTDIR from the environment, where no option says otherwise", () => {
    const environment = {
      PREFIX: "/opt",
      BINDIR: "/opt/sbin",
      MANDIR: "/opt/man",
      DESTDIR: "a root",
    };
    const result = run(["--bindir=/sbin"], environment);
    expect(result).toMatchObject({ code: 0, err: "" });
    expect(readdirSync(destdir).sort()).toEqual(["opt", "sbin", "var"]);
    expect(readdirSync(join(destdir, "opt")).sort()).toEqual(["man", "share"]);
    expect(run(["--uninstall"], environment).code).toBe(0);
    expect(readdirSync(destdir)).toEqual([]);
    const wrong = run([], { ...environment, PREFIX: "opt" });
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain("PREFIX: 'opt' is not an absolute path");
  });

  test("takes an empty root for /", () => {
    const prefix = directory.at("prefix");
    const sysdir = directory.at("sv");
    const places = [`--prefix=${prefix}`, `--sysdir=${sysdir}`];
    const result = run(["--destdir", "", ...places]);
    expect(result).toMatchObject({ code: 0, err: "" });
    expect(existsSync(join(prefix, "bin/sysmgr"))).toBe(true);
  });

  test("is for as many kinds of init as are named", () => {
    const { out } = installed("--init", "busybox", "--init=s6");
    expect(existsSync(join(destdir, "etc/s6/sv/sysmgr/run"))).toBe(true);
    expect(out).toContain("/usr/share/sysmgr/init/busybox/inittab");
    expect(out).toContain("link /etc/s6/sv/sysmgr into");
  });

  test("takes the binary's own directories for defaults", () => {
    const help = `  -s, --sysdir DIR  service directory, /srv/sv unless given
  -r, --rundir DIR  run directory, /x/run unless given`;
    writeFileSync(join(archive, "sysmgr"), `#!/bin/sh\necho '${help}'\n`);
    installed();
    const inittab = "usr/share/sysmgr/init/busybox/inittab";
    expect(existsSync(join(destdir, "srv/sv"))).toBe(true);
    expect(existsSync(join(destdir, "var"))).toBe(false);
    expect(read(inittab)).toContain("::respawn:/usr/bin/sysmgr\n");
    expect(read("usr/share/sysmgr/init/stop")).toContain("/x/run/pid");
    installed("--sysdir=/var/sysmgr");
    expect(read(inittab)).toContain("/usr/bin/sysmgr -s /var/sysmgr\n");
  });

  test("is not led elsewhere by CDPATH", () => {
    mkdirSync(directory.at("decoy/sysmgr 1.0.0"), { recursive: true });
    const environment = { CDPATH: directory.at("decoy") };
    const script = "sysmgr 1.0.0/install.sh";
    const result = run(["--destdir=a root"], environment, [], script);
    expect(result).toMatchObject({ code: 0, err: "" });
  });

  test("says once that it may not write in a directory", () => {
    makeAt(join(destdir, "usr"), (path) => writeFileSync(path, ""));
    const { err } = install();
    expect(err.split(`${destdir}/usr: there already`).length).toBe(2);
  });

  test.each([
    [["--bogus"], "unknown option or operand '--bogus'"],
    [["operand"], "unknown option or operand 'operand'"],
    [["--uninstall=yes"], "unknown option '--uninstall=yes'"],
    [["--prefix"], "--prefix needs a value"],
    [["--prefix="], "--prefix needs a value"],
    [["--prefix", "usr"], "'usr' is not an absolute path"],
    [["--sysdir", "/a b"], "'/a b' has a character"],
    [["--bindir", "/a&b"], "'/a&b' has a character"],
    [["--rundir", "/a\\b"], "'/a\\b' has a character"],
    [["--mandir", "/a\nb"], "has a character"],
    [["--prefix", "/a|b"], "'/a|b' has a character"],
    [["--prefix", "/a%b%"], "has a character"],
    [["--prefix", "/a'b"], "has a character"],
    [["--prefix", "/[a]"], "has a character"],
    [["--init", "upstart"], "'upstart' is none of busybox"],
  ])("says what is wrong with %j and does nothing", (parameters, why) => {
    const { code, out, err } = install(...parameters);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(why);
    expect(err).toContain("usage: ");
    expect(existsSync(destdir)).toBe(false);
  });

  test("shows its options", () => {
    const { code, out, err } = run(["--help"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const option of ["--prefix", "--destdir", "--init", "--uninstall"])
      expect(out).toContain(option);
  });

  test("says so where the archive is not complete", () => {
    rmSync(join(archive, "sysmgr"));
    const { code, err } = install();
    expect(code).toBe(1);
    expect(err).toContain(`${archive}/sysmgr: not there`);
    expect(existsSync(destdir)).toBe(false);
    writeFileSync(join(archive, "sysmgr"), "");
    rmSync(join(archive, "man/svctl.1"));
    const without = install();
    expect(without.code).toBe(1);
    expect(without.err).toContain(`${archive}/man/svctl.1: not there`);
    expect(files()).toEqual([]);
  });

  test.skipIf(process.geteuid?.() !== 0)(
    "installs into the home of a plain user, who may not write elsewhere",
    () => {
      const home = directory.directory("home");
      chownSync(home, NOBODY, NOBODY);
      const through = [
        "setpriv",
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        "--clear-groups",
      ];
      const prefix = ["--prefix", `${home}/.local`];
      const result = run(prefix, {}, through);
      expect(result).toMatchObject({ code: 0, err: "" });
      expect(lstatSync(`${home}/.local/bin/svctl`).uid).toBe(NOBODY);
      expect(result.out).toContain("note: /var/sysmgr is not made");
      const own = [...prefix, "--sysdir", `${home}/sv`, "--rundir=/run/user/1"];
      expect(run(own, {}, through)).toMatchObject({ code: 0, err: "" });
      expect(existsSync(`${home}/sv`)).toBe(true);
      const refused = run(["--prefix", directory.at("no")], {}, through);
      expect(refused.code).toBe(1);
      expect(refused.err).toBe(
        `install.sh: ${directory.path}: no permission to write in it\ninstall.sh: nothing has been done\n`,
      );
      expect(run([...prefix, "--uninstall"], {}, through).code).toBe(0);
      expect(readdirSync(home)).toEqual([]);
    },
  );

  test("says so when what it has installed does not run here", () => {
    const wrong = "\u007fELF\u0002 of another machine";
    writeFileSync(join(archive, "sysmgr"), wrong);
    const prefix = directory.at("prefix");
    const { code, err } = run([
      "--prefix",
      prefix,
      "--sysdir",
      directory.at("sv"),
    ]);
    expect(code).toBe(1);
    expect(err).toContain("is installed but does not run");
    const right = "#!/bin/sh\necho sysmgr 1.0.0\n";
    writeFileSync(join(archive, "sysmgr"), right);
    const again = run(["--prefix", prefix, "--sysdir", directory.at("sv")]);
    expect(again).toMatchObject({ code: 0, err: "" });
  });

  function files(below = ""): string[] {
    return listTree(join(destdir, below)).map(
      ([path, what]) => `/${join(below, path)} ${what}`,
    );
  }

  function read(name: string): string {
    return readFileSync(join(destdir, name), "utf8");
  }

  /** Everything below the root, with what changes when it is written again. */
  function snapshot(): string[] {
    return readdirSync(destdir, { recursive: true, encoding: "utf8" })
      .sort()
      .map((name) => {
        const { ino, mode, mtimeMs } = lstatSync(join(destdir, name));
        const directory = lstatSync(join(destdir, name)).isDirectory();
        return `${name} ${ino} ${mode} ${directory ? "" : mtimeMs}`;
      });
  }
});

test.each(["sed", "sha256sum", "readlink"])(
  "install.sh says so and does nothing where there is no %s",
  (tool) => {
    const bin = directory.directory("bin");
    const busybox = Bun.which("busybox") ?? "busybox";
    const { stdout } = Bun.spawnSync([busybox, "--list"]);
    for (const name of stdout.toString().trim().split("\n"))
      if (name !== tool) symlinkSync(busybox, join(bin, name));
    // The shell of busybox may find applets that have no link.
    const script = [join(archive, "install.sh"), "--destdir", destdir];
    const result = Bun.spawnSync([Bun.which("dash") ?? "dash", ...script], {
      env: { PATH: bin },
    });
    expect(result.exitCode).toBe(1);
    expect(`${result.stdout}${result.stderr}`).toBe(
      `install.sh: needs ${tool}, which coreutils and busybox have\n`,
    );
    expect(existsSync(destdir)).toBe(false);
  },
);

test("what is for a shell is clean under shellcheck", () => {
  const scripts = [
    "install.sh",
    "src/init/stop",
    "src/init/openrc/sysmgr",
    "src/init/runit/run",
    "src/init/runit/control/k",
    "src/init/s6/run",
    "src/init/hooks/sysmgr.boot",
    "src/init/hooks/sysmgr.pre.shutdown",
    "src/completions/sysmgr.bash",
  ];
  const command = ["shellcheck", ...scripts.map((name) => join(ROOT, name))];
  const { stdout, exitCode } = Bun.spawnSync(command);
  expect(stdout.toString()).toBe("");
  expect(exitCode).toBe(0);
});

test("in the sources, the binary is built where it is not there", () => {
  const tree = directory.directory("tree");
  for (const name of [
    "build.ts",
    "bun.lock",
    "bunfig.toml",
    "install.sh",
    "package.json",
    "src",
    "test/setup.sh",
    "tsconfig.json",
  ])
    cpSync(join(ROOT, name), join(tree, name), { recursive: true });
  // Of its own, since the build looks after it; by hard links where that can be, for it is large.
  const copy =
    'cp -al "$0" "$1" || { rm -rf "$1/node_modules" && cp -a "$0" "$1"; }';
  Bun.spawnSync(["sh", "-c", copy, join(ROOT, "node_modules"), tree]);
  const parameters = ["--destdir", destdir, "--sysdir=/srv/sv"];
  const command = ["sh", join(tree, "install.sh"), ...parameters];
  const dry = Bun.spawnSync([...command, "--dry-run"]);
  expect(dry.stdout.toString()).toContain(`would build ${tree}/dist/sysmgr`);
  expect(existsSync(join(tree, "dist"))).toBe(false);
  const { exitCode, stderr } = Bun.spawnSync(command);
  expect(`${exitCode}${stderr}`).toStartWith("0");
  const svctl = Bun.spawnSync([join(destdir, "usr/bin/svctl"), "status"], {
    env: {},
  });
  // The directory has become the binary's own default.
  expect(svctl.stderr.toString()).toContain("/srv/sv: ");
}, 300_000);

/** Files and links below a directory, each with its mode or target. */
function listTree(top: string): [string, string][] {
  return readdirSync(top, { recursive: true, encoding: "utf8" })
    .filter((name) => !lstatSync(join(top, name)).isDirectory())
    .sort()
    .map((name) => {
      const status = lstatSync(join(top, name));
      const what = status.isSymbolicLink()
        ? `-> ${readlinkSync(join(top, name))}`
        : (status.mode & 0o777).toString(8);
      return [name, what];
    });
}

function makeAt(path: string, make: (path: string) => void): void {
  mkdirSync(dirname(path), { recursive: true });
  chmodSync(dirname(path), 0o755);
  make(path);
}
