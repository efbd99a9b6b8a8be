/** nitro, as its manual describes it. */
import { mkdirSync } from "node:fs";
import type { Contender } from "./contender.ts";
import { forEach, serviceDirectories } from "./service-directory.ts";

/** @param binaries the directory with nitro and nitroctl. */
export function nitro(
  name: string,
  version: string,
  binaries: string,
): Contender {
  return {
    name,
    version,
    use: (place) => {
      const { scanned, ...services } = serviceDirectories(place);
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
        // It takes a service for restarted when it has run for two seconds.
        restart: (names) => [nitroctl, "restart", ...names],
        isUp: {
          "nitroctl check": (service) => [nitroctl, "check", service],
        },
      };
    },
  };
}
