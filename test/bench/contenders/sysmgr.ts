/** sysmgr, this one or one that is used in the same way. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Contender } from "./contender.ts";

/**
 * @param binaries the directory with sysmgr, svctl and sysmgr-depends.
 * @param statusNeedsNames whether `svctl status` has to be told the names.
 */
export function sysmgr(
  name: string,
  version: string,
  binaries: string,
  statusNeedsNames = false,
): Contender {
  return {
    name,
    version,
    use: ({ directory, script }) => {
      const sysdir = `${directory}/sv`;
      const rundir = `${directory}/run`;
      mkdirSync(sysdir);
      const svctl = `${binaries}/svctl`;
      return {
        command: [`${binaries}/sysmgr`],
        environment: { SYSDIR: sysdir, RUNDIR: rundir },
        path: binaries,
        prepare: (path) => writeFileSync(path, script, { mode: 0o755 }),
        entry: (service) => `${sysdir}/${service}`,
        stopSignal: "SIGTERM",
        status: (services) =>
          services.length > 1 && !statusNeedsNames
            ? [svctl, "status"]
            : [svctl, "status", ...services],
        restart: (services) => [svctl, "restart", ...services],
        isUp: {
          "sysmgr-depends": (service) => [
            `${binaries}/sysmgr-depends`,
            service,
          ],
          "svctl status": (service) => [svctl, "status", service],
        },
      };
    },
  };
}
