/** `GET /api/caller` shows the credential that the request logs in with. */
import { beforeEach, expect, test } from 'vitest';
import { addUsers, call } from '../../support/client.ts';

beforeEach(() => addUsers());

const EVERYWHERE = [
  { name: 'central', host: 'localhost:8787' },
  { name: 'node1', host: 'localhost:8788' },
  { name: 'node2', host: 'localhost:8789' },
];

test("an organization's credential has its rights and repositories", async () => {
  const answer = await call('GET', '/api/caller', { as: 'alice' });
  expect(await answer.json()).toEqual({
    kind: 'organization',
    organization: 'alice',
    rights: ['pull', 'push', 'delete', 'admin'],
    repositories: ['alice/*'],
    registries: EVERYWHERE,
    expires_at: null,
  });
});

test('an administrator has no rights on repositories', async () => {
  const answer = await call('GET', '/api/caller', { as: 'admin' });
  expect(await answer.json()).toMatchObject({
    kind: 'administrator',
    organization: null,
    rights: [],
    repositories: [],
  });
});

test('a credential for some registries lists those alone', async () => {
  const created = await call('POST', '/api/organizations/alice/credentials', {
    as: 'alice',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'near', rights: ['pull'], registries: ['central', 'node2'] }),
  });
  const { secret } = await created.json<{ secret: string }>();
  const answer = await call('GET', '/api/caller', { as: { authorization: `Basic ${btoa(`alice:${secret}`)}` } });
  expect(await answer.json()).toMatchObject({ rights: ['pull'], registries: [EVERYWHERE[0], EVERYWHERE[2]] });
});

test('without a login there is no caller', async () => {
  expect((await call('GET', '/api/caller')).status).toBe(401);
});
