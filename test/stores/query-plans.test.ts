import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { allStatements } from '../../src/stores/database.ts';
import '../../src/maintenance/schedule.ts';
import '../../src/registry/compose.ts';
import '../../src/registry/deployment.ts';
import '../../src/replication/durable-object.ts';

/**
 * Returns the steps that read a whole table. Results of subqueries do not count: the plan announces their names, and
 * each of them has a LIMIT or comes from a search.
 */
function scans(steps: readonly string[]): string[] {
  const subqueries = new Set(steps.flatMap((step) => /^(?:CO-ROUTINE|MATERIALIZE) (\S+)$/.exec(step)?.[1] ?? []));
  return steps.filter((step) => {
    const table = /^SCAN (\S+)/.exec(step)?.[1];
    return (
      table !== undefined &&
      table !== 'CONSTANT' &&
      !table.startsWith('(') &&
      !subqueries.has(table) &&
      !step.includes('VIRTUAL TABLE')
    );
  });
}

async function planOf(statement: string): Promise<string[]> {
  const parameters = Math.max(0, ...[...statement.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number)));
  const query = env.DB_CENTRAL.prepare(`EXPLAIN QUERY PLAN ${statement}`).bind(
    ...Array.from({ length: parameters }, () => null),
  );
  return (await query.all<{ detail: string }>()).results.map(({ detail }) => detail);
}

test('the check detects a scan', async () => {
  expect(scans(await planOf("SELECT * FROM tags WHERE origin = 'x'"))).toEqual(['SCAN tags']);
  expect(scans(await planOf('SELECT value FROM json_each(?1)'))).toEqual([]);
});

test('the check finds the statements', () => {
  expect(allStatements.length).toBeGreaterThan(60);
});

test.each(allStatements.map(({ text }) => text.replaceAll(/\s+/g, ' ').trim()))('%s', async (statement) => {
  expect(scans(await planOf(statement))).toEqual([]);
});

test.each(allStatements.map(({ text }) => text).filter((text) => /\bname > \?/.test(text)))(
  'a page is read in order: %s',
  async (statement) => {
    expect((await planOf(statement)).filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
  },
);
