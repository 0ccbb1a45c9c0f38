/** docs/replication.md states what `npm run test:model` explores. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ALL_CLOCKS } from '../model/clocks.ts';
import { cellsOf, DEFAULT_DEPTH, NOT_EXPLORED, scenariosOf } from '../model/scenarios.ts';

const document = await readFile(new URL('../../docs/replication.md', import.meta.url), 'utf8');
const section = document.slice(document.indexOf('### What the model explores'));

test('every scenario is a row of the table', () => {
  const rows = section.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const head = rows.findIndex(([first]) => first === 'tags and manifests');
  const scenarios = scenariosOf(DEFAULT_DEPTH).map(cellsOf);
  expect(rows.slice(head + 2, head + 3 + scenarios.length)).toEqual([...scenarios, []]);
});

test.each(ALL_CLOCKS)('clocks $name are named', ({ name }) => {
  expect(section).toContain(`- ${name}`);
});

test.each(NOT_EXPLORED)('the page says that this is not explored: %s', (what) => {
  expect(section.replaceAll(/\s+/g, ' ')).toContain(`- ${what}`);
});
