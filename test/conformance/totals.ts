/** Reads the suite's output. Its exit status cannot be used: it is 0 after a skip and after a wrong configuration. */

export interface Totals {
  readonly pass: number;
  readonly disabled: number;
  /** Cases that were skipped, failed, or ended with an error of the suite itself. */
  readonly bad: number;
}

const LABELS = ['Pass', 'Disabled', 'Skip', 'FAIL', 'Error'] as const;

/** Parses the block "OCI Conformance Result"; undefined when there is none, or it lacks a count. */
export function parseTotals(output: string): Totals | undefined {
  const block = output.split('OCI Conformance Result:').at(1)?.split('\n\n').at(0) ?? '';
  const counts = LABELS.map((label) => new RegExp(`^ *${label}\\.*: *(\\d+)$`, 'm').exec(block)?.[1]);
  if (counts.includes(undefined)) return undefined;
  const [pass = 0, disabled = 0, skip = 0, fail = 0, error = 0] = counts.map(Number);
  return { pass, disabled, bad: skip + fail + error };
}

/** Returns the number of cases that differ from what is required. Too many passes count as well. */
export function countFailures(totals: Totals | undefined, required: Omit<Totals, 'bad'>): number {
  if (totals === undefined) return 1;
  const { pass, disabled, bad } = totals;
  return Math.max(bad + Math.abs(disabled - required.disabled), Math.abs(pass - required.pass));
}

/** Returns the innermost cases that neither passed nor were disabled, with the suite's message for each. */
export function failingCases(output: string): string[] {
  const lines = output.split('\n');
  return lines
    .map((line, index) => ({
      line,
      next: lines[index + 1] ?? '',
      match: /^( *)(OCI Conformance Test.*): (\w+)$/.exec(line),
    }))
    .filter(({ match }) => match !== null && match[3] !== 'Pass' && match[3] !== 'Disabled')
    .filter(({ match, next }) => !next.startsWith(`${match?.[1] ?? ''}  OCI Conformance Test`))
    .map(({ line, next }) => (/^ *- /.test(next) ? `${line.trim()} ${next.trim()}` : line.trim()));
}
