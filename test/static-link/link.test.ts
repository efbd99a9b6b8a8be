/** The link step as a whole: what it makes, what it refuses, and that it leaves nothing behind. */
import {
  afterAll,
  afterEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LayoutError } from "../../src/static-link/bytes.ts";
import { readElf } from "../../src/static-link/elf.ts";
import { readBunImage } from "../../src/static-link/image.ts";
import { readImports } from "../../src/static-link/imports.ts";
import {
  type StaticLinkOptions,
  staticLink,
} from "../../src/static-link/link.ts";
import { ToolchainError } from "../../src/static-link/toolchain.ts";
import { verifyLinked } from "../../src/static-link/verify.ts";
import { Builds, HOST, OTHER, SLOW_MACHINE, because, run } from "./builds.ts";

const SOURCES = join(import.meta.dir, "../../src/static-link");
const STRIP = Bun.which("strip");

setDefaultTimeout(SLOW_MACHINE);
const builds = new Builds();
afterAll(() => builds[Symbol.dispose]());

describe("the static program", () => {
  test("runs, and needs no loader", () => {
    expect(run([builds.linked, "--version"])).toEqual({
      code: 0,
      out: "fixture 1",
      err: "",
    });
    expect(statSync(builds.linked).mode & 0o777).toBe(0o755);
  });

  test("is the same, byte for byte, wherever it is made", () => {
    const directory = builds.at("elsewhere");
    mkdirSync(directory);
    const output = join(directory, "linked");
    staticLink({ ...options(), output, workDirectory: directory });
    expect(readFileSync(output).equals(readFileSync(builds.linked))).toBe(true);
  });

  test("is the same when what is linked has debug information", () => {
    const debug = readFileSync(builds.link("debug", ["-g"]));
    expect(debug.equals(readFileSync(builds.linked))).toBe(true);
  });

  test("cannot be linked again", () => {
    expect(refusal({ input: builds.linked })).toBeInstanceOf(LayoutError);
  });
});

describe("is refused, and leaves nothing behind:", () => {
  test("a file that is no program", () => {
    const input = builds.at("text");
    writeFileSync(input, "#!/bin/sh\n".repeat(100));
    expect(refusal({ input }).message).toBe(
      `${input}: not an ELF file: wrong magic number`,
    );
  });

  test("a program for another machine", () => {
    expect(refusal({ machine: OTHER.name }).message).toBe(
      `${builds.compiled}: it is for ${HOST.name}, expected ${OTHER.name}`,
    );
  });

  test("Bun without a program", () => {
    expect(refusal({ input: process.execPath }).message).toMatch(
      /no program is in it|pointer to the program is not in it/,
    );
  });

  test.skipIf(!STRIP)(
    `a stripped program${because(!STRIP && "no strip")}`,
    () => {
      const input = builds.at("stripped");
      copyFileSync(builds.compiled, input);
      expect(run(["strip", input]).code).toBe(0);
      expect(refusal({ input })).toBeInstanceOf(LayoutError);
    },
  );

  test("a program that is not there", () => {
    expect(refusal({ input: builds.at("absent") }).message).toMatch(/ENOENT/);
  });

  test("a shim that does not compile", () => {
    const shim = builds.at("shim.c");
    writeFileSync(shim, "#error on purpose\n");
    const error = refusal({ shim });
    expect(error).toBeInstanceOf(ToolchainError);
    expect(error.message).toMatch(/on purpose/);
  });

  test("a shim with which a function is missing", () => {
    const shim = builds.at("shim.c");
    writeFileSync(shim, "int nothing;\n");
    expect(refusal({ shim }).message).toMatch(/shim_execve/);
  });

  test("a result that does not run", () => {
    expect(refusal({ tryWith: ["exit", "3"] }).message).toMatch(
      /'output exit 3' ends with exit code 3/,
    );
  });
});

