/** What a build for a machine says when it cannot be done, before it has fetched or written anything. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { OTHER } from "../static-link/builds.ts";

const SCRIPT = join(import.meta.dir, "../../build.ts");

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
