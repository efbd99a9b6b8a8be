/**
 * Waits for children that nobody else waits for: orphans that the kernel hands to process 1, and what a
 * program had started before it became sysmgr. Bun waits for the services itself, so waitpid(-1), which
 * would take its children away from it, is never used.
 */
import { peekEndedChild, reapChild } from "../system/processes.ts";
import { isChild } from "./process.ts";

/**
 * Reaps every ended child that is not a service. One that is a service ends the search, because the
 * kernel shows the same one again until Bun has waited for it; SIGCHLD or its end bring us back.
 */
export function reapOrphans(): void {
  for (;;) {
    const pid = peekEndedChild();
    if (pid === undefined || isChild(pid)) return;
    reapChild(pid);
  }
}
