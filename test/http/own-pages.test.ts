/** A page of another site cannot use the password that a browser remembers for this registry. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, HOST } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { snapshotWithoutUse } from '../support/fixture.ts';

beforeEach(async () => {
  await addUsers();
  await putImage('alice/app', 1, ['latest']);
});

/** Requests as a page's form, image or script can send them, and as a proxy or an old browser may let them through. */
const CHANGES = [
  ['POST', '/api/replication/queues/node1/announce-all', 'admin'],
  ['POST', '/api/replication/queues/node1/retry', 'admin'],
  ['PUT', '/api/organizations/alice/repositories/app/images/latest/pins/node1', 'admin'],
  ['DELETE', '/api/organizations/alice/credentials/reader', 'alice'],
  ['DELETE', '/api/organizations/alice/repositories/app', 'alice'],
  ['DELETE', '/api/v2.0/projects/alice/repositories/app', 'alice'],
  ['DELETE', '/v2/alice/app/manifests/latest', 'alice'],
  ['POST', '/v2/alice/app/blobs/uploads/', 'alice'],
] as const;

describe.each([
  ['Sec-Fetch-Site: cross-site', { 'Sec-Fetch-Site': 'cross-site' }],
  ['Sec-Fetch-Site: same-site', { 'Sec-Fetch-Site': 'same-site', Origin: HOST }],
  ['the Origin of another site', { Origin: 'https://other.example.com' }],
  ['the Origin of another port', { Origin: 'http://registry.localhost:8788' }],
  ['the Origin of a sandboxed page', { Origin: 'null' }],
])('with %s', (_name, headers) => {
  test.each(CHANGES)('%s %s is 403, and changes nothing', async (method, path, as) => {
    const before = await snapshotWithoutUse();
    const response = await call(method, path, { as, headers });
    expect([response.status, await response.text()]).toEqual([
      403,
      expect.stringContaining('a page of another origin may not change anything here'),
    ]);
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test('reads are still answered', async () => {
    for (const path of ['/api/organizations/alice', '/v2/alice/app/manifests/latest'])
      expect([path, (await call('GET', path, { as: 'alice', headers })).status]).toEqual([path, 200]);
  });
});

test.each([
  ['a page of the registry itself', { 'Sec-Fetch-Site': 'same-origin', Origin: HOST }],
  [
    'a page of the registry behind a proxy that terminates TLS',
    { 'Sec-Fetch-Site': 'same-origin', Origin: HOST.replace('http:', 'https:') },
  ],
  ['a user who enters the address', { 'Sec-Fetch-Site': 'none' }],
  ['a client that is not a browser', {}],
])('%s may change what its user may', async (_name, headers) => {
  const json = { 'Content-Type': 'application/json', ...headers };
  const change = { as: 'alice', headers: json, body: '{"visibility":"public"}' } as const;
  expect((await call('PATCH', '/api/organizations/alice/repositories/app', change)).status).toBe(200);
  expect((await call('DELETE', '/v2/alice/app/manifests/latest', { as: 'alice', headers })).status).toBe(202);
  expect((await call('DELETE', '/api/v2.0/projects/alice/repositories/app', { as: 'alice', headers })).status).toBe(
    200,
  );
  expect((await env.DB_CENTRAL.prepare("SELECT 1 FROM repositories WHERE name = 'alice/app'").all()).results).toEqual(
    [],
  );
});
