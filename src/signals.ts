/** The signals of Linux by name and number (signal(7)); x86-64 and arm64 number them alike. */
const NUMBERS = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
} as const;

/** Names that mean the same signal. */
const SYNONYMS: Readonly<Record<string, keyof typeof NUMBERS>> = {
  CLD: "CHLD",
  IOT: "ABRT",
  POLL: "IO",
};

const LAST_SIGNAL = 64;

/** Finds a signal's number from `TERM`, `SIGTERM`, `term` or `15`; undefined where there is none. */
export function signalNumber(text: string): number | undefined {
  // Letters are checked first, because toUpperCase makes plain ones of some that are not.
  if (!/^[A-Za-z0-9]+$/.test(text)) return undefined;
  const name = text.toUpperCase().replace(/^SIG/, "");
  if (/^[0-9]{1,2}$/.test(name)) {
    const number = Number(name);
    return number >= 1 && number <= LAST_SIGNAL ? number : undefined;
  }
  const known = SYNONYMS[name] ?? name;
  return Object.entries(NUMBERS).find(([each]) => each === known)?.[1];
}

/** Names a signal as the state files and messages do: `SIGTERM`; `SIG40` for one without a name. */
export function signalName(number: number): string {
  const entry = Object.entries(NUMBERS).find(([, each]) => each === number);
  return `SIG${entry?.[0] ?? number}`;
}
