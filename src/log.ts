/**
 * Log lines are JSON with the time first, so that a log file can be read and sorted without a tool. The field that says
 * what the line is about comes next: `{"time":"2026-11-30T06:20:59.123Z","scheduled":"maintenance",…}`.
 */

/** Logs an event. */
export function logLine(fields: Readonly<Record<string, unknown>>): void {
  console.log(lineOf(fields));
}

/** Logs a failure. */
export function logFailure(fields: Readonly<Record<string, unknown>>): void {
  console.error(lineOf(fields));
}

function lineOf(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), ...fields });
}
