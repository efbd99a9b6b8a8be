/** Which services are up, and whether those that are not wait for each other in a circle. */
import { readWaiting } from "../rundir.ts";
import { look, type Places } from "./view.ts";

/**
 * Whether a service is up: its process runs, it is not locked down, and its own script does not wait in
 * sysmgr-depends.
 */
export function isUp(places: Places, name: string): boolean {
  const view = look(places, name);
  return (
    view.pid !== undefined &&
    view.lock?.asks !== "stop" &&
    view.waitingFor.length === 0
  );
}

/**
 * Finds the circle that a waiting service is in: it waits for one that waits … for it.
 * @returns the members in order, beginning and ending with the service; undefined when there is none.
 */
export function findCircle(
  rundir: string,
  service: string,
  waitsFor: readonly string[],
): string[] | undefined {
  const seen = new Set<string>();
  const follow = (
    names: readonly string[],
    path: string[],
  ): string[] | undefined => {
    for (const name of names) {
      if (name === service) return [...path, name];
      if (seen.has(name)) continue;
      seen.add(name);
      const circle = follow(waitingOf(rundir, name), [...path, name]);
      if (circle !== undefined) return circle;
    }
    return undefined;
  };
  return follow(waitsFor, [service]);
}

/** All services that somebody in the chain waits for, itself included. */
export function reachable(rundir: string, names: readonly string[]): string[] {
  const found = new Set<string>();
  const pending = [...names];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    pending.push(...waitingOf(rundir, name));
  }
  return [...found];
}

function waitingOf(rundir: string, name: string): readonly string[] {
  const state = readWaiting(rundir, name);
  return state.is === "present" ? state.value : [];
}
