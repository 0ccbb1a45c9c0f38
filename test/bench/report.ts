/** The results of a run: `results/bench.json` with everything, and `results/bench.md` with a section for each row. */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { type Outcome, ROUNDS, type Row } from './row.ts';

export interface Result extends Outcome, Pick<Row, 'name' | 'mustReach' | 'boundBy'> {
  /** Duration of the row. */
  readonly seconds: number;
}

export async function writeReport(results: readonly Result[], tiny: boolean): Promise<void> {
  const machine = `${availableParallelism()} cores of ${cpus()[0]?.model ?? 'an unknown processor'}`;
  const report = {
    machine,
    node: process.version,
    command: `npm run bench ${process.argv.slice(2).length > 0 ? '-- ' : ''}${process.argv.slice(2).join(' ')}`.trim(),
    loadAtTheEnd: loadavg(),
    rounds: ROUNDS,
    tiny,
    results,
  };
  const missed = results.filter(({ reached }) => !reached).length;
  await mkdir('results', { recursive: true });
  await writeFile('results/bench.json', `${JSON.stringify(report, null, 2)}\n`);
  await writeFile('results/bench.md', sectionsOf(results));
  console.log(
    `\n${machine}, Node ${process.version}, medians of ${ROUNDS} at least; results/bench.json has all of it.`,
  );
  if (tiny) console.log('The sizes were tiny: the figures mean nothing.');
  console.log(`${results.length - missed} rows reached, ${missed} missed`);
}

function sectionsOf(results: readonly Result[]): string {
  const sections = results.map(({ name, measured, mustReach, details, boundBy, reached }) =>
    [
      `## ${name}\n`,
      `- Measured: ${measured}${reached ? '' : ' (missed)'}`,
      ...(mustReach === '' ? [] : [`- Must reach: ${mustReach}`]),
      `- Figures: ${details}`,
      `- Bounded by: ${boundBy}`,
      '',
    ].join('\n'),
  );
  return sections.join('\n');
}
