/** From the sources to one dynamically linked executable, with Bun's bundler. */
import { join } from "node:path";
import { BuildError, ROOT } from "./command.ts";

/** What the executable is to be. */
export interface Compilation {
  readonly outfile: string;
  /** Values that the sources take as constants, by name. */
  readonly constants: Readonly<Record<string, string>>;
  /** Another machine than this one, and Bun's executable for it. */
  readonly foreign?: {
    readonly target: Bun.Build.CompileTarget;
    readonly executable: string;
  };
}

/**
 * Compiles the sources.
 * @throws BuildError with what the bundler has to say.
 */
export async function compile(compilation: Compilation): Promise<void> {
  const { outfile, constants, foreign } = compilation;
  const result = await Bun.build({
    entrypoints: [join(ROOT, "src/main.ts")],
    target: "bun",
    format: "esm",
    // Each applet is a piece of its own, so that no other is loaded with it.
    splitting: true,
    minify: true,
    bytecode: true,
    define: {
      "process.env.NODE_ENV": '"production"',
      ...Object.fromEntries(
        Object.entries(constants).map(([name, value]) => [
          name,
          JSON.stringify(value),
        ]),
      ),
    },
    plugins: [lightUtil],
    throw: false,
    compile: {
      outfile,
      // No file is read for configuration, wherever the program is started from.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
      // Keeps BUN_OPTIONS=--preload from running code that is not in the binary.
      execArgv: ["--disallow-code-generation-from-strings=strict"],
      ...(foreign === undefined
        ? {}
        : { target: foreign.target, executablePath: foreign.executable }),
    },
  });
  if (result.success) return;
  throw new BuildError(
    `compiling failed\n${result.logs.map(String).join("\n")}`,
  );
}

/** Has citty use light-util.ts; Bun resolves its own modules itself, so the import has to be another. */
const lightUtil: Bun.BunPlugin = {
  name: "light-util",
  setup(build) {
    build.onLoad({ filter: /\/citty\/dist\/index\.mjs$/ }, async ({ path }) => {
      const source = await Bun.file(path).text();
      const parts = source.split('from "node:util"');
      if (parts.length !== 2)
        throw new BuildError(
          `${path}: does not import node:util as it used to`,
        );
      const substitute = JSON.stringify(join(import.meta.dir, "light-util.ts"));
      return { contents: parts.join(`from ${substitute}`), loader: "js" };
    });
  },
};
