/** nitro, as its manual describes it. */
import { mkdirSync } from "node:fs";
import type { Contender } from "./contender.ts";
import {
  forEach,
  READINESS_NOTE,
  serviceDirectories,
} from "./service-directory.ts";

/** What it is compiled with unless told otherwise. */
const MOST = 500;

/** @param binaries the directory with nitro and nitroctl. */
export function nitro(
  name: string,
  version: string,
  binaries: string,
): Contender {
  return {
    name,
    version,
    most: MOST,
    note: READINESS_NOTE,
    use: (place) => {
      const { scanned, ...services } = serviceDirectories(place, true);
      const control = `${place.directory}/control`;
      mkdirSync(`${control}/notify`, { recursive: true });
      const nitroctl = `${binaries}/nitroctl`;
      return {
        ...services,
        command: [`${binaries}/nitro`, scanned],
        environment: { NITRO_SOCK: `${control}/nitro.sock` },
        rescan: [nitroctl, "rescan"],
        stopSignal: "SIGTERM",
        status: (names) =>
          names.length > 1
            ? [nitroctl, "list"]
            : forEach(`${nitroctl} check`, names),
        restart: (names) => [nitroctl, "restart", ...names],
        isUp: {
          "nitroctl check": (service) => [nitroctl, "check", service],
        },
      };
    },
  };
}
