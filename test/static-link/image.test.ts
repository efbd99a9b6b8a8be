/** What is accepted as a compiled program, on both machines, and what is said about everything else. */
import {
  afterAll,
  afterEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { assemblerText } from "../../src/static-link/assembler.ts";
import { LayoutError } from "../../src/static-link/bytes.ts";
import { readBunImage } from "../../src/static-link/image.ts";
import { readImports } from "../../src/static-link/imports.ts";
import { linkerScript } from "../../src/static-link/linker-script.ts";
import { MACHINES, type Machine } from "../../src/static-link/machines.ts";
import {
  Builds,
  HOST,
  OTHER,
  SLOW_MACHINE,
  because,
  notCompilable,
} from "./builds.ts";
import { Damage, TAG } from "./damage.ts";

setDefaultTimeout(SLOW_MACHINE);
const builds = new Builds();
afterAll(() => builds[Symbol.dispose]());

describe(`for ${HOST.name}:`, () => testImages(HOST, OTHER, builds.compiled));

if (notCompilable === false)
  describe(`for ${OTHER.name}:`, () =>
    testImages(OTHER, HOST, builds.compileOther("other")));
else
  test.skip(`a program for ${OTHER.name}${because(notCompilable)}`, () =>
    expect.unreachable());

test("the machines differ in what tells them apart", () => {
  const all = Object.values(MACHINES);
  for (const key of ["number", "hostArch", "crossPrefix"] as const)
    expect(new Set(all.map((machine) => machine[key])).size).toBe(all.length);
});

/** Everything that happens before the tools are called. */
function prepare(bytes: Uint8Array, expected?: Machine): void {
  const read = readBunImage(bytes, expected);
  const imports = readImports(read);
  assemblerText(read, imports, "program");
  linkerScript(read, "bun.o");
}

function complaint(action: () => void): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(LayoutError);
    return error instanceof Error ? error.message : "";
  }
  return "none";
}

/** What is done to the program, and what is said about it. */
type Case = readonly [name: string, act: () => void, said: RegExp];

