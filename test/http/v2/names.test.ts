/** References and names that nothing can have: reads and deletions find nothing, and pushes are told what to do. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, codeOf, errorsOf, tokenFor, USERS } from '../../support/client.ts';
import { putBlob, putImage, putManifest } from '../../support/content.ts';
import { bytesOf, imageOf, indexOf, snapshotWithoutUse } from '../../support/fixture.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { ThreeHosts } from '../../support/three-hosts.ts';

// A node's own queue would race with those of the tests' hosts.
beforeEach(keepQueuesStill);
beforeEach(addUsers);

const as = 'alice';
const READS = ['GET', 'HEAD'] as const;
const ZERO = `sha256:${'0'.repeat(64)}`;
const BLAKE3 = `blake3:${'0'.repeat(64)}`;

type Answer = readonly [status: number, code: string | undefined];

async function answer(method: string, path: string, options: Parameters<typeof call>[2] = { as }): Promise<Answer> {
  const response = await call(method, path, options);
  return [response.status, method === 'HEAD' ? undefined : await codeOf(response)];
}

const told = (method: string, status: number, code: string): Answer => [status, method === 'HEAD' ? undefined : code];

describe('an invalid tag', () => {
  const MALFORMED = ['.INVALID_MANIFEST_NAME', '-x', 'a'.repeat(129), 'a b', 'a+b', 'ä', '%00', '<b>'];

  test.each(MALFORMED)('%j is unknown to GET, HEAD and DELETE, like any absent tag', async (tag) => {
    await putImage('alice/app', 1, ['latest']);
    const before = await snapshotWithoutUse();
    for (const method of [...READS, 'DELETE']) {
      const here = await answer(method, `/v2/alice/app/manifests/${encodeURIComponent(tag)}`);
      expect([method, here]).toEqual([method, told(method, 404, 'MANIFEST_UNKNOWN')]);
      const nowhere = await answer(method, `/v2/alice/typo/manifests/${encodeURIComponent(tag)}`);
      expect([method, nowhere]).toEqual([method, told(method, 404, 'NAME_UNKNOWN')]);
    }
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test.each(MALFORMED)('%j is refused to a push', async (tag) => {
    const response = await putManifest('alice/app', encodeURIComponent(tag), await indexOf([]));
    expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_INVALID']);
  });

  test('reveals nothing about a repository that the caller may not read', async () => {
    await putImage('alice/app', 1, ['latest']);
    for (const repository of ['alice/app', 'alice/typo']) {
      const path = `/v2/${repository}/manifests/.INVALID_MANIFEST_NAME`;
      expect(await answer('GET', path, {})).toEqual([401, 'UNAUTHORIZED']);
      expect(await answer('GET', path, { as: 'bob' })).toEqual([403, 'DENIED']);
      expect(await answer('DELETE', path, { as: 'aliceReader' })).toEqual([403, 'DENIED']);
    }
  });

  test('is truncated in the error', async () => {
    await putImage('alice/app', 1, ['latest']);
    const response = await call('GET', `/v2/alice/app/manifests/${'a'.repeat(5000)}`, { as });
    expect((await errorsOf(response))[0]?.detail['tag']).toBe('a'.repeat(200));
  });
});

describe('a repository that does not exist', () => {
  test('is NAME_UNKNOWN to DELETE and GET, at a node too', async () => {
    const hosts = await ThreeHosts.open();
    await putImage('alice/app', 1, ['latest']);
    await hosts.drain();
    for (const host of ['central', 'node1'] as const) {
      for (const method of ['GET', 'DELETE']) {
        for (const reference of ['typo', ZERO]) {
          const codeFor = async (repository: string) =>
            (await hosts.call(host, method, `/v2/${repository}/manifests/${reference}`)).code;
          expect([host, method, reference, await codeFor('alice/typo')]).toEqual([
            host,
            method,
            reference,
            'NAME_UNKNOWN',
          ]);
          expect([host, method, reference, await codeFor('alice/app')]).toEqual([
            host,
            method,
            reference,
            'MANIFEST_UNKNOWN',
          ]);
        }
      }
    }
  });
});

describe.each([
  ['alpine', 'a repository name starts with its organization'],
  [`alice/${'a'.repeat(260)}`, 'a repository name has at most 255 characters'],
])('the name %s, which the spec permits and Berth does not', (name, problem) => {
  test('is unknown to GET, HEAD and DELETE, whoever asks', async () => {
    for (const options of [{}, { as }, { as: 'bob' }] as const) {
      for (const method of [...READS, 'DELETE']) {
        for (const path of ['manifests/latest', `manifests/${ZERO}`, `blobs/${ZERO}`, 'blobs/uploads/session']) {
          expect([method, path, await answer(method, `/v2/${name}/${path}`, options)]).toEqual([
            method,
            path,
            told(method, 404, 'NAME_UNKNOWN'),
          ]);
        }
      }
      expect(await answer('GET', `/v2/${name}/tags/list`, options)).toEqual([404, 'NAME_UNKNOWN']);
    }
  });

  test('has an empty list of referrers', async () => {
    const response = await call('GET', `/v2/${name}/referrers/${ZERO}`, { as });
    expect([response.status, (await response.json<{ manifests: unknown[] }>()).manifests]).toEqual([200, []]);
    expect(response.headers.get('Content-Type')).toBe('application/vnd.oci.image.index.v1+json');
  });

  test('is denied to POST, PATCH and PUT at once, and the error says what to do', async () => {
    const before = await snapshotWithoutUse();
    for (const options of [{}, { as }] as const) {
      for (const [method, path] of [
        ['POST', 'blobs/uploads/'],
        ['POST', `blobs/uploads/?digest=${ZERO}`],
        ['PATCH', 'blobs/uploads/session'],
        ['PUT', `blobs/uploads/session?digest=${ZERO}`],
        ['PUT', 'manifests/latest'],
      ] as const) {
        const response = await call(method, `/v2/${name}/${path}`, { ...options, body: 'x' });
        expect([method, path, response.status]).toEqual([method, path, 403]);
        const [error] = await errorsOf(response);
        expect([error?.code, error?.message]).toEqual(['DENIED', expect.stringContaining(problem)]);
      }
    }
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test.each(['pull,push', 'push', '*', 'push,pull,delete'])(
    'gets no token if only a push to it is requested (%s)',
    async (actions) => {
      const scope = `repository:${name}:${actions}`;
      const form = { grant_type: 'password', username: 'alice', password: USERS.alice.password, scope };
      for (const response of [
        await call('GET', `/token?${new URLSearchParams({ scope }).toString()}`, { as }),
        await call('GET', `/token?${new URLSearchParams({ scope }).toString()}`),
        await call('POST', '/token', { body: new URLSearchParams(form) }),
      ]) {
        expect(response.status).toBe(403);
        const [error] = await errorsOf(response);
        expect([error?.code, error?.message]).toEqual(['DENIED', expect.stringContaining(problem)]);
      }
    },
  );

  test('gets a token for the rest if more is requested, or only a pull', async () => {
    for (const scopes of [
      [`repository:${name}:pull`],
      [`repository:${name}:pull,push`, 'repository:alice/base:pull'],
    ]) {
      const token = await tokenFor(as, ...scopes);
      expect(await answer('GET', `/v2/${name}/manifests/latest`, { as: token })).toEqual([404, 'NAME_UNKNOWN']);
    }
  });
});

test('a push without an organization is told where to push to', async () => {
  const response = await call('POST', '/v2/app/blobs/uploads/', { as });
  expect((await errorsOf(response))[0]?.message).toBe(
    'a repository name starts with its organization: push to registry.localhost:8787/<organization>/app:<tag>',
  );
});

test('a name that no registry may hold is NAME_INVALID for every method', async () => {
  for (const name of ['Alpine', 'a..b', '-a/b', 'alice/a_']) {
    for (const [method, path] of [
      ['GET', 'manifests/latest'],
      ['DELETE', 'manifests/latest'],
      ['GET', `referrers/${ZERO}`],
      ['PUT', 'manifests/latest'],
      ['POST', 'blobs/uploads/'],
    ] as const) {
      expect([method, name, await answer(method, `/v2/${name}/${path}`)]).toEqual([
        method,
        name,
        [400, 'NAME_INVALID'],
      ]);
    }
  }
});

describe('a digest of an algorithm that Berth does not support', () => {
  const OTHERS = [
    BLAKE3,
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
  ];

  test.each(OTHERS)('%s is absent', async (digest) => {
    await putImage('alice/app', 1, ['latest']);
    for (const method of [...READS, 'DELETE']) {
      const manifest = await answer(method, `/v2/alice/app/manifests/${digest}`);
      expect([method, manifest]).toEqual([method, told(method, 404, 'MANIFEST_UNKNOWN')]);
      const blob = await answer(method, `/v2/alice/app/blobs/${digest}`);
      expect([method, blob]).toEqual([method, told(method, 404, 'BLOB_UNKNOWN')]);
    }
    expect(await answer('GET', `/v2/alice/app/blobs/${digest}`, {})).toEqual([401, 'UNAUTHORIZED']);
    expect(await answer('GET', `/v2/alice/app/manifests/${digest}`, { as: 'bob' })).toEqual([403, 'DENIED']);
  });

  test.each(OTHERS)('%s may be a subject, and has its referrers', async (digest) => {
    const path = `/v2/alice/app/referrers/${digest}`;
    const listed = async () => {
      const response = await call('GET', path, { as });
      expect(response.status).toBe(200);
      return (await response.json<{ manifests: { digest: string }[] }>()).manifests.map((each) => each.digest);
    };
    expect(await listed()).toEqual([]);
    const config = await putBlob('alice/app', bytesOf(1, 10));
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 };
    const image = await imageOf(config, [], { subject });
    const pushed = await putManifest('alice/app', image.digest, image);
    expect([pushed.status, pushed.headers.get('OCI-Subject')]).toEqual([201, digest]);
    expect(await listed()).toEqual([image.digest]);
    expect((await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as })).status).toBe(202);
    expect(await listed()).toEqual([]);
  });

  test('is a subject at every host', async () => {
    const hosts = await ThreeHosts.open();
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: BLAKE3, size: 1 };
    const index = await indexOf([], { subject });
    expect((await hosts.putManifest('node1', 'alice/app', index.digest, index)).status).toBe(201);
    await hosts.drain();
    for (const host of ['central', 'node1', 'node2'] as const) {
      const { bytes } = await hosts.call(host, 'GET', `/v2/alice/app/referrers/${BLAKE3}`);
      expect([host, JSON.parse(new TextDecoder().decode(bytes))]).toMatchObject([
        host,
        { manifests: [{ digest: index.digest }] },
      ]);
    }
  });

  test.each(OTHERS)('%s is refused as the digest of a push', async (digest) => {
    const image = await indexOf([]);
    const { headers } = await call('POST', '/v2/alice/app/blobs/uploads/', { as });
    const before = await snapshotWithoutUse();
    const config = { mediaType: 'application/x', digest, size: 1 };
    const ofIt = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config,
      layers: [],
    });
    const type = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
    const cases = [
      ['PUT', `/v2/alice/app/manifests/${digest}`, image.bytes, { 'Content-Type': image.manifest.mediaType }],
      ['PUT', '/v2/alice/app/manifests/latest', ofIt, type],
      ['POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, 'x', {}],
      ['POST', `/v2/alice/app/blobs/uploads/?mount=${digest}`, null, {}],
      ['PUT', `${headers.get('Location')}?digest=${digest}`, 'x', {}],
    ] as const;
    for (const [method, path, body, more] of cases) {
      expect([method, path, await answer(method, path, { as, body, headers: more })]).toEqual([
        method,
        path,
        [400, 'DIGEST_INVALID'],
      ]);
    }
    expect(await snapshotWithoutUse()).toBe(before);
  });

  test('is 400 when it is malformed or too long', async () => {
    for (const digest of [
      'sha256:abc',
      `sha256:${'A'.repeat(64)}`,
      'blake3:',
      'blake3:a/b',
      'Blake3:aa',
      `blake3:${'0'.repeat(249)}`,
    ]) {
      for (const path of ['manifests', 'blobs', 'referrers']) {
        const response = await call('GET', `/v2/alice/app/${path}/${encodeURIComponent(digest)}`, { as });
        expect([path, digest, response.status, await codeOf(response)]).toEqual([path, digest, 400, 'DIGEST_INVALID']);
      }
    }
  });
});
