/** The least that a program compiled by Bun can do with the libraries that sysmgr uses, as it uses them. */
import { parseArgs } from "citty";
import { createConsola } from "consola/core";
import { writeSync } from "node:fs";

const STDOUT = 1;

const hello = createConsola({
  reporters: [
    { log: ({ args }) => void writeSync(STDOUT, `${args.join(" ")}\n`) },
  ],
});
const { name } = parseArgs(process.argv.slice(2), {
  name: { type: "string", default: "world" },
});
hello.info(`hello ${name}`);
