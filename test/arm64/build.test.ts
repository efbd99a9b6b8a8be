/** What a build for a machine makes, and what it says when it cannot be done. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { HOST, OTHER, SLOW_MACHINE } from "../static-link/builds.ts";
import { TemporaryDirectory } from "../temporary.ts";

const ROOT = join(import.meta.dir, "../..");
const SCRIPT = join(ROOT, "build.ts");
const FETCH = `
  import { bunExecutable } from ${JSON.stringify(join(ROOT, "src/build/bun-executable.ts"))};
  import { MACHINES } from ${JSON.stringify(join(ROOT, "src/static-link/machines.ts"))};
  const [name, cache] = process.argv.slice(1);
  try { await bunExecutable(MACHINES[name], cache); }
  catch (error) { console.error(error.message); process.exit(1); }`;

setDefaultTimeout(SLOW_MACHINE);

function build(PATH: string, ...options: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, SCRIPT, ...options],
    { env: { ...process.env, PATH } },
  );
  return {
    code: exitCode,
    out: stdout.toString(),
    err: stderr.toString(),
  };
}

test("a target that is not known is refused", () => {
  expect(build("/nowhere", "--target=linux-vax")).toEqual({
    code: 1,
    out: "",
    err: "build: --target: 'linux-vax' is not one of linux-x64, linux-arm64\n",
  });
});

test("missing cross tools are told in one line, with what to install", () => {
  const target = `--target=linux-${OTHER.hostArch}`;
  const { code, out, err } = build("/nowhere", target);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toStartWith(`build: static build for ${OTHER.name} needs `);
  expect(err).toContain(`${OTHER.crossPrefix}gcc was not found`);
  expect(err).toContain(OTHER.packages.cross);
  expect(err.trimEnd()).not.toContain("\n");
});

describe("Bun for the other machine is not used", () => {
  const PACKAGE = OTHER.bunPackage;

  test("when no registry can be reached", async () => {
    const registry = "http://127.0.0.1:1/";
    const { code, out, err } = await fetchFrom(registry);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toStartWith(
      `Bun for ${OTHER.name} cannot be had (npm package ${PACKAGE}@${Bun.version}): error: `,
    );
    expect(err.trimEnd()).not.toContain("\n");
  });

  test("when it is not what bun.lock has the checksum of", async () => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(packed()),
    });
    const { code, out, err } = await fetchFrom(server.url.href);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain("Integrity check failed");
    expect(err.trimEnd()).not.toContain("\n");
  });

  /** Fetches from a registry of the test's, with nothing fetched before, and leaves nothing behind. */
  async function fetchFrom(registry: string) {
    using directory = new TemporaryDirectory();
    const cache = directory.directory("cache");
    const child = Bun.spawn(
      [process.execPath, "-e", FETCH, OTHER.name, cache],
      {
        env: {
          PATH: process.env["PATH"] ?? "",
          HOME: directory.path,
          BUN_INSTALL_CACHE_DIR: directory.at("packages"),
          BUN_CONFIG_REGISTRY: registry,
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const [out, err, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    expect(readdirSync(cache)).toEqual([]);
    return { code, out, err };
  }

  /** A package that has what is looked for. */
  function packed(): Uint8Array<ArrayBuffer> {
    using directory = new TemporaryDirectory();
    const root = directory.directory("package");
    mkdirSync(join(root, "bin"));
    writeFileSync(join(root, "bin/bun"), "not Bun");
    const about = JSON.stringify({ name: PACKAGE, version: Bun.version });
    writeFileSync(join(root, "package.json"), about);
    const command = ["tar", "-C", directory.path, "-cz", "package"];
    return new Uint8Array(Bun.spawnSync(command).stdout);
  }
});

test("a build for this machine by its name makes a file of that name", () => {
  using directory = new TemporaryDirectory();
  for (const name of ["src", "node_modules"])
    symlinkSync(join(ROOT, name), directory.at(name));
  for (const name of ["build.ts", "package.json"])
    copyFileSync(join(ROOT, name), directory.at(name));
  const target = `linux-${HOST.hostArch}`;
  const command = [process.execPath, "build.ts", `--target=${target}`];
  const { exitCode, stderr } = Bun.spawnSync([...command, "--dynamic"], {
    cwd: directory.path,
  });
  expect(`${exitCode}${stderr}`).toBe("0");
  const named = directory.at(`dist/sysmgr-${target}`);
  expect(realpathSync(named)).toBe(realpathSync(directory.at("dist/sysmgr")));
});
