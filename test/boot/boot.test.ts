/**
 * A computer that boots a kernel, busybox init and sysmgr, with nothing else in it, from the kernel's first
 * instruction to power off: once with everything in memory, once from a disk that cannot be written.
 */
import { X64 } from "./computers.ts";
import { bootTest } from "./story.ts";

bootTest("boots with its root in memory", X64, "memory");
bootTest("boots with its root on a read-only disk", X64, "disk");
