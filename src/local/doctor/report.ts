/** Prints the findings of the doctor: a line for each, or one JSON document. */
import type { Line, Outcome } from './line.ts';

const OUTCOMES: readonly Outcome[] = ['ok', 'warning', 'failure', 'not checked'];

export type Counts = Readonly<Record<Outcome, number>>;

export function countsOf(lines: readonly Line[]): Counts {
  const count = (outcome: Outcome): [Outcome, number] => [
    outcome,
    lines.filter((line) => line.outcome === outcome).length,
  ];
  return Object.fromEntries(OUTCOMES.map(count)) as Counts;
}

const INDENT = ' '.repeat(13);

/** Formats a line, and below it what to do. */
export function formatLine({ check, host, outcome, seen, todo }: Line): string {
  const where = host === null ? '' : `${host}  `;
  const line = `${outcome.padEnd(INDENT.length)}${where}${check}: ${seen}`;
  return todo === null ? line : `${line}\n${INDENT}→ ${todo}`;
}

export function formatSummary(lines: readonly Line[]): string {
  const counts = countsOf(lines);
  return `\n${counts.ok} ok, ${counts.warning} warnings, ${counts.failure} failures, ${counts['not checked']} not checked`;
}

/** Returns the whole report. `hosts` are those that any line is about. */
export function formatDocument(url: URL, lines: readonly Line[]): string {
  const hosts = [...new Set(lines.flatMap(({ host }) => (host === null ? [] : [host])))];
  const { 'not checked': not_checked, ...counts } = countsOf(lines);
  return JSON.stringify({ url: url.origin, hosts, counts: { ...counts, not_checked }, lines }, undefined, 2);
}
