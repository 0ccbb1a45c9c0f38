/**
 * Lines of the log: JSON, with the time first, so that a file of them reads and sorts without a tool. An object that
 * names a line's subject comes first of the rest: `{"time":"2026-11-30T06:20:59.123Z","scheduled":"maintenance",…}`.
 */

/** Writes a line of what happened. */
export function logLine(fields: Readonly<Record<string, unknown>>): void {
  console.log(lineOf(fields));
}

/** Writes a line of what went wrong. */
export function logFailure(fields: Readonly<Record<string, unknown>>): void {
  console.error(lineOf(fields));
}

function lineOf(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), ...fields });
}