/** Tests with the dynamic program for a machine. */
function testImages(machine: Machine, other: Machine, compiled: string): void {
  const damage = new Damage(readFileSync(compiled));
  const { image } = damage;
  const { relocation: RELOCATION } = machine;

  afterEach(() => damage.undo());

  describe("a compiled program", () => {
    test("is accepted, for the machine that it is for", () => {
      prepare(damage.bytes);
      prepare(damage.bytes, machine);
    });

    test("is laid out as is documented", () => {
      expect(image.machine).toBe(machine);
      expect(image.loads[0].address).toBe(0x200000);
      expect(image.threadLocalSize % image.threadLocal.alignment).toBe(0);
      expect(image.constructors.length).toBeGreaterThan(0);
      const { bindings, variables, weak } = readImports(image);
      expect(bindings.length).toBeGreaterThan(300);
      expect([...variables.keys()].sort()).toEqual([
        "environ",
        "stderr",
        "stdin",
        "stdout",
      ]);
      expect(weak).toContain("__gmon_start__");
      const bound = bindings.map(({ symbol }) => symbol);
      expect(bound).toContain("shim_execve");
      expect(bound).not.toContain("execve");
    });

    test("makes texts in which every word is bound once", () => {
      const imports = readImports(image);
      const text = assemblerText(image, imports, "program");
      const places = text.match(/^\.reloc [^,]+/gm) ?? [];
      const streams = 3;
      expect(places.length).toBe(imports.bindings.length + streams);
      expect(new Set(places).size).toBe(places.length);
    });

    test("that is for another machine is refused", () => {
      expect(complaint(() => prepare(damage.bytes, other))).toBe(
        `it is for ${machine.name}, expected ${other.name}`,
      );
      damage.number(18, other.number, 2);
      expect(complaint(() => prepare(damage.bytes, machine))).toBe(
        `it is for ${other.name}, expected ${machine.name}`,
      );
      expect(complaint(() => prepare(damage.bytes))).not.toBe("none");
    });
  });

  const HEADERS: readonly Case[] = [
    ["another magic number", () => damage.number(0, 0, 4), /magic number/],
    ["class 1", () => damage.number(4, 1, 1), /class is 1, expected 2/],
    ["big endian", () => damage.number(5, 2, 1), /byte order is 2, expected 1/],
    ["ET_DYN", () => damage.number(16, 3, 2), /position independent/],
    ["ET_REL", () => damage.number(16, 1, 2), /file type is 1/],
    ["an unknown machine", () => damage.number(18, 8, 2), /machine 8 is not/],
    [
      "an entry point in the data",
      () => damage.number(24, image.loads[2].address, 8),
      /the entry point, 0x\w+, is outside of the code/,
    ],
    [
      "program headers beyond the end",
      () => damage.number(32, damage.size - 20, 8),
      /program header \d.* is beyond the file/,
    ],
    [
      "impossible program headers",
      () => damage.number(32, 2n ** 64n - 1n, 8),
      /program header offset is impossible/,
    ],
    ["large program headers", () => damage.number(54, 64, 2), /has 64 bytes/],
    ["no program headers", () => damage.number(56, 0, 2), /no interpreter/],
  ];

  const SEGMENTS: readonly Case[] = [
    [
      "an unknown segment",
      () => damage.header("stack", "type", 0x6ffffffa),
      /unknown program header type 0x6ffffffa/,
    ],
    ...(["dynamic", "interpreter", "threadLocal"] as const).flatMap(
      (type): Case[] => [
        [
          `no ${type} segment`,
          () => damage.header(type, "type", 4),
          new RegExp(`no ${type} segments`),
        ],
      ],
    ),
    [
      "two thread-local segments",
      () => damage.header("note", "type", 7),
      /several threadLocal segments/,
    ],
    [
      "another loaded segment",
      () => damage.header("note", "type", 1),
      /not exactly three loaded/,
    ],
    [
      "a loaded segment less",
      () => damage.header("load", "type", 4, 1),
      /not exactly three loaded/,
    ],
    [
      "writable code",
      () => damage.header("load", "flags", 7, 1),
      /are not R, RX, RW/,
    ],
    [
      "segments that overlap",
      () => damage.header("load", "memorySize", 0x2000000),
      /is below 0x2200000/,
    ],
    [
      "a segment at address 0",
      () => damage.header("load", "address", 0),
      /the segment at 0x0 is below/,
    ],
    [
      "an address that its offset does not suit",
      () => damage.header("load", "address", image.loads[0].address + 8),
      /not congruent/,
    ],
    [
      "a segment that is larger in the file",
      () => damage.header("load", "memorySize", 16),
      /smaller in memory than in the file/,
    ],
    [
      "a segment beyond the end",
      () => damage.header("load", "fileSize", damage.size, 2),
      /program header \d ends at 0x\w+, beyond the file's 0x\w+ bytes/,
    ],
    [
      "an impossible segment",
      () => damage.header("load", "offset", 2n ** 63n, 2),
      /program header \d: offset is impossible: 0x8000000000000000/,
    ],
    [
      "the loader of musl",
      () =>
        damage.text(
          image.elf.segments.find(({ type }) => type === 3)?.offset ?? 0,
          "/lib/ld-musl-x86_64.so.1\0",
        ),
      /its loader is "\/lib\/ld-musl.*, expected that of glibc/,
    ],
    ...[0, 3, 4096].map((alignment): Case => [
      `thread-local alignment ${alignment}`,
      () => damage.header("threadLocal", "alignment", alignment),
      new RegExp(`alignment ${alignment}, expected a divisor`),
    ]),
  ];

  const trailer = damage.bytes.lastIndexOf("\n---- Bun! ----\n");
  const payload = findPayload();

  /** Where what was compiled begins, with its size: at a page, so that it ends with the trailer. */
  function findPayload(): number {
    const { offset } = image.loads[2];
    const end = trailer + 16;
    for (let page = Math.ceil(offset / 4096) * 4096; page < end; page += 4096)
      if (Number(damage.bytes.readBigUInt64LE(page)) === end - page - 8)
        return page;
    throw new Error("no payload");
  }

  const PROGRAM: readonly Case[] = [
    ["no trailer", () => damage.text(trailer, "x"), /no program is in it/],
    [
      "another size before the program",
      () => damage.number(payload, 1, 8),
      /the pointer to the program is not in it/,
    ],
  ];

  const { DEBUG, REL, TEXTREL, RELR, PREINIT_ARRAY, ...REQUIRED } = TAG;
  const UNHANDLED = { REL, TEXTREL, RELR, PREINIT_ARRAY };

  const DYNAMIC: readonly Case[] = [
    ...Object.entries(REQUIRED).map(([name, tag]): Case => [
      `no DT_${name}`,
      () => damage.number(damage.dynamicEntry(tag), DEBUG, 8),
      new RegExp(`DT_${name} is missing`),
    ]),
    ...Object.entries(UNHANDLED).map(([name, tag]): Case => [
      `DT_${name}`,
      () => damage.number(damage.dynamicEntry(DEBUG), tag, 8),
      new RegExp(`DT_${name} is present`),
    ]),
    ...(["RELAENT", "PLTREL", "SYMENT"] as const).map((name): Case => [
      `another DT_${name}`,
      () => damage.number(damage.dynamicEntry(TAG[name]) + 8, 17, 8),
      new RegExp(`DT_${name} is 17, expected`),
    ]),
    ...(["RELA", "JMPREL", "STRTAB", "INIT_ARRAY", "FINI_ARRAY"] as const).map(
      (name): Case => [
        `DT_${name} outside of the file`,
        () => damage.number(damage.dynamicEntry(TAG[name]) + 8, 0x1000, 8),
        new RegExp(
          `DT_${name}: \\d+ bytes at address 0x1000 are not in the file`,
        ),
      ],
    ),
    [
      "symbols outside of the file",
      () => damage.number(damage.dynamicEntry(TAG.SYMTAB) + 8, 2n ** 40n, 8),
      /symbol \d+: 24 bytes at address 0x100000\w+ are not in the file/,
    ],
    ...(["INIT", "FINI"] as const).map((name): Case => [
      `DT_${name} in the data`,
      () =>
        damage.number(
          damage.dynamicEntry(TAG[name]) + 8,
          image.loads[2].address,
          8,
        ),
      new RegExp(`DT_${name}, 0x\\w+, is outside of the code`),
    ]),
    [
      "a constructor in the data",
      () =>
        damage.number(
          damage.offsetOf(damage.dynamicValue(TAG.INIT_ARRAY)),
          image.loads[2].address,
          8,
        ),
      /an entry of DT_INIT_ARRAY, 0x\w+, is outside of the code/,
    ],
    [
      "half a relocation",
      () => damage.number(damage.dynamicEntry(TAG.RELASZ) + 8, 100, 8),
      /DT_RELA: 100 bytes cannot be its size/,
    ],
    [
      "a million relocations",
      () => damage.number(damage.dynamicEntry(TAG.RELASZ) + 8, 24_000_000, 8),
      /DT_RELA: 24000000 bytes/,
    ],
    [
      "an impossible size",
      () => damage.number(damage.dynamicEntry(TAG.STRSZ) + 8, 2n ** 63n, 8),
      /dynamic entry 0xa is impossible/,
    ],
    [
      "no end of the dynamic section",
      () => damage.header("dynamic", "fileSize", 64),
      /the dynamic section has no end/,
    ],
  ];

  const IMPORTS: readonly Case[] = [
    [
      "a relocation of another type",
      () => damage.number(damage.relocation(RELOCATION.jumpSlot) + 8, 8, 4),
      /unknown relocation type 8 against \w+/,
    ],
    [
      "a copy of another variable",
      () => damage.rename("environ", "optarg"),
      /a copy of the variable optarg/,
    ],
    [
      "a copy to another place",
      () =>
        damage.number(damage.symbol("stdin") + 8, image.loads[2].address, 8),
      /the variable stdin is at 0x\w+, but copied to 0x\w+/,
    ],
    [
      "another weak function",
      () => damage.number(damage.symbol("getpid") + 4, 0x22, 1),
      /getpid is a weak import/,
    ],
    [
      "a thread-local import",
      () => damage.number(damage.symbol("getpid") + 4, 0x16, 1),
      /getpid is a thread-local variable/,
    ],
    [
      "a function that the shim replaces, gone",
      () => damage.rename("execve", "execvx"),
      /execve is not imported/,
    ],
    [
      "a way round the shim",
      () => damage.rename("splice", "system"),
      /system is imported/,
    ],
    [
      "a name that the assembler would take apart",
      () => damage.rename("getpid", 'a;"b'),
      /is not the name of a symbol/,
    ],
    [
      "a name outside of the string table",
      () => damage.number(damage.symbol("getpid"), 0x7fffffff, 4),
      /the name of symbol \d+ is not in the string table/,
    ],
    [
      "a symbol that does not exist",
      () =>
        damage.number(
          damage.relocation(RELOCATION.jumpSlot) + 12,
          0xffffffff,
          4,
        ),
      /symbol 4294967295: 24 bytes/,
    ],
    [
      "a word in the code",
      () =>
        damage.number(
          damage.relocation(RELOCATION.jumpSlot),
          image.loads[1].address,
          8,
        ),
      /the relocated word at 0x\w+ is outside of the data/,
    ],
    [
      "words that overlap",
      () => {
        const at = damage.relocation(RELOCATION.jumpSlot);
        const place = Number(damage.bytes.readBigUInt64LE(at));
        damage.number(at, place + 4, 8);
      },
      /outside of the data or overlaps/,
    ],
    [
      "a symbol of its own outside of Bun",
      () => {
        damage.number(damage.symbol("getpid") + 6, 1, 2);
        damage.number(damage.symbol("getpid") + 8, 2n ** 40n, 8);
      },
      /address 0x10000000000 is outside of the program/,
    ],
  ];

  for (const [what, cases] of Object.entries({
    HEADERS,
    SEGMENTS,
    PROGRAM,
    DYNAMIC,
    IMPORTS,
  }))
    describe(`a program with damaged ${what.toLowerCase()} is refused:`, () => {
      test.each([...cases])("%s", (_, act, said) => {
        act();
        expect(complaint(() => prepare(damage.bytes))).toMatch(said);
      });
    });

  describe("a program of which a part is missing", () => {
    const { size } = damage;
    const sizes = [0, 3, 4, 16, 63, 64, 100, 500, 0x10000, size >> 1, trailer];
    test.each([...sizes, trailer + 15])(
      "is refused when only %i bytes are left",
      (left) => {
        const bytes = damage.bytes.subarray(0, left);
        expect(complaint(() => prepare(bytes))).not.toBe("none");
      },
    );
  });

  describe("a program with bytes changed at random", () => {
    const dynamic = damage.dynamicSection;
    const table = (tag: number, size: number) =>
      [damage.offsetOf(damage.dynamicValue(tag)), size] as const;
    const regions = [
      [0, 0x300],
      [0, 0x300],
      [dynamic.offset, dynamic.fileSize],
      [dynamic.offset, dynamic.fileSize],
      table(TAG.RELA, damage.dynamicValue(TAG.RELASZ)),
      table(TAG.JMPREL, damage.dynamicValue(TAG.PLTRELSZ)),
      table(TAG.SYMTAB, 24 * 500),
      table(TAG.STRTAB, 5000),
      table(TAG.INIT_ARRAY, damage.dynamicValue(TAG.INIT_ARRAYSZ)),
    ] as const;
    const change = fc.record({
      region: fc.constantFrom(...regions),
      at: fc.nat(),
      value: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)),
    });

    test("is accepted, or refused with a clear message", () => {
      const changes = fc.array(change, { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(changes, (list) => {
          try {
            for (const { region, at, value } of list)
              damage.number(region[0] + (at % region[1]), value, 1);
            expect(complaint(() => prepare(damage.bytes))).not.toBe("");
          } finally {
            damage.undo();
          }
        }),
        { seed: 1, numRuns: 1500 },
      );
    });

    test("is accepted when it was put right", () => prepare(damage.bytes));
  });
}
