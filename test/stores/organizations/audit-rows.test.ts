/** Prefetches that share an entry of the audit log. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../../src/durations.ts';
import { Database } from '../../../src/stores/database.ts';
import { auditBefore, auditPrefetch } from '../../../src/stores/organizations/audit-rows.ts';

const NINE = Date.UTC(2026, 0, 2, 9);

test('prefetches of one image by one credential are one entry an hour', async () => {
  const database = new Database(env.DB_CENTRAL);
  const prefetch = (now: number, key = 'latest', subject = 'ci', path = 'app') =>
    auditPrefetch({ organization: 'alice', repository: `alice/${path}`, key }, { subject, host: 'h' }, now);
  await database.batch([
    prefetch(NINE + MINUTE),
    prefetch(NINE + 2 * MINUTE),
    prefetch(NINE + HOUR - 1),
    prefetch(NINE + HOUR),
    prefetch(NINE + 3 * MINUTE, 'other'),
    prefetch(NINE + 4 * MINUTE, 'latest', 'admin'),
    prefetch(NINE + 5 * MINUTE, 'latest', 'ci', 'web'),
  ]);
  const entries = await auditBefore(database, 'alice', 0, { at: NINE + 2 * HOUR, id: 0 }, 100);
  expect(
    entries.toReversed().map(({ at, repository, key, subject, count }) => [at, repository, key, subject, count]),
  ).toEqual([
    [NINE + MINUTE, 'alice/app', 'latest', 'ci', 3],
    [NINE + 3 * MINUTE, 'alice/app', 'other', 'ci', 1],
    [NINE + 4 * MINUTE, 'alice/app', 'latest', 'admin', 1],
    [NINE + 5 * MINUTE, 'alice/web', 'latest', 'ci', 1],
    [NINE + HOUR, 'alice/app', 'latest', 'ci', 1],
  ]);
});
