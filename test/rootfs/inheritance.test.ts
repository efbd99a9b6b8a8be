/** What services inherit from the process that has started sysmgr, and what they do not. */
import { expect, setDefaultTimeout } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type Boot, IDLE, procField, Root, rootTest } from "./root.ts";

setDefaultTimeout(180_000);

/** Soft and hard limit of open files. */
for (const limit of ["1024:4096", "256:256", "300:4000", "4096:4096"]) {
  rootTest(
    `services get the limit of open files that sysmgr got, ${limit}`,
    async () => {
      await using root = new Root();
      const through = ["prlimit", `--nofile=${limit}`];
      expect(await limitsOfService(root, through)).toEqual(
        limitsOfCommand(through),
      );
    },
  );
}

rootTest("services get all other limits that sysmgr got", async () => {
  await using root = new Root();
  const through = [
    "prlimit",
    "--core=1000:2000",
    "--stack=4194304:8388608",
    "--fsize=1000000000:2000000000",
    "--cpu=3600:7200",
    "--memlock=65536:65536",
    "--nproc=5000:6000",
    "--sigpending=1000:2000",
    "--msgqueue=1000:2000",
    "--nofile=1024:2048",
  ];
  expect(await limitsOfService(root, through)).toEqual(
    limitsOfCommand(through),
  );
});

rootTest("services get niceness and umask of sysmgr", async () => {
  await using root = new Root();
  const service = await serviceOf(root, {
    through: ["nice", "-n", "5", "sh", "-c", 'umask 027; exec "$@"', "sh"],
  });
  const text = readFileSync(`/proc/${service}/stat`, "latin1");
  expect(text.slice(text.lastIndexOf(")") + 2).split(" ")[16]).toBe("5");
  expect(procField(service, "status", "Umask")).toBe("0027");
});

rootTest(
  "whatever signals sysmgr found blocked or ignored, services find none, and sysmgr obeys TERM",
  async () => {
    await using root = new Root();
    const signals = "HUP,INT,QUIT,PIPE,ALRM,TERM,CHLD,USR1,USR2,XFSZ,TSTP";
    const service = await serviceOf(root, {
      through: [
        "env",
        `--ignore-signal=${signals}`,
        `--block-signal=${signals}`,
      ],
    });
    for (const field of ["SigBlk", "SigIgn", "SigCgt", "SigPnd"])
      expect(
        Number.parseInt(procField(service, "status", field) ?? "", 16),
      ).toBe(0);
    process.kill(root.firstProcess, "SIGTERM");
    expect(await root.ended()).toBe(0);
  },
);

rootTest(
  "services have a session of their own and no descriptor but the first three",
  async () => {
    await using root = new Root();
    const service = await serviceOf(root, {
      through: ["sh", "-c", 'exec 7</etc/passwd 8>&1; exec "$@"', "sh"],
    });
    const [found] = root
      .inhabitants()
      .filter(({ outside }) => outside === service);
    expect([found?.status.session, found?.status.group]).toEqual([
      service,
      service,
    ]);
    const inherited = readdirSync(`/proc/${service}/fd`).filter(
      // The service has opened its own script.
      (each) => !readlinkSync(`/proc/${service}/fd/${each}`).endsWith("/sv/a"),
    );
    expect(inherited).toEqual(["0", "1", "2"]);
  },
);

/** Starts sysmgr with one service and gives that one's pid as we see it. */
async function serviceOf(root: Root, boot: Boot): Promise<number> {
  root.service("a", IDLE);
  await root.bootSysmgr(boot);
  return root.outside(await root.up("a"));
}

async function limitsOfService(
  root: Root,
  through: readonly string[],
): Promise<string> {
  const service = await serviceOf(root, { through });
  return readFileSync(`/proc/${service}/limits`, "utf8");
}

/** The limits that any other command gets that is started in the same way. */
function limitsOfCommand(through: readonly string[]): string {
  const { stdout, success } = Bun.spawnSync([
    ...through,
    "cat",
    "/proc/self/limits",
  ]);
  expect(success).toBe(true);
  return stdout.toString();
}
