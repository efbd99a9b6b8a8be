/**
 * The link for another machine than this one. It needs Bun's executable for that machine; nothing is
 * fetched here, see builds.ts.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { staticLink } from "../../src/static-link/link.ts";
import {
  Builds,
  OTHER,
  SLOW_MACHINE,
  because,
  notCompilable,
  run,
} from "./builds.ts";

const COMPILER = `${OTHER.crossPrefix}gcc`;
const EMULATOR = `qemu-${OTHER.crossPrefix.split("-")[0]}-static`;
const notLinkable = notCompilable || (!Bun.which(COMPILER) && `no ${COMPILER}`);
const notRunnable = notLinkable || (!Bun.which(EMULATOR) && `no ${EMULATOR}`);

setDefaultTimeout(SLOW_MACHINE);
const builds = new Builds();
afterAll(() => builds[Symbol.dispose]());

test.skipIf(notLinkable !== false)(
  `a program for ${OTHER.name} is linked${because(notLinkable)}`,
  () => {
    staticLink({
      input: builds.compileOther("compiled"),
      output: builds.at("linked"),
      workDirectory: builds.directory,
      machine: OTHER.name,
      shimFlags: ["-Wall", "-Wextra", "-Werror"],
      // This host cannot try it, which must not be an error.
      tryWith: ["exit", "1"],
    });
  },
);

test.skipIf(notRunnable !== false)(`it runs${because(notRunnable)}`, () => {
  const linked = [EMULATOR, builds.at("linked")];
  expect(run([...linked, "--version"]).out).toBe("fixture 1");
  expect(run([...linked, "load", "libc.so.6"]).out).toMatch(/absent_function/);
  expect(run([...linked, "load", "libm.so.6"]).out).toMatch(/cannot be loaded/);
});
