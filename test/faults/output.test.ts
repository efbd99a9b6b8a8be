/** Contract: "A reader of its stderr that stalls or dies stops nothing", whatever stderr is. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { dlopen, ptr } from "bun:ffi";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { errorCode } from "../../src/errors.ts";
import { DIST, until } from "../integration/sandbox.ts";
import { faultTest, FOREVER, Stage } from "./stage.ts";

setDefaultTimeout(180_000);

const AF_UNIX = 1;
const STREAM = 1;
const DATAGRAM = 2;
const SEQUENCED = 5;
const ANY_USER = 65_534;
const STOP_OUTPUT = "\u0013";
const GO_ON = "\u0011";

/** A place for output to go to, of which the reader can be stopped. */
interface Channel {
  /** What sysmgr is given as stdout and stderr. */
  readonly writer: number;
  /** Nothing more can be written now. */
  stall(): void;
  /** Reads what there is. */
  read(): string;
  /** The reader is gone for good. */
  abandon(): void;
  close(): void;
}

const channels: Record<string, (box: Stage) => Channel> = {
  pipe: (box) => {
    const path = join(box.directory, "pipe");
    Bun.spawnSync(["mkfifo", path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path, "w");
    const filler = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    return channel(writer, reader, filler);
  },
  "stream socket": () => socket(STREAM),
  "datagram socket": () => socket(DATAGRAM),
  "socket of packets": () => socket(SEQUENCED),
};

for (const [kind, open] of Object.entries(channels)) {
  faultTest(
    `a ${kind} that nobody reads stops nothing, and the lost lines are counted later`,
    async () => {
      await using box = await Stage.open();
      using out = held(open(box));
      box.script("a", FOREVER);
      box.script("b", FOREVER);
      out.stall();
      await box.start([], {}, { output: out.writer });
      for (let times = 0; times < 3; times++) await box.revives("a");
      // Two starts, three ends, three restarts.
      out.read();
      await box.revives("b");
      let text = "";
      await until(() => {
        text += out.read();
        return text.includes("b: started");
      }, "what happens is told again");
      expect(text).toMatch(/^sysmgr: [5-9] log lines could not be written/);
      expectBlocking(await box.runs("a"));
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );

  faultTest(
    `a ${kind} whose reader goes away, or was never there, stops nothing`,
    async () => {
      await using box = await Stage.open();
      using out = held(open(box));
      box.script("a", FOREVER);
      await box.start([], {}, { output: out.writer });
      await box.runs("a");
      out.abandon();
      await box.revives("a");
      expect(await box.stop()).toBe(0);
      await box.start([], {}, { output: out.writer });
      await box.revives("a");
      expectBlocking(await box.runs("a"));
      expect(await box.stop()).toBe(0);
      expect(box.processes()).toEqual([]);
    },
  );
}

faultTest("a terminal stopped by its user stops nothing", async () => {
  await using box = await Stage.open();
  box.script("a", FOREVER);
  let shown = "";
  await using terminal = new Bun.Terminal({
    data: (_terminal, data) => {
      shown += new TextDecoder().decode(data);
    },
  });
  const daemon = Bun.spawn([join(DIST, "sysmgr")], {
    env: box.environment,
    terminal,
  });
  try {
    await until(
      () => shown.includes("a: started"),
      "it writes to the terminal",
    );
    terminal.write(STOP_OUTPUT);
    await Bun.sleep(100);
    const before = shown;
    for (let times = 0; times < 3; times++) await box.revives("a");
    expect(shown).toBe(before);
    expectBlocking(await box.runs("a"));
    terminal.write(GO_ON);
    await Bun.sleep(100);
    await box.revives("a");
    await until(
      () => /log lines could not be written/.test(shown.slice(before.length)),
      "the lost lines are counted",
    );
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
    expect(box.processes()).toEqual([]);
  } finally {
    daemon.kill("SIGKILL");
    await daemon.exited;
  }
});

faultTest("a log on a full disk stops nothing, and goes on later", async () => {
  await using box = await Stage.open();
  const disk = join(box.directory, "disk");
  box.script("a", FOREVER);
  await box.mount(disk, "size=8k");
  box.fill(disk);
  const log = openSync(box.outside(join(disk, "log")), "a");
  try {
    await box.start([], {}, { output: log });
    await box.revives("a");
    box.empty(disk);
    await box.revives("a");
    const text = readFileSync(box.outside(join(disk, "log")), "utf8");
    expect(text).toMatch(/^sysmgr: [2-4] log lines could not be written/);
    expect(text).toMatch(/a: killed by SIGKILL/);
    expect(await box.stop()).toBe(0);
  } finally {
    closeSync(log);
  }
});

faultTest(
  "a full pipe that it is not allowed to open again stops nothing either",
  async () => {
    await using box = await Stage.open();
    const out = channels["pipe"]?.(box);
    if (out === undefined) throw new Error("no such channel");
    using _ = held(out);
    box.script("a", FOREVER);
    for (const path of [box.directory, box.sysdir]) {
      chmodSync(path, 0o755);
      chownSync(path, ANY_USER, ANY_USER);
    }
    chmodSync(join(box.directory, "pipe"), 0o600);
    out.stall();
    const user = [`--reuid=${ANY_USER}`, `--regid=${ANY_USER}`];
    await box.start(
      [],
      {},
      {
        output: out.writer,
        through: ["setpriv", ...user, "--clear-groups"],
      },
    );
    for (let times = 0; times < 3; times++) await box.revives("a");
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
  },
);

for (const closed of ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
  test.concurrent(
    `started with ${closed} it gives its services all three descriptors`,
    async () => {
      await using box = await Stage.open();
      box.script("a", FOREVER);
      box.script("talks", `echo something; echo more >&2\n${FOREVER}`);
      const start = `exec "$@" ${closed}`;
      await box.start([], {}, { through: ["sh", "-c", start, "-"] });
      await box.revives("a");
      const a = await box.runs("a");
      expect(readlinkSync(`/proc/${a}/fd/0`)).toBe("/dev/null");
      for (const [descriptor, redirection] of [
        [1, ">&-"],
        [2, "2>&-"],
      ] as const) {
        const target = readlinkSync(`/proc/${a}/fd/${descriptor}`);
        const isClosed = closed.split(" ").includes(redirection);
        expect(target).toBe(isClosed ? "/dev/null" : box.logFile);
      }
      // Nothing of its own has taken a place that a service would write to.
      for (const descriptor of [0, 1, 2])
        expect(
          readlinkSync(`/proc/${box.daemon.pid}/fd/${descriptor}`),
        ).toMatch(/^(\/dev\/null|.*\/log)$/);
      await box.runs("talks");
      expect(box.told(/talks: (exited|killed)/)).toBe(0);
      expect(await box.stop()).toBe(0);
    },
  );

faultTest(
  "started with nothing open and without /dev/null it supervises all the same",
  async () => {
    await using box = await Stage.open();
    box.script("a", FOREVER);
    const empty = join(box.directory, "empty");
    mkdirSync(empty);
    await box.must("mount", "--bind", empty, "/dev");
    await box.start(
      [],
      {},
      {
        through: ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "-"],
      },
    );
    await box.revives("a");
    expect(await box.stop()).toBe(0);
    expect(box.processes()).toEqual([]);
    expect(await box.must("ls", "/dev")).toBe("");
  },
);

function socket(type: number): Channel {
  const ends = new Int32Array(2);
  const libc = dlopen("libc.so.6", {
    socketpair: { args: ["int", "int", "int", "ptr"], returns: "int" },
    fcntl: { args: ["int", "int", "int"], returns: "int" },
  });
  if (libc.symbols.socketpair(AF_UNIX, type, 0, ptr(ends)) !== 0)
    throw new Error("no socketpair");
  const [reader = -1, writer = -1] = ends;
  const setFlags = (descriptor: number, flags: number) =>
    libc.symbols.fcntl(descriptor, 4, flags);
  setFlags(reader, constants.O_NONBLOCK);
  const made = channel(writer, reader, undefined);
  return {
    ...made,
    stall: () => {
      setFlags(writer, constants.O_NONBLOCK);
      fill(writer);
      setFlags(writer, 0);
    },
  };
}

function channel(
  writer: number,
  reader: number,
  filler: number | undefined,
): Channel {
  let readable = true;
  const abandon = () => {
    if (readable) closeSync(reader);
    readable = false;
  };
  return {
    writer,
    stall: () => {
      if (filler !== undefined) fill(filler);
    },
    read: () => drain(reader),
    abandon,
    close: () => {
      abandon();
      closeSync(writer);
      if (filler !== undefined) closeSync(filler);
    },
  };
}

function held(out: Channel): Channel & Disposable {
  return { ...out, [Symbol.dispose]: () => out.close() };
}

/** Writes until not even one byte more is taken. */
function fill(descriptor: number): void {
  const line = `${"x".repeat(1023)}\n`;
  for (let size = line.length; size > 0;) {
    const text = line.slice(-size);
    if (attempt(() => writeSync(descriptor, text)) === undefined)
      size = Math.floor(size / 2);
  }
}

function drain(descriptor: number): string {
  const buffer = Buffer.alloc(65_536);
  let text = "";
  for (;;) {
    const length = attempt(() => readSync(descriptor, buffer));
    if (!length) return text;
    text += buffer.toString("utf8", 0, length);
  }
}

/** What a call gave; undefined where it would have had to wait. */
function attempt(call: () => number): number | undefined {
  try {
    return call();
  } catch (error) {
    if (errorCode(error) !== "EAGAIN") throw error;
    return undefined;
  }
}

/** A service that gets EAGAIN from its own stdout loses what it has to say. */
function expectBlocking(pid: number): void {
  for (const descriptor of [1, 2]) {
    const text = readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "utf8");
    const flags = Number.parseInt(/^flags:\s*(\d+)/m.exec(text)?.[1] ?? "", 8);
    expect(flags & constants.O_NONBLOCK).toBe(0);
  }
}
