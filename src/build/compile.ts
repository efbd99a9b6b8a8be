/** From the sources to one dynamically linked executable, with Bun's bundler. */
import { join } from "node:path";
import { BuildError, ROOT } from "./command.ts";

/** What main.ts loads, one at a time. */
const APPLETS = ["sysmgr.ts", "svctl.ts", "sysmgr-depends.ts", "install.ts"];

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
  const common: Bun.BuildConfig = {
    entrypoints: [],
    target: "bun",
    format: "esm",
    minify: true,
    define: {
      "process.env.NODE_ENV": '"production"',
      ...Object.fromEntries(
        Object.entries(constants).map(([name, value]) => [
          name,
          JSON.stringify(value),
        ]),
      ),
    },
    throw: false,
  };
  // Not in the plugin, when main.ts asks for one: a build that is begun within another never ends.
  const applets = new Map<string, string>();
  for (const applet of APPLETS) {
    const path = join(ROOT, "src/applets", applet);
    applets.set(path, await inOnePiece(path, common));
  }
  const result = await Bun.build({
    ...common,
    entrypoints: [join(ROOT, "src/main.ts")],
    // Each applet is loaded when it is asked for, and no other with it.
    splitting: true,
    bytecode: true,
    plugins: [ready(applets)],
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
  if (!result.success) throw failure(result);
}

/**
 * Bundles an applet with all that it needs. The bundler would rather make pieces of what several applets need,
 * and each piece that has to be loaded takes memory and time.
 */
async function inOnePiece(
  path: string,
  common: Bun.BuildConfig,
): Promise<string> {
  const result = await Bun.build({
    ...common,
    entrypoints: [path],
    plugins: [lightUtil],
  });
  const [piece] = result.outputs;
  if (!result.success || piece === undefined) throw failure(result);
  return piece.text();
}

function failure(result: Bun.BuildOutput): BuildError {
  const reasons = result.logs.map(String).join("\n");
  return new BuildError(`compiling failed\n${reasons}`);
}

/** Has the bundler take what has been bundled before. */
function ready(pieces: ReadonlyMap<string, string>): Bun.BunPlugin {
  return {
    name: "ready",
    setup(build) {
      build.onLoad({ filter: /\/src\/applets\/[^/]+\.ts$/ }, ({ path }) => {
        const contents = pieces.get(path);
        if (contents === undefined)
          throw new BuildError(`${path}: not an applet`);
        return { contents, loader: "js" };
      });
    },
  };
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
