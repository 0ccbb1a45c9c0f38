import { beforeEach, describe, expect, test } from 'vitest';
import { type Algorithm, digestOf } from '../../src/oci/digest.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { bytesOf, indexOf, unreferencedObjects } from '../support/fixture.ts';
import { type Host, HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const CONTENT = bytesOf(1, 5000);
const OTHER = bytesOf(2, 5000);
const HALF = 2500;

const chunked = (content: Uint8Array<ArrayBuffer>): ReadableStream =>
  new Response(content).body!.pipeThrough(new IdentityTransformStream());

async function patched(host: Host, location: string, ...bodies: readonly BodyInit[]): Promise<string> {
  let next = location;
  for (const body of bodies)
    next = (await host.call('PATCH', next, { as: 'alice', body })).headers.get('Location') ?? '';
  return next;
}

const finish = (host: Host, location: string, digest: string, body: BodyInit | null = null) =>
  host.call('PUT', `${location}?digest=${digest}`, { as: 'alice', body });

/** Every way to upload CONTENT under a digest. */
const WAYS: readonly (readonly [
  string,
  (host: Host, digest: string, open: () => Promise<string>) => Promise<Response>,
])[] = [
  [
    'POST with the blob',
    (host, digest) =>
      host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, { as: 'alice', body: CONTENT }),
  ],
  [
    'POST with the blob, without a length',
    (host, digest) =>
      host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, { as: 'alice', body: chunked(CONTENT) }),
  ],
  ['POST, PUT with the blob', async (host, digest, open) => finish(host, await open(), digest, CONTENT)],
  [
    'POST, PUT with the blob, without a length',
    async (host, digest, open) => finish(host, await open(), digest, chunked(CONTENT)),
  ],
  ['POST, PATCH, PUT', async (host, digest, open) => finish(host, await patched(host, await open(), CONTENT), digest)],
  [
    'POST, PATCH without a length, PUT',
    async (host, digest, open) => finish(host, await patched(host, await open(), chunked(CONTENT)), digest),
  ],
  [
    'POST, PATCH, PUT with the last chunk',
    async (host, digest, open) =>
      finish(host, await patched(host, await open(), CONTENT.slice(0, HALF)), digest, CONTENT.slice(HALF)),
  ],
  [
    'POST, PATCH, PATCH, PUT',
    async (host, digest, open) =>
      finish(host, await patched(host, await open(), CONTENT.slice(0, HALF), CONTENT.slice(HALF)), digest),
  ],
];

describe.each(HOSTS_AND_NODES)('wrong digest accepted: not at $name', (host) => {
  describe.each<Algorithm>(['sha256', 'sha512'])('%s', (algorithm) => {
    test.each(WAYS)('%s', async (_way, upload) => {
      const wrong = await digestOf(algorithm, OTHER);
      // The session hashes with the right algorithm from the start, or learns of it only when it is closed.
      for (const query of ['', `?digest-algorithm=${algorithm}`]) {
        const response = await upload(host, wrong, () => host.open('alice/app', 'alice', query));
        expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID']);
        expect(await host.read(`/v2/alice/app/blobs/${wrong}`, 'alice')).toBe(404);
        expect(await host.rowsOf('SELECT digest FROM locations UNION SELECT digest FROM links')).toEqual([]);
      }
      const right = await digestOf(algorithm, CONTENT);
      expect((await upload(host, right, () => host.open('alice/app'))).status).toBe(201);
      const blob = await host.call('GET', `/v2/alice/app/blobs/${right}`, { as: 'alice' });
      expect(new Uint8Array(await blob.arrayBuffer())).toEqual(CONTENT);
    });

    test('a manifest', async () => {
      const image = await indexOf([]);
      const wrong = await digestOf(algorithm, OTHER);
      const response = await host.putManifest('alice/app', `${wrong}?tag=latest`, image);
      expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID']);
      for (const reference of [wrong, image.digest, 'latest'])
        expect(await host.read(`/v2/alice/app/manifests/${reference}`, 'alice')).toBe(404);
      const right = await digestOf(algorithm, image.bytes);
      expect((await host.putManifest('alice/app', right, image)).headers.get('Docker-Content-Digest')).toBe(right);
    });
  });

  test('an empty body under another digest, and another body under the digest of an empty one', async () => {
    const empty = await digestOf('sha256', new Uint8Array(0));
    const full = await digestOf('sha256', CONTENT);
    for (const [digest, body] of [
      [full, null],
      [empty, CONTENT],
    ] as const) {
      expect(
        (await host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, { as: 'alice', body })).status,
      ).toBe(400);
      expect((await finish(host, await host.open('alice/app'), digest, body)).status).toBe(400);
    }
    expect(await unreferencedObjects()).toEqual([]);
  });

  test.each([
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    'sha256:',
    'sha256:abc',
    `SHA256:${'0'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha1:${'0'.repeat(40)}`,
    `sha512:${'0'.repeat(64)}`,
  ])('an invalid digest, %s', async (digest) => {
    expect(
      (await host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, { as: 'alice', body: CONTENT })).status,
    ).toBe(400);
    expect((await finish(host, await host.open('alice/app'), digest, CONTENT)).status).toBe(400);
    expect((await host.putManifest('alice/app', digest, await indexOf([]))).status).toBe(400);
  });

  test('a wrong upload of an existing blob leaves the right bytes', async () => {
    const digest = await host.putBlob('alice/app', CONTENT);
    expect(
      (await host.call('POST', `/v2/alice/app/blobs/uploads/?digest=${digest}`, { as: 'alice', body: OTHER })).status,
    ).toBe(400);
    const blob = await host.call('GET', `/v2/alice/app/blobs/${digest}`, { as: 'alice' });
    expect(new Uint8Array(await blob.arrayBuffer())).toEqual(CONTENT);
  });
});
