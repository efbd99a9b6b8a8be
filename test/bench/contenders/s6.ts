/** s6. */
import type { Contender } from "./contender.ts";
import {
  forEach,
  READINESS_NOTE,
  serviceDirectories,
} from "./service-directory.ts";

/** What s6-svscan takes when it is not told; less would be no fair configuration. */
const USUAL_MOST = 500;

/** @param maximumOption what s6-svscan calls the greatest number of services. */
export function s6(version: string, maximumOption: "-c" | "-C"): Contender {
  return {
    name: "s6",
    version,
    note: READINESS_NOTE,
    use: (place) => {
      const { scanned, ...services } = serviceDirectories(place, true);
      const paths = (names: readonly string[]) => names.map(services.entry);
      return {
        ...services,
        command: [
          "s6-svscan",
          maximumOption,
          String(Math.max(USUAL_MOST, place.services)),
          scanned,
        ],
        rescan: ["s6-svscanctl", "-a", scanned],
        stopSignal: "SIGTERM",
        status: (names) => forEach("s6-svstat", paths(names)),
        // There is no program that restarts several; s6-svc waits for one with -wr.
        restart: (names) =>
          names.length > 1
            ? forEach("s6-svc -r", paths(names))
            : ["s6-svc", "-wr", "-T", "30000", "-r", ...paths(names)],
        isUp: {
          "s6-svstat": (service) => ["s6-svstat", services.entry(service)],
          "s6-svwait -u": (service) => [
            "s6-svwait",
            "-u",
            services.entry(service),
          ],
        },
      };
    },
  };
}
