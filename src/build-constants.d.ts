/** Put in by build.ts; absent when a test runs the sources themselves. */
declare const BUILD_VERSION: string | undefined;
declare const BUILD_SYSDIR: string | undefined;
declare const BUILD_RUNDIR: string | undefined;
