/** Filters of the audit log: who, what, which store, and when. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { Database } from '../../../src/stores/database.ts';
import { audit } from '../../../src/stores/organizations/audit-rows.ts';
import { type Entry, log } from '../../support/audit-log.ts';
import { addUsers, type UserName } from '../../support/client.ts';
import { api } from '../../support/queues.ts';

const START = Date.UTC(2030, 0, 1);
const databases = { central: env.DB_CENTRAL, node1: env.DB_NODE1!, node2: env.DB_NODE2! };

beforeEach(addUsers);

type Store = keyof typeof databases;

/** Writes an entry for the tag `key`, that many milliseconds after the start. */
async function write(
  store: Store,
  after: number,
  key: string,
  { action = 'delete tag', subject = 'id-of-alice', organization = 'alice' } = {},
): Promise<void> {
  const about = { organization, repository: `${organization}/app`, key };
  await new Database(databases[store]).batch([
    audit(action as 'delete tag', about, { subject, host: 'h' }, START + after),
  ]);
}

/** Reads all pages of a filter, and returns the keys. */
async function keysOf(filter: string, n = 100, as: UserName = 'admin', path = 'audit'): Promise<string[]> {
  const found: Entry[] = [];
  for (let last: string | null = ''; last !== null;) {
    const page: { entries: readonly Entry[]; last: string | null } = await log(
      as,
      path,
      `?n=${n}&${filter}${last === '' ? '' : `&last=${last}`}`,
    );
    expect(page.entries.length).toBeLessThanOrEqual(n);
    found.push(...page.entries);
    last = page.last;
  }
  return found.map(({ key }) => key ?? '');
}

describe('the audit log', () => {
  beforeEach(async () => {
    await write('central', 1, 'a');
    await write('node1', 2, 'b', { action: 'evict image', subject: '' });
    await write('central', 3, 'c', { subject: 'id-of-bob', organization: 'bob' });
    await write('node2', 4, 'd', { action: 'pin image', subject: 'id-of-admin' });
    await write('central', 5, 'e', { action: 'restore tag' });
  });

  test.each([
    ['', 'e d c b a'],
    ['by=alice', 'e a'],
    ['by=id-of-alice', 'e a'],
    ['by=nobody', ''],
    ['action=delete+tag', 'c a'],
    ['action=delete+tag&by=bob', 'c'],
    ['store=node1', 'b'],
    ['store=central&by=alice', 'e a'],
    ['from=2030-01-01T00:00:00.003Z', 'e d c'],
    ['before=2030-01-01T00:00:00.003Z', 'b a'],
    ['from=2030-01-01T00:00:00.002Z&before=2030-01-01T00:00:00.004Z', 'c b'],
    ['from=2030-01-01T01:00:00.004%2B01:00', 'e d'],
  ])('with the filter %j shows %j, on pages of any size', async (filter, keys) => {
    for (const n of [1, 2, 100]) expect((await keysOf(filter, n)).join(' ')).toBe(keys);
  });

  test('of an organization can be filtered too, and shows nothing of others', async () => {
    expect(await keysOf('action=delete+tag', 100, 'alice', 'organizations/alice/audit')).toEqual(['a']);
    expect(await keysOf('by=bob', 100, 'alice', 'organizations/alice/audit')).toEqual([]);
  });

  test.each([
    ['action=dance', 'action'],
    ['store=nowhere', 'store'],
    ['from=yesterday', 'from'],
    ['before=1700000000', 'before'],
  ])('refuses the filter %s', async (filter, field) => {
    const { status, body } = await api('GET', `audit?${filter}`, { as: 'admin' });
    expect([status, body]).toMatchObject([400, { errors: [{ message: expect.stringMatching(`^${field}: `) }] }]);
  });
});

test('a filter that few entries match goes through the log in bounded pages, and misses none', async () => {
  const many = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
    INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
    SELECT ?1 + i, 'delete tag', 'alice', 'alice/app', i, iif(i % 2999 = 0, 'rare', ''), '', '' FROM n`;
  await env.DB_CENTRAL.prepare(many).bind(START).run();
  await write('node1', 500, 'at a node', { subject: 'rare' });
  await write('node1', 5500, 'later', { subject: 'rare' });
  const first = await log('admin', 'audit', '?by=rare');
  // The whole log of the node was looked at, but not central's, so the node's earlier entry waits.
  expect(first.entries.map(({ key }) => key)).toEqual(['5998', 'later']);
  expect(first.last).not.toBeNull();
  expect(await keysOf('by=rare')).toEqual(['5998', 'later', '2999', 'at a node']);
  expect(await keysOf('by=rare', 1)).toEqual(['5998', 'later', '2999', 'at a node']);
});
