import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { bytesOf, first, type Image, imageOf, indexOf } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

describe.each(HOSTS_AND_NODES)('a digest known is content read: not at $name', (host) => {
  let secret: Digest;
  let image: Image;
  beforeEach(async () => {
    image = await host.putImage('bob/secret', 1, ['latest'], 'bob');
    secret = first(image.manifest.requiredBlobs);
    await host.putImage('alice/app', 50, ['latest']);
  });

  const linksOfAlice = async () =>
    (await host.rowsOf<{ digest: string }>("SELECT digest FROM links WHERE repository GLOB 'alice/*'")).map(
      ({ digest }) => digest,
    );

  test.each([{}, { Range: 'bytes=0-3' }, { 'If-None-Match': '*' }, { 'If-Range': '"x"' }])(
    'by reading it elsewhere, %j',
    async (headers) => {
      for (const method of ['GET', 'HEAD']) {
        for (const path of [`blobs/${secret}`, `manifests/${image.digest}`]) {
          const own = await host.call(method, `/v2/alice/app/${path}`, { as: 'alice', headers });
          expect([method, path, own.status, own.headers.get('Docker-Content-Digest')]).toEqual([
            method,
            path,
            404,
            null,
          ]);
          const foreign = await host.call(method, `/v2/bob/secret/${path}`, { as: 'alice', headers });
          expect([method, path, foreign.status]).toEqual([method, path, 403]);
        }
      }
      const index = await host.call('GET', `/v2/alice/app/referrers/${image.digest}`, { as: 'alice' });
      expect(await index.json()).toMatchObject({ manifests: [] });
    },
  );

  test.each([
    '&from=bob/secret',
    '',
    '&from=bob/other',
    '&from=alice/other',
    '&from=BOB/SECRET',
    '&from=bob%2Fsecret&from=bob/secret',
  ])('by mounting it with "%s"', async (from) => {
    for (const as of [
      'alice',
      await host.tokenFor('alice', 'repository:alice/app:pull,push', 'repository:bob/secret:pull'),
    ] as const) {
      const response = await host.call('POST', `/v2/alice/app/blobs/uploads/?mount=${secret}${from}`, { as });
      expect(response.status).toBe(202);
      expect(await linksOfAlice()).not.toContain(secret);
      expect(await host.read(`/v2/alice/app/blobs/${secret}`, as)).toBe(404);
    }
  });

  test('by mounting it from a repository that the caller could not pull from at that time', async () => {
    await host.publish('bob', 'secret');
    expect(
      (await host.call('POST', `/v2/alice/open/blobs/uploads/?mount=${secret}&from=bob/secret`, { as: 'alice' }))
        .status,
    ).toBe(201);
    await host.call('PATCH', '/api/organizations/bob/repositories/secret', {
      as: 'bob',
      headers: { 'Content-Type': 'application/json' },
      body: '{"visibility":"private"}',
    });
    expect(
      (await host.call('POST', `/v2/alice/app/blobs/uploads/?mount=${secret}&from=bob/secret`, { as: 'alice' })).status,
    ).toBe(202);
  });

  test('by mounting it from a repository of the same organization that the credential does not cover', async () => {
    const other = await host.putBlob('alice/other', bytesOf(90, 10));
    for (const from of ['&from=alice/other', '']) {
      const response = await host.call('POST', `/v2/alice/app/blobs/uploads/?mount=${other}${from}`, {
        as: 'aliceApp',
      });
      expect(response.status).toBe(202);
    }
    expect(await host.read(`/v2/alice/app/blobs/${other}`, 'aliceApp')).toBe(404);
  });

  test('by a manifest that names it', async () => {
    const claim = await imageOf(secret, [secret]);
    const response = await host.putManifest('alice/app', 'claim', claim);
    expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_BLOB_UNKNOWN']);
    // An index may name absent manifests, but that gives no access to them.
    const index = await indexOf([image.digest]);
    expect((await host.putManifest('alice/app', 'claim', index)).status).toBe(201);
    expect(await host.read(`/v2/alice/app/manifests/${image.digest}`, 'alice')).toBe(404);
    expect(await host.read(`/v2/alice/app/blobs/${secret}`, 'alice')).toBe(404);
  });

  test('by claiming to upload it, without its bytes', async () => {
    const attempts = [
      () => host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${secret}`, { as: 'alice' }),
      () => host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${secret}`, { as: 'alice', body: 'other bytes' }),
      async () => host.call('PUT', `${await host.open('alice/app')}?digest=${secret}`, { as: 'alice' }),
      async () =>
        host.call('PUT', `${await host.open('alice/app')}?digest=${secret}`, { as: 'alice', body: 'other bytes' }),
    ];
    for (const attempt of attempts) {
      expect((await attempt()).status).toBe(400);
      expect(await linksOfAlice()).not.toContain(secret);
    }
  });
});
