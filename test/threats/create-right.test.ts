import { beforeEach, describe, expect, test } from 'vitest';
import { addCredentials, addUsers, basic } from '../support/client.ts';
import { first, indexOf } from '../support/fixture.ts';
import { type As, HOSTS_AND_NODES } from './hosts.ts';

/** Credentials that have some rights, but not all. */
const MEMBERS = {
  pusher: ['pull', 'push'],
  'blind-pusher': ['push'],
  deleter: ['pull', 'delete'],
  reader2: ['pull'],
  manager: ['admin'],
} as const;
type Member = keyof typeof MEMBERS;

const userOf = (name: Member) => ({ name, password: `password-of-${name}` });

beforeEach(async () => {
  await addUsers();
  await addCredentials(
    Object.entries(MEMBERS).map(([name, rights]) => ({
      name,
      password: userOf(name as Member).password,
      kind: 'organization',
      organization: 'alice',
      rights,
    })),
  );
});

describe.each(HOSTS_AND_NODES)('a right allows nothing beyond it at $name', (host) => {
  const presented = async (name: Member): Promise<As[]> => {
    const as = { authorization: basic(userOf(name)) };
    return [
      as,
      await host.tokenFor(as, 'repository:alice/app:pull,push,delete'),
      await host.tokenFor(as, 'repository:alice/app:*'),
    ];
  };

  test.each<Member>(['pusher', 'blind-pusher', 'reader2', 'manager'])(
    '%s deletes nothing: tag, digest, blob',
    async (name) => {
      const image = await host.putImage('alice/app', 1, ['a', 'b', 'c']);
      const loose = await host.putBlob('alice/app', image.bytes);
      const callers = await presented(name);
      const before = await host.snapshotWithoutUse();
      for (const as of callers) {
        for (const path of [
          'manifests/a',
          'manifests/c',
          `manifests/${image.digest}`,
          `blobs/${loose}`,
          `blobs/${first(image.manifest.requiredBlobs)}`,
          'manifests/none',
        ]) {
          expect([path, (await host.call('DELETE', `/v2/alice/app/${path}`, { as })).status]).toEqual([path, 403]);
        }
      }
      expect(await host.snapshotWithoutUse()).toBe(before);
    },
  );

  test.each<Member>(['deleter', 'reader2', 'manager'])(
    '%s writes nothing: not to a new tag, an existing one, several, or a digest',
    async (name) => {
      await host.putImage('alice/app', 1, ['a', 'b', 'c']);
      const index = await indexOf([]);
      const callers = await presented(name);
      const before = await host.snapshotWithoutUse();
      for (const as of callers) {
        for (const reference of ['a', 'new', index.digest, `${index.digest}?tag=a&tag=b`, `${index.digest}?tag=new`]) {
          expect([reference, (await host.putManifest('alice/app', reference, index, as)).status]).toEqual([
            reference,
            403,
          ]);
        }
      }
      expect(await host.snapshotWithoutUse()).toBe(before);
    },
  );

  test('deleting one tag leaves the others, and the manifest', async () => {
    const image = await host.putImage('alice/app', 1, ['a', 'b']);
    const [as] = await presented('deleter');
    expect((await host.call('DELETE', '/v2/alice/app/manifests/a', as === undefined ? {} : { as })).status).toBe(202);
    for (const [reference, status] of [
      ['a', 404],
      ['b', 200],
      [image.digest, 200],
    ] as const) {
      expect([reference, await host.read(`/v2/alice/app/manifests/${reference}`, 'alice')]).toEqual([
        reference,
        status,
      ]);
    }
  });

  test('a header or parameter that names another method grants nothing', async () => {
    await host.putImage('alice/app', 1, ['a']);
    const [as] = await presented('pusher');
    const headers = { 'X-HTTP-Method-Override': 'DELETE', 'X-HTTP-Method': 'DELETE' };
    for (const method of ['POST', 'PATCH', 'GET']) {
      await host.call(method, '/v2/alice/app/manifests/a?_method=DELETE', {
        ...(as === undefined ? {} : { as }),
        headers,
      });
    }
    expect(await host.read('/v2/alice/app/manifests/a', 'alice')).toBe(200);
  });
});
