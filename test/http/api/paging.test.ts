/** Lists of the management API come in pages. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, callApi, errorsOf } from '../../support/client.ts';

beforeEach(addUsers);

test('lists come in pages', async () => {
  for (const name of ['o1', 'o2', 'o3']) await callApi('POST', 'organizations', 'admin', { name });
  const page = await (await callApi('GET', 'organizations?n=2&last=o1', 'admin')).json();
  expect(page).toMatchObject({ organizations: [{ name: 'o2' }, { name: 'o3' }] });
});

describe('n of a list', () => {
  const LISTS = [
    'organizations',
    'credentials',
    'organizations/alice/credentials',
    'organizations/alice/repositories',
    'organizations/alice/audit',
    'audit',
    'replication/queues/node1/parked',
    'replication/queues/node1/only-here',
  ];

  test.each(['', '1001', '99999999999999999999', '9'.repeat(400)])(
    '%j is accepted: an empty one means the default, and one above the maximum means the maximum',
    async (n) => {
      for (const list of LISTS)
        expect([list, (await callApi('GET', `${list}?n=${n}`, 'admin')).status]).toEqual([list, 200]);
    },
  );

  test.each(['0', '00', '-1', '1.5', '1e2', '0x10', 'x', '%201'])(
    '%j is 400, and the message says what n must be',
    async (n) => {
      for (const list of LISTS) {
        const response = await callApi('GET', `${list}?n=${n}`, 'admin');
        expect([list, response.status]).toEqual([list, 400]);
        expect((await errorsOf(response))[0]?.message).toBe('n: must be a whole number, 1 or more');
      }
    },
  );

  test('above the maximum gives a page of the maximum', async () => {
    const names = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)';
    await env.DB_CENTRAL.prepare(
      `INSERT INTO organizations (name, created_at) ${names} SELECT printf('o%05d', i), 0 FROM n`,
    ).run();
    const sizeOf = async (query: string) =>
      (await (await callApi('GET', `organizations${query}`, 'admin')).json<{ organizations: unknown[] }>())
        .organizations.length;
    expect([await sizeOf('?n=99999999999999999999'), await sizeOf('?n='), await sizeOf('')]).toEqual([1000, 100, 100]);
  });
});
