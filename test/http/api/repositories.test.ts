/** Repositories: their visibility, and creating and removing them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, callApi } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';

beforeEach(addUsers);

describe('repositories', () => {
  test('are private until made public, and private again when removed and pushed anew', async () => {
    await putImage('alice/team/app', 1, ['latest']);
    const manifest = '/v2/alice/team/app/manifests/latest';
    expect((await call('GET', manifest)).status).toBe(401);
    const changed = await callApi('PATCH', 'organizations/alice/repositories/team%2Fapp', 'alice', {
      visibility: 'public',
    });
    expect(await changed.json()).toMatchObject({ name: 'alice/team/app', visibility: 'public' });
    expect((await call('GET', manifest)).status).toBe(200);
    expect((await call('GET', manifest, { as: 'bob' })).status).toBe(200);
    expect((await callApi('DELETE', 'organizations/alice/repositories/team%2Fapp', 'alice')).status).toBe(204);
    expect((await call('GET', manifest, { as: 'alice' })).status).toBe(404);
    await putImage('alice/team/app', 1, ['latest']);
    expect((await call('GET', manifest)).status).toBe(401);
  });

  test('can be created before the first push', async () => {
    expect(
      (await callApi('POST', 'organizations/alice/repositories', 'alice', { name: 'early', visibility: 'public' }))
        .status,
    ).toBe(201);
    expect((await callApi('POST', 'organizations/alice/repositories', 'alice', { name: 'early' })).status).toBe(409);
    expect(await (await call('GET', '/v2/alice/early/tags/list')).json()).toEqual({ name: 'alice/early', tags: [] });
  });
});
