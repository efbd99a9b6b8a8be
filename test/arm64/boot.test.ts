/**
 * A computer for arm64, emulated with its kernel, so that what the emulation of programs gets wrong is right
 * here. SYSMGR_TEST_ARM64_KERNEL=FILE boots another kernel, such as one with pages of 16 or 64 KiB.
 */
import { ARM64 } from "../boot/computers.ts";
import { bootTest } from "../boot/story.ts";

bootTest("boots on arm64 with its root in memory", ARM64, "memory");
