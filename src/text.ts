/** Text that comes from files or names, made fit for one line of a log or a terminal. */

/**
 * Makes any string safe to print: control characters, which a terminal would obey, become escapes,
 * and what is very long is cut.
 */
export function printable(text: string, longest = 300): string {
  const safe = text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to go
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\\]/g,
    escaped,
  );
  if (safe.length <= longest) return safe;
  // Half of a character above U+FFFF is none.
  return `${safe.slice(0, longest).replace(/[\ud800-\udbff]$/, "")}…`;
}

/** Says a span of time by its two largest units: `45s`, `2m5s`, `3h12m`, `4d3h`. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days > 0) return `${days}d${hours % 24}h`;
  if (hours > 0) return `${hours}h${minutes % 60}m`;
  if (minutes > 0) return `${minutes}m${seconds % 60}s`;
  return `${seconds}s`;
}

/** Says milliseconds as seconds with at most one decimal: `12 s`, `0.4 s`. */
export function inSeconds(milliseconds: number): string {
  return `${Number((milliseconds / 1000).toFixed(1))} s`;
}

function escaped(character: string): string {
  if (character === "\\") return "\\\\";
  if (character === "\n") return "\\n";
  if (character === "\t") return "\\t";
  const code = character.charCodeAt(0).toString(16);
  return code.length <= 2
    ? `\\x${code.padStart(2, "0")}`
    : `\\u${code.padStart(4, "0")}`;
}
