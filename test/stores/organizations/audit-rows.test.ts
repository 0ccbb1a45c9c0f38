/** Prefetches, and the changes of an hour with very many of them, share an entry of the audit log. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../../src/durations.ts';
import { Database } from '../../../src/stores/database.ts';
import { auditBefore } from '../../../src/stores/organizations/audit-page-rows.ts';
import { audit, auditPrefetch } from '../../../src/stores/organizations/audit-rows.ts';

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
  const any = { by: '', action: '', from: 0 } as const;
  const { entries } = await auditBefore(database, 'alice', any, { at: NINE + 2 * HOUR, id: 0 }, 100);
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

test('in an hour with very many entries of an action, further ones are counted by credential, and other actions are not', async () => {
  const database = new Database(env.DB_CENTRAL);
  const change = (key: string, now = NINE + MINUTE, subject = 'ci', organization = 'alice') =>
    audit('delete tag', { organization, repository: `${organization}/app`, key }, { subject, host: 'h' }, now);
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1998)
     INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
     SELECT ?1, iif(i < 1000, 'delete tag', 'refuse login'), 'alice', 'alice/app', i, 'ci' || i, '', '' FROM n`,
  )
    .bind(NINE)
    .run();
  await database.batch([
    change('last'),
    change('counted'),
    change('counted'),
    change('counted', NINE + MINUTE, 'admin'),
    change('other', NINE + MINUTE, 'ci', 'bob'),
    auditPrefetch(
      { organization: 'alice', repository: 'alice/app', key: 'latest' },
      { subject: 'ci', host: 'h' },
      NINE,
    ),
    change('next hour', NINE + HOUR),
  ]);
  const entries = await env.DB_CENTRAL.prepare(
    'SELECT action, repository, key, subject, count FROM audit WHERE id > 1998 ORDER BY id',
  ).raw();
  expect(entries).toEqual([
    ['delete tag', 'alice/app', 'last', 'ci', 1],
    ['delete tag', '*', '', 'ci', 2],
    ['delete tag', '*', '', 'admin', 1],
    ['delete tag', 'bob/app', 'other', 'ci', 1],
    ['prefetch image', 'alice/app', 'latest', 'ci', 1],
    ['delete tag', 'alice/app', 'next hour', 'ci', 1],
  ]);
});

test('in full hours, prefetches by one credential are counted for each organization', async () => {
  const database = new Database(env.DB_CENTRAL);
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
     INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
     SELECT ?1, 'prefetch image', o.value, o.value || '/app', i, 'ci', '', '' FROM json_each(?2) AS o CROSS JOIN n`,
  )
    .bind(NINE, JSON.stringify(['alice', 'bob']))
    .run();
  const prefetch = (organization: string) =>
    auditPrefetch({ organization, repository: `${organization}/app`, key: 'new' }, { subject: 'ci', host: 'h' }, NINE);
  await database.batch(['alice', 'bob', 'bob'].map(prefetch));
  expect(
    await env.DB_CENTRAL.prepare('SELECT organization, repository, key, count FROM audit WHERE id > 2000').raw(),
  ).toEqual([
    ['alice', '*', '', 1],
    ['bob', '*', '', 2],
  ]);
});
