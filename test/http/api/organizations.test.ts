/** Organizations: their usage, and removing them. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test, vi } from 'vitest';
import { addUsers, basic, call, callApi, tokenFor } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';

beforeEach(addUsers);

test('usage counts distinct blobs and manifests', async () => {
  const { bytes: manifest } = await putImage('alice/a', 1, ['x', 'y']);
  await putImage('alice/b', 1, ['x']);
  expect(await (await callApi('GET', 'organizations/alice/usage', 'alice')).json()).toEqual({
    repositories: 2,
    manifests: 2,
    tags: 3,
    blobs: 2,
    bytes: 100,
    manifest_bytes: manifest.byteLength,
    used: 100 + manifest.byteLength,
    in_flight: 0,
    quota: null,
    limits: { manifests: 1_000_000, tags: 1_000_000, blobs: 3_000_000 },
    complete: true,
  });
});

test('an organization can be removed once it is empty, and a new owner of its name sees nothing of the old one, not even what old tokens pushed later', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const image = await putImage('alice/app', 1, ['latest']);
    await callApi('PATCH', 'organizations/alice/repositories/app', 'alice', { visibility: 'public' });
    expect((await callApi('DELETE', 'organizations/alice', 'admin')).status).toBe(409);
    await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as: 'alice' });
    const token = await tokenFor('alice', 'repository:alice/app:pull,push');
    expect((await callApi('DELETE', 'organizations/alice', 'admin')).status).toBe(204);
    expect((await callApi('GET', 'organizations/alice', 'admin')).status).toBe(404);
    await putImage('alice/app', 1, ['late'], { as: token });
    expect((await callApi('POST', 'organizations', 'admin', { name: 'alice' })).status).toBe(409);
    vi.setSystemTime(Date.now() + 600_000);
    expect((await callApi('POST', 'organizations', 'admin', { name: 'alice' })).status).toBe(201);
    const created = await callApi('POST', 'organizations/alice/credentials', 'admin', {
      name: 'new',
      rights: ['pull'],
    });
    const { secret } = await created.json<{ secret: string }>();
    const as = { authorization: basic({ name: 'alice', password: secret }) };
    expect((await call('GET', `/v2/alice/app/blobs/${image.manifest.requiredBlobs[0]}`, { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/manifests/late', { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/tags/list', { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/tags/list')).status).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});

test('removing an organization that does not exist changes nothing', async () => {
  await putImage('alice/app', 1, ['latest']);
  await env.DB_CENTRAL.prepare("DELETE FROM organizations WHERE name = 'alice'").run();
  expect((await callApi('DELETE', 'organizations/alice', 'admin')).status).toBe(404);
  expect((await call('GET', '/v2/alice/app/manifests/latest', { as: 'alice' })).status).toBe(200);
});
