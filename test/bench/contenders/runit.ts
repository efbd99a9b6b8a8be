/** runit, the original and the one in busybox. */
import { mkdirSync, symlinkSync } from "node:fs";
import type { Contender } from "./contender.ts";
import { serviceDirectories } from "./service-directory.ts";

/** runsvdir gives up on what is beyond. */
const MOST = 1000;
const SCAN_INTERVAL = 5000;

/** @param busybox the program that has runsvdir, runsv and sv; those in PATH unless given. */
export function runit(
  name: string,
  version: string,
  busybox?: string,
): Contender {
  return {
    name,
    version,
    most: MOST,
    scanInterval: SCAN_INTERVAL,
    use: (place) => {
      const { scanned, ...services } = serviceDirectories(place);
      const binaries = `${place.directory}/bin`;
      mkdirSync(binaries);
      if (busybox !== undefined)
        for (const applet of ["runsvdir", "runsv", "sv"])
          symlinkSync(busybox, `${binaries}/${applet}`);
      const paths = (names: readonly string[]) => names.map(services.entry);
      return {
        ...services,
        path: binaries,
        command: ["runsvdir", "-P", scanned],
        stopSignal: "SIGHUP",
        status: (names) => ["sv", "status", ...paths(names)],
        restart: (names) => ["sv", "restart", ...paths(names)],
        isUp: {
          "sv status": (service) => ["sv", "status", services.entry(service)],
          "sv check": (service) => ["sv", "check", services.entry(service)],
        },
      };
    },
  };
}