describe("says what to install when the host lacks", () => {
  /** A gcc that knows only the archives of another directory. */
  const blindGcc = `#!/bin/sh
case $1 in
-dumpmachine) echo some-linux-gnu ;;
-print-file-name=*) echo "\${1#*=}" ;;
-print-prog-name=*) echo "$DIR/\${1#*=}" ;;
esac
`;
  const ld = "#!/bin/sh\necho GNU ld 2.0\n";

  test.each([
    ["gcc", {}, /gcc was not found: install them \(Debian: /],
    ["ld", { gcc: blindGcc }, /ld was not found: install them/],
    [
      "GNU ld",
      { gcc: blindGcc, ld: "#!/bin/sh\necho LLD 19\n" },
      /ld is not GNU ld.*install binutils/,
    ],
    [
      "libc.a",
      { gcc: blindGcc, ld, as: ld },
      /libm\.a was not found: install them/,
    ],
    [
      "glibc",
      { gcc: "#!/bin/sh\necho x86_64-alpine-linux-musl\n" },
      /makes programs for musl, but Bun needs glibc/,
    ],
  ])("%s", (what, tools, said) => {
    const directory = builds.at(`without ${what}`);
    mkdirSync(directory);
    for (const [name, script] of Object.entries(tools)) {
      writeFileSync(join(directory, name), script);
      chmodSync(join(directory, name), 0o755);
    }
    const { code, err } = linkWithPath(directory);
    expect(code).toBe(1);
    expect(err).toMatch(said);
    expect(err).toMatch(/--dynamic$/);
    expect(err.split("\n").length).toBe(1);
  });

  test("the tools for another machine", () => {
    const { code, err } = inOtherProcess(
      `findToolchain(MACHINES[${JSON.stringify(OTHER.name)}])`,
      builds.directory,
    );
    expect(code).toBe(1);
    expect(err).toContain(OTHER.packages.cross);
  });
});

describe("a result is not accepted", () => {
  const linked = readFileSync(builds.linked);
  const image = readBunImage(readFileSync(builds.compiled));
  const imports = readImports(image);
  const elf = readElf(linked);
  const [, bun0, bun1, bun2] = elf.segments;
  const threadLocal = elf.segments.findIndex(({ type }) => type === 7);
  const relro = elf.segments.findIndex(({ type }) => type === 0x6474e552);
  const header = (index: number) => 64 + 56 * index;
  const slot = imports.bindings.find(({ symbol }) => symbol === "shim_execve");
  const data = image.loads[2];
  const inData = (place = 0) => (bun2?.offset ?? 0) + place - data.address;
  let undo: (() => void) | undefined;

  afterEach(() => undo?.());

  function change(offset: number, bytes: readonly number[]): void {
    const before = Uint8Array.from(linked.subarray(offset, offset + 8));
    undo = () => linked.set(before, offset);
    linked.set(bytes, offset);
  }

  test("unless it is changed as in these cases", () => {
    verifyLinked(linked, image, imports);
  });

  test.each<[string, () => void, RegExp]>([
    ["of another machine", () => change(18, [OTHER.number, 0]), /for machine/],
    ["with another entry", () => change(24, [1]), /entry point has moved/],
    ["with a loader", () => change(header(0), [3]), /not static/],
    ["with a dynamic section", () => change(header(0), [2]), /not static/],
    [
      "with a writable code",
      () => change(header(2) + 4, [7]),
      /and executable/,
    ],
    [
      "with an executable stack",
      () => change(header(elf.segments.length - 1) + 4, [7]),
      /executable/,
    ],
    ["without its headers", () => change(header(0), [4]), /lowest address/],
    ["at address 0", () => change(header(0) + 16, [0, 0, 0, 0]), /lowest/],
    ["with Bun elsewhere", () => change(header(1) + 16, [8]), /not aligned/],
    [
      "with Bun a page further up",
      () => change(header(1) + 16, word(HOST.pageSize + 0x200000)),
      /is not there/,
    ],
    [
      "with an alignment for smaller pages",
      () => change(header(3) + 48, word(HOST.pageSize / 2)),
      /not aligned to pages of/,
    ],
    [
      "with a segment that reaches into the next one's page",
      () => change(header(5) + 40, word(upToPageOf(6, 5) + 1)),
      /shares a page with/,
    ],
    [
      "with a protected part that ends within a page",
      () => change(header(relro) + 40, [1]),
      /not whole pages/,
    ],
    [
      "with a protected part that begins elsewhere",
      () => change(header(relro) + 16, word(data.address)),
      /not whole pages/,
    ],
    [
      "without a protected part",
      () => change(header(relro), [4]),
      /not whole pages/,
    ],
    [
      "with other constants",
      () => change((bun0?.offset ?? 0) + 5000, [1, 2, 3, 4, 5, 6, 7, 8]),
      /0x200000 was changed/,
    ],
    [
      "with other code",
      () => change((bun1?.offset ?? 0) + 5000, [1, 2, 3, 4, 5, 6, 7, 8]),
      /was changed/,
    ],
    [
      "with other data",
      () => change(inData(data.address + 0x10), [1, 2, 3, 4, 5, 6, 7, 8]),
      /was changed/,
    ],
    [
      "with a function at address 0",
      () => change(inData(slot?.place), [0, 0, 0, 0, 0, 0, 0, 0]),
      /shim_execve is bound to address 0/,
    ],
    [
      "without a thread-local segment",
      () => change(header(threadLocal), [4]),
      /no threadLocal segments/,
    ],
    [
      "with thread-local data elsewhere",
      () => change((elf.segments[threadLocal]?.offset ?? 0) + tlsByte(), [99]),
      /thread-local block is not at the/,
    ],
    [
      "with another thread-local alignment",
      () => change(header(threadLocal) + 48, [128]),
      /not as it was laid out/,
    ],
    [
      "with a longer thread-local block",
      () => change(header(threadLocal) + 40, [255, 255]),
      /not as it was laid out/,
    ],
  ])("%s", (_, act, said) => {
    act();
    expect(() => verifyLinked(linked, image, imports)).toThrow(said);
    expect(() => verifyLinked(linked, image, imports)).toThrow(LayoutError);
  });

  function word(value: number): number[] {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return [...bytes];
  }

  /** Bytes from the start of a segment to the first page of a later one. */
  function upToPageOf(later: number, index: number): number {
    const address = elf.segments[later]?.address ?? 0;
    const page = address - (address % HOST.pageSize);
    return page - (elf.segments[index]?.address ?? 0);
  }

  /** Some byte within Bun's block, wherever in the segment that is. */
  function tlsByte(): number {
    const size = elf.segments[threadLocal]?.fileSize ?? 0;
    return HOST.threadLocal.fixedEnd === "end"
      ? size - image.threadLocalSize + 100
      : 100;
  }
});

function options(): StaticLinkOptions {
  return {
    input: builds.compiled,
    output: builds.at("output"),
    workDirectory: builds.directory,
  };
}

/** Links what cannot be linked: the output stays as it was, and nothing else is left. */
function refusal(changes: Partial<StaticLinkOptions>): Error {
  const all = { ...options(), ...changes };
  writeFileSync(all.output, "as it was");
  const before = readdirSync(builds.directory).sort();
  try {
    staticLink(all);
  } catch (error) {
    expect(readFileSync(all.output, "utf8")).toBe("as it was");
    expect(readdirSync(builds.directory).sort()).toEqual(before);
    if (error instanceof Error) return error;
  }
  throw new Error("it was linked");
}

/** Links in another process, which finds its tools in one directory only. */
function linkWithPath(directory: string): { code: number; err: string } {
  const all = { ...options(), output: builds.at("unmade") };
  const result = inOtherProcess(
    `staticLink(${JSON.stringify(all)})`,
    directory,
  );
  expect(existsSync(all.output)).toBe(false);
  return result;
}

function inOtherProcess(
  call: string,
  directory: string,
): { code: number; err: string } {
  const from = (name: string) => JSON.stringify(join(SOURCES, name));
  const program = `
    import { staticLink } from ${from("link.ts")};
    import { findToolchain } from ${from("toolchain.ts")};
    import { MACHINES } from ${from("machines.ts")};
    try { ${call}; }
    catch (error) { console.error(error.message); process.exit(1); }`;
  const env = { PATH: directory, DIR: directory };
  return run([process.execPath, "-e", program], env);
}
