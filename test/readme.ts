import { readFileSync } from "node:fs";
import { join } from "node:path";

const README = readFileSync(join(import.meta.dir, "../README.md"), "utf8");

/** The first block of commands in a section of README.md, given by its heading. */
export function readBlock(heading: string): string {
  const section = README.split(`\n${heading}\n`)[1] ?? "";
  const block = /```\w*\n([\s\S]*?)```/.exec(section)?.[1];
  if (block === undefined) throw new Error(`README.md has no ${heading}`);
  return block;
}
