import { expect, test } from "bun:test";
import fc from "fast-check";
import { basename, relative, resolve } from "node:path";
import { absolutePath, baseName, relativePath } from "../src/paths.ts";

const part = fc.constantFrom("a", "b", "..", ".", "", "c d", "...", "é");
const path = fc
  .tuple(fc.boolean(), fc.array(part, { maxLength: 8 }))
  .map(([absolute, parts]) => `${absolute ? "/" : ""}${parts.join("/")}`);

test("absolutePath is what node:path's resolve is", () => {
  fc.assert(
    fc.property(path, path, (from, to) => {
      const start = resolve("/", from);
      expect(absolutePath(to, start)).toBe(resolve(start, to));
    }),
  );
  expect(absolutePath("x")).toBe(resolve("x"));
});

test("baseName is what node:path's basename is", () => {
  fc.assert(
    fc.property(path, (given) => {
      expect(baseName(given)).toBe(basename(given));
    }),
  );
});

test("relativePath is what node:path's relative is", () => {
  fc.assert(
    fc.property(path, path, (from, to) => {
      const [start, aim] = [resolve("/", from), resolve("/", to)];
      expect(relativePath(start, aim)).toBe(relative(start, aim));
    }),
  );
});
