/**
 * The files for init, each with the real init as process 1 of a machine in miniature: it starts sysmgr at
 * boot, starts it again after kill -9 with no service the worse for it, and at shutdown gives it the time to
 * stop every service, also one that has to be killed.
 */
import { afterAll, describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { layOut } from "../../src/release/contents.ts";
import { DIST, until } from "../integration/sandbox.ts";
import { TemporaryDirectory } from "../temporary.ts";
import { Machine, obstacle, type Userland } from "./machine.ts";
import { lacks, unpack } from "./packages.ts";

/** Boot, crash, and a shutdown of ten seconds, on a slow machine with others at work. */
const LONG = 240_000;

interface Init {
  readonly name: string;
  readonly userland: Userland;
  /** Why it cannot be tested here. */
  readonly problem: string | undefined;
  /** What has to be done in the machine's namespaces before it boots. */
  readonly before?: string;
  /** Makes the machine boot with it, and write "rest" to /log where its shutdown goes on after sysmgr. */
  prepare(machine: Machine, ...options: readonly string[]): readonly string[];
  /** Begins the shutdown, which need not be over when this returns. */
  shutDown(machine: Machine): Promise<unknown>;
  /** Removes what it has left outside of the machine, when that is off. */
  cleanUp?(machine: Machine): void;
}

const REST = "echo rest >>/log";

const busybox: Init = {
  name: "busybox init",
  userland: "busybox",
  problem: obstacle("busybox"),
  prepare(machine, ...options) {
    machine.install("--init", "busybox", ...options);
    machine.append("etc/inittab", "::sysinit:/bin/true\n");
    machine.append(
      "etc/inittab",
      machine.read("usr/share/sysmgr/init/busybox/inittab") ?? "",
    );
    machine.append("etc/inittab", `::shutdown:/bin/sh -c '${REST}'\n`);
    return ["/sbin/init"];
  },
  shutDown: (machine) => machine.run("/sbin/poweroff"),
};

const sysvPackage = unpack("sysvinit-core");
const sysvinit: Init = {
  name: "sysvinit",
  userland: "host",
  problem: obstacle("host") ?? sysvPackage.problem,
  prepare(machine) {
    machine.install("--init", "sysvinit");
    for (const name of ["init", "telinit", "halt"])
      cpSync(join(sysvPackage.path, "sbin", name), machine.at(`sbin/${name}`), {
        dereference: true,
      });
    const lines = (
      machine.read("opt/share/sysmgr/init/sysvinit/inittab") ?? ""
    ).split("\n");
    const line = (id: string) =>
      lines.find((each) => each.startsWith(`${id}:`)) ?? "";
    machine.file(
      "etc/inittab",
      `id:2:initdefault:
si::sysinit:/bin/true
${line("sd")}
l0:0:wait:/etc/rc 0
l2:2:wait:/etc/rc 2
${line("sm")}
`,
    );
    machine.file(
      "etc/rc",
      `#!/bin/sh\n[ "$1" = 2 ] || { ${REST}; /sbin/halt -f -p; }\n`,
      0o755,
    );
    return ["/sbin/init"];
  },
  shutDown: (machine) => machine.run("/sbin/telinit", "0"),
};

const openrcPackage = unpack("openrc", "librc1", "libeinfo1");
const openrc: Init = {
  name: "OpenRC, started by busybox init as in Alpine,",
  userland: "host",
  problem: obstacle("host") ?? openrcPackage.problem,
  // Mounted already, or it would mount another one, into which nobody can look from here.
  before: 'mount -o bind "$R/run" "$R/run"',
  prepare(machine) {
    machine.install("--init", "openrc");
    for (const name of ["sbin", "etc"])
      cpSync(join(openrcPackage.path, name), machine.at(name), {
        recursive: true,
        verbatimSymlinks: true,
      });
    cpSync(join(openrcPackage.path, "lib/rc"), machine.at("lib/rc"), {
      recursive: true,
      verbatimSymlinks: true,
    });
    for (const name of ["librc.so.1", "libeinfo.so.1"])
      cpSync(
        join(
          openrcPackage.path,
          `lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
          name,
        ),
        machine.at(`lib/${name}`),
      );
    // What it expects of any Debian.
    machine.file("etc/insserv.conf", "");
    machine.file("etc/group", "root:x:0:\nuucp:x:10:\n");
    machine.file("etc/passwd", "root:x:0:0::/:/bin/sh\n");
    symlinkSync("/run", machine.at("var/run"));
    cpSync(Bun.which("busybox") ?? "", machine.at("sbin/init"));
    mkdirSync(machine.at("etc/runlevels/default"), { recursive: true });
    symlinkSync(
      "/etc/init.d/sysmgr",
      machine.at("etc/runlevels/default/sysmgr"),
    );
    machine.file(
      "etc/inittab",
      `::sysinit:/sbin/openrc sysinit
::wait:/sbin/openrc default
::shutdown:/sbin/openrc shutdown
::shutdown:/bin/sh -c '${REST}'
`,
    );
    return ["/sbin/init"];
  },
  shutDown: (machine) => machine.run("kill", "-USR2", "1"),
};

const runit: Init = {
  name: "runit",
  userland: "host",
  problem: obstacle("host") ?? lacks("runsvdir", "runsv", "sv"),
  prepare(machine) {
    machine.install("--init", "runit");
    mkdirSync(machine.at("service"));
    symlinkSync("/etc/sv/sysmgr", machine.at("service/sysmgr"));
    return ["/usr/bin/runsvdir", "-P", "/service"];
  },
  async shutDown(machine) {
    // As the third stage of runit does it.
    await machine.run("sv", "-w", "196", "force-stop", "/service/sysmgr");
    await machine.run("sh", "-c", REST);
    machine.halt();
  },
};

const s6: Init = {
  name: "s6",
  userland: "host",
  problem: obstacle("host") ?? lacks("s6-svscan", "s6-svscanctl"),
  prepare(machine) {
    machine.install("--init", "s6");
    mkdirSync(machine.at("service/.s6-svscan"), { recursive: true });
    machine.file("service/.s6-svscan/finish", `#!/bin/sh\n${REST}\n`, 0o755);
    symlinkSync("/etc/s6/sv/sysmgr", machine.at("service/sysmgr"));
    return ["/usr/bin/s6-svscan", "/service"];
  },
  shutDown: (machine) => machine.run("s6-svscanctl", "-t", "/service"),
};

const DINIT_SOCKET = ["--socket-path", "/run/dinitctl"];
const dinit: Init = {
  name: "dinit",
  userland: "host",
  problem: obstacle("host") ?? lacks("dinit", "dinitctl"),
  prepare(machine) {
    machine.install("--init", "dinit");
    machine.append("etc/dinit.d/sysmgr", "depends-on = rest\n");
    machine.file(
      "etc/dinit.d/rest",
      "type = scripted\ncommand = /bin/true\nstop-command = /bin/sh /etc/rest\n",
    );
    machine.file("etc/rest", `${REST}\n`);
    machine.file("etc/dinit.d/boot", "type = internal\ndepends-on = sysmgr\n");
    const services = ["--services-dir", "/etc/dinit.d"];
    const dinit = Bun.which("dinit") ?? "dinit";
    return [dinit, "--container", ...DINIT_SOCKET, ...services];
  },
  shutDown: (machine) => machine.run("dinitctl", ...DINIT_SOCKET, "shutdown"),
};

/** Just these of systemd's own units, so that it does nothing that is not about sysmgr. */
const UNITS = [
  "basic.target",
  "final.target",
  "multi-user.target",
  "network.target",
  "poweroff.target",
  "shutdown.target",
  "sysinit.target",
  "systemd-poweroff.service",
  "umount.target",
];
const SYSTEMD = "/usr/lib/systemd";
const cgroups = /^\S+ (\S+) cgroup2 /m.exec(
  readFileSync("/proc/mounts", "utf8"),
)?.[1];
const systemd: Init = {
  name: "systemd",
  userland: "host",
  problem:
    obstacle("host") ??
    lacks(`${SYSTEMD}/systemd`, "systemctl") ??
    (cgroups === undefined ? "there are no control groups here" : undefined),
  before: `group=${cgroups}/\${R##*/}
mkdir "$group"
echo 0 >"$group/cgroup.procs"
mount -t sysfs -o ro sys "$R/sys"
mount -o bind,ro "$R/proc/sys" "$R/proc/sys"
mount -o bind "$R/run" "$R/run"
mount -o bind "$R/tmp" "$R/tmp"
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec unshare --cgroup sh -ec '
mount -t cgroup2 cgroup "$R/sys/fs/cgroup"
exec chroot "$R" "$@"' sh "$@"`,
  prepare(machine) {
    machine.install("--init", "systemd");
    for (const name of UNITS)
      cpSync(
        join(SYSTEMD, "system", name),
        machine.at(`etc/systemd/system/${name}`),
      );
    machine.file(
      "etc/systemd/system/rest.service",
      `[Unit]
Before=sysmgr.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c '${REST}'
[Install]
WantedBy=multi-user.target
`,
    );
    symlinkSync(
      "multi-user.target",
      machine.at("etc/systemd/system/default.target"),
    );
    machine.file("etc/machine-id", "");
    const enable = ["systemctl", `--root=${machine.root}`, "enable"];
    Bun.spawnSync([...enable, "sysmgr", "rest"], {
      env: { ...process.env, SYSTEMD_UNIT_PATH: "/etc/systemd/system" },
      stderr: "ignore",
    });
    return [`${SYSTEMD}/systemd`, "--system", "--log-target=console"];
  },
  // What systemctl poweroff comes to, without the bus that it would use.
  shutDown: (machine) => machine.run("kill", "-s", "RTMIN+4", "1"),
  cleanUp(machine) {
    Bun.spawnSync(
      ["find", `${cgroups}/${basename(machine.root)}`].concat([
        "-depth",
        "-type",
        "d",
        "-exec",
        "rmdir",
        "{}",
        ";",
      ]),
    );
  },
};

const hooks: Init = {
  name: "the hooks of Carbs and KISS Linux",
  userland: "busybox",
  problem: obstacle("busybox"),
  prepare(machine) {
    machine.install("--init", "carbs");
    const run = (kind: string) =>
      `for hook in /etc/init/*.${kind}; do . "$hook"; done`;
    machine.file("etc/rc.boot", `#!/bin/sh\n${run("boot")}\n`, 0o755);
    machine.file(
      "etc/rc.shutdown",
      `#!/bin/sh\n${run("pre.shutdown")}\n${REST}\n`,
      0o755,
    );
    machine.file(
      "etc/inittab",
      "::sysinit:/etc/rc.boot\n::shutdown:/etc/rc.shutdown\n",
    );
    return ["/sbin/init"];
  },
  shutDown: (machine) => machine.run("/sbin/poweroff"),
};

afterAll(() => {
  sysvPackage[Symbol.dispose]();
  openrcPackage[Symbol.dispose]();
});

describe.concurrent("sysmgr under", () => {
  for (const init of [
    busybox,
    sysvinit,
    openrc,
    runit,
    s6,
    dinit,
    systemd,
    hooks,
  ])
    test.skipIf(init.problem !== undefined)(
      init.problem === undefined
        ? `${init.name} is started, started again and stopped in time`
        : `skipped: ${init.name}: ${init.problem}`,
      () => prove(init),
      LONG,
    );
});

test.skipIf(busybox.problem !== undefined)(
  busybox.problem === undefined
    ? "an upgrade under busybox init, as sysmgr(8) and README.md say it, keeps every service"
    : `skipped: upgrade: ${busybox.problem}`,
  async () => {
    await using machine = new Machine(busybox.userland);
    const command = busybox.prepare(machine);
    machine.service("steady", "exec sleep 1000");
    machine.service("locked", "exec sleep 1000");
    machine.boot(command);
    let sysmgr = await machine.started("pid");
    const steady = await machine.started("steady/pid");
    await machine.started("locked/pid");
    expect((await machine.run("svctl", "stop", "locked")).code).toBe(0);

    const old = statSync(machine.at("usr/bin/sysmgr")).ino;
    // As the manual has it.
    const byHand =
      "cp /usr/bin/sysmgr /usr/bin/.sysmgr.new && mv /usr/bin/.sysmgr.new /usr/bin/sysmgr";
    const leave = "kill -USR2 $(cat /run/sysmgr/pid)";
    await machine.run("sh", "-c", byHand);
    expect((await machine.run("sh", "-c", leave)).code).toBe(0);
    sysmgr = await adopted(sysmgr);
    expect(statSync(machine.at("usr/bin/sysmgr")).ino).not.toBe(old);

    // And with install.sh, from the archive of another version.
    using directory = new TemporaryDirectory();
    const other = directory.at("sysmgr");
    cpSync(join(DIST, "sysmgr"), other);
    writeFileSync(other, "\n", { flag: "a" });
    layOut(join(import.meta.dir, "../.."), other, "x64", directory.at("new"));
    machine.installFrom(directory.at("new/install.sh"));
    expect(statSync(machine.at("usr/bin/sysmgr")).size).toBe(
      statSync(other).size,
    );
    expect((await machine.run("sh", "-c", leave)).code).toBe(0);
    await adopted(sysmgr);

    /** Waits for the sysmgr after another one, which has taken over what that had, from the file that is there. */
    async function adopted(before: number): Promise<number> {
      const pid = await machine.started("pid", before);
      const status = await machine.run("svctl", "status");
      expect(status.out).toMatch(
        new RegExp(
          `^locked: DOWN \\(stopped\\)\nsteady: UP \\(pid ${steady}, .*\\)\n$`,
        ),
      );
      expect(machine.read("run/sysmgr/steady/starts")).toBe("1\n");
      const running = await machine.run("ls", "-l", `/proc/${pid}/exe`);
      expect(running.out).toEndWith(" -> /usr/bin/sysmgr\n");
      return pid;
    }
  },
  LONG,
);

test.skipIf(busybox.problem !== undefined)(
  busybox.problem === undefined
    ? "added to a busybox init that runs, with directories of their own, init, services and shutdown use these"
    : `skipped: other directories: ${busybox.problem}`,
  async () => {
    await using machine = new Machine(busybox.userland);
    const places = { SYSDIR: "/srv/sv", RUNDIR: "/run/other" };
    const options = [`--sysdir=${places.SYSDIR}`, `--rundir=${places.RUNDIR}`];
    const command = busybox.prepare(machine, ...options);
    for (const [name, body] of [
      ["first", "exec sleep 1000"],
      ["second", "sysmgr-depends first || exit 1\nexec sleep 1000"],
    ] as const)
      machine.file(`srv/sv/${name}`, `#!/bin/sh\n${body}\n`, 0o755);
    // Added to a machine that runs already.
    const inittab = machine.read("etc/inittab") ?? "";
    machine.file("etc/inittab", "::sysinit:/bin/true\n");
    machine.boot(command);
    await machine.run("true");
    machine.file("etc/inittab", inittab);
    const settings = Object.entries(places).map((pair) => pair.join("="));
    await until(async () => {
      await machine.run("kill", "-HUP", "1");
      const svctl = ["env", ...settings, "svctl", "status"];
      const { out } = await machine.run(...svctl);
      return /^first: UP .*\nsecond: UP .*\n$/.test(out);
    }, "both are up");
    expect(existsSync(machine.at("var/sysmgr"))).toBe(false);
    await busybox.shutDown(machine);
    await machine.off();
    expect(machine.read("log")).toBe("rest\n");
    expect(readdirSync(machine.at("run/other"))).toEqual([]);
    expect(existsSync(machine.at("run/sysmgr"))).toBe(false);
  },
  LONG,
);

async function prove(init: Init): Promise<void> {
  await using machine = new Machine(init.userland, init.cleanUp);
  const command = init.prepare(machine);
  machine.service(
    "slow",
    `trap 'sleep 4; echo slow stopped >>/log; exit 0' TERM
echo slow started >>/log
while :; do sleep 0.1; done`,
  );
  machine.service("stubborn", "trap '' TERM\nwhile :; do sleep 0.1; done");
  machine.boot(command, init.before);

  const sysmgr = await machine.started("pid");
  const slow = await machine.started("slow/pid");
  const stubborn = await machine.started("stubborn/pid");

  await machine.run("kill", "-KILL", String(sysmgr));
  await machine.started("pid", sysmgr);
  expect((await machine.run("svctl", "status")).out).toMatch(
    new RegExp(
      `^slow: UP \\(pid ${slow}, .*\\)\nstubborn: UP \\(pid ${stubborn}, .*\\)\n$`,
    ),
  );
  expect(machine.read("run/sysmgr/slow/starts")).toBe("1\n");

  await init.shutDown(machine);
  await machine.off();
  expect(machine.read("log")).toBe("slow started\nslow stopped\nrest\n");
  // It has ended by itself: everything was down, and nobody has killed it before.
  expect(machine.leftovers()).toEqual([]);
}
