/** Harbor's two requests: removing a repository, and reading an organization's quota. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addCredentials, addUsers, call, type NewUser, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { snapshotWithoutUse } from '../../support/fixture.ts';
import { type CentralImage, imagesIn, whole, wholeOf } from '../../support/platform-images.ts';

const DELETER: NewUser = {
  kind: 'organization',
  name: 'deleter',
  password: 'deleter-secret',
  organization: 'alice',
  rights: ['delete'],
  repositories: ['alice/team/*'],
};

/** Bytes that alice uses: two blobs and their manifest. */
let used: number;

beforeEach(async () => {
  await addUsers();
  await addCredentials([DELETER]);
  for (const name of ['alice/app', 'alice/team/app', 'alice/team/deep/app']) {
    used = 100 + (await putImage(name, 1, ['latest', 'v1'])).bytes.byteLength;
  }
  await putImage('bob/app', 1, ['latest'], { as: 'bob' });
});

const remove = (project: string, name: string, as: UserName | { readonly authorization: string } = wholeOf('alice')) =>
  call('DELETE', `/api/v2.0/projects/${project}/repositories/${name}`, { as });

async function listed(): Promise<string[]> {
  return (await imagesIn<CentralImage>(await call('GET', '/v1/images', { as: wholeOf('alice') }))).map(
    ({ name }) => name,
  );
}

describe('removing a repository', () => {
  test('deletes every tag and manifest, and takes the repository out of every list at once', async () => {
    expect((await remove('alice', 'app')).status).toBe(200);
    expect(await listed()).toEqual(['alice/team/app', 'alice/team/deep/app']);
    expect((await call('GET', '/v2/alice/app/tags/list', { as: 'alice' })).status).toBe(404);
    expect((await remove('alice', 'app')).status).toBe(404);
    await putImage('alice/app', 2, ['latest']);
    expect(await listed()).toContain('alice/app');
  });

  test('says NOT_FOUND, which kraft treats as a warning, only when the repository does not exist', async () => {
    const textOf = async (project: string, name: string) => (await remove(project, name)).text();
    expect(await textOf('alice', 'none')).toBe(
      '{"status":"error","errors":[{"status":404,"message":"NOT_FOUND: there is no such repository"}]}',
    );
    expect(await textOf('bob', 'app')).not.toContain('NOT_FOUND');
    expect(await (await call('GET', '/api/v2.0/nothing', { as: wholeOf('alice') })).text()).not.toContain('NOT_FOUND');
  });

  test.each(['team/deep/app', 'team%2Fdeep%2Fapp', 'team%252Fdeep%252Fapp', 'team%2fdeep%2fapp'])(
    'accepts a name with slashes in any encoding: %s',
    async (name) => {
      expect((await remove('alice', name)).status).toBe(200);
      expect(await listed()).toEqual(['alice/app', 'alice/team/app']);
    },
  );

  test('requires the right to delete from that repository', async () => {
    const before = await snapshotWithoutUse();
    for (const as of ['aliceReader', 'aliceApp', 'bob', 'platform', 'admin'] as const) {
      expect([as, (await remove('alice', 'app', wholeOf(as))).status]).toEqual([as, 403]);
      expect([as, (await remove('alice', 'none', wholeOf(as))).status]).toEqual([as, 403]);
    }
    expect((await remove('alice', 'app', whole(DELETER))).status).toBe(403);
    expect((await call('DELETE', '/api/v2.0/projects/alice/repositories/app')).status).toBe(401);
    expect(await snapshotWithoutUse()).toBe(before);
    expect((await remove('alice', 'team%2Fapp', whole(DELETER))).status).toBe(200);
    expect((await remove('alice', 'team%2Fapp', whole(DELETER))).status).toBe(404);
    expect((await remove('alice', 'app', 'alice')).status).toBe(200);
  });

  test.each([
    ['alice', '..%2Fbob%2Fapp'],
    ['alice', '..%252Fbob%252Fapp'],
    ['alice', '%2E%2E%2Fapp'],
    ['alice', 'App'],
    ['alice', "app' OR 1=1"],
    ['alice', 'app%00'],
    ['alice', '%25252F'],
    ['alice%2Fteam', 'app'],
    ['alice%252Fteam', 'app'],
    ['Alice', 'app'],
    ['*', '*'],
  ])('refuses a hostile name: %s, %s', async (project, name) => {
    const before = await snapshotWithoutUse();
    const response = await remove(project, name);
    expect([response.status, (await response.json<{ status: string }>()).status]).toEqual([400, 'error']);
    expect(await snapshotWithoutUse()).toBe(before);
  });
});

describe('the summary of an organization', () => {
  const summary = (project: string, as: UserName) =>
    call('GET', `/api/v2.0/projects/${project}/summary`, { as: wholeOf(as) });

  test('shows its usage, in distinct blobs and manifests, and no limit', async () => {
    const answer = await summary('alice', 'alice');
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { quota: { hard: { storage: -1 }, used: { storage: used } } },
    ]);
    expect((await summary('alice', 'aliceReader')).status).toBe(200);
    expect((await summary('alice', 'admin')).status).toBe(200);
  });

  test('shows its quota', async () => {
    const body = JSON.stringify({ bytes: 1000 });
    const headers = { 'Content-Type': 'application/json' };
    expect((await call('PUT', '/api/organizations/alice/quota', { as: 'admin', headers, body })).status).toBe(200);
    expect(await (await summary('alice', 'alice')).json()).toEqual({
      quota: { hard: { storage: 1000 }, used: { storage: used } },
    });
  });

  test('is for its members, and administrators', async () => {
    expect((await summary('alice', 'bob')).status).toBe(403);
    expect((await summary('alice', 'platform')).status).toBe(403);
    expect((await summary('nobody', 'bob')).status).toBe(403);
    expect((await summary('nobody', 'admin')).status).toBe(404);
    expect((await call('GET', '/api/v2.0/projects/alice/summary')).status).toBe(401);
    expect((await summary('Alice', 'alice')).status).toBe(400);
  });
});

test('the management API, which is also under /api/, still answers', async () => {
  const response = await call('GET', '/api/organizations/alice');
  expect(response.status).toBe(401);
  expect((await response.json<{ errors: { code: string }[] }>()).errors[0]?.code).toBe('UNAUTHORIZED');
  for (const as of ['alice', wholeOf('alice')] as const) {
    expect((await call('GET', '/api/organizations/alice', { as })).status).toBe(200);
  }
});
