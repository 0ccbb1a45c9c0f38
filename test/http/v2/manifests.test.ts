import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, codeOf, errorsOf } from '../../support/client.ts';
import { putBlob, putImage, putManifest } from '../../support/content.ts';
import { bytesOf, documentOf, imageOf, indexOf, snapshotWithoutUse } from '../../support/fixture.ts';

beforeEach(addUsers);

const as = 'alice';
const MANIFESTS = '/v2/alice/app/manifests';

describe('PUT', () => {
  test('answers with the location and the digest of the manifest', async () => {
    const config = await putBlob('alice/app', bytesOf(1, 10));
    const subject = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${'0'.repeat(64)}`,
      size: 1,
    };
    const image = await imageOf(config, [], { subject });
    const response = await putManifest('alice/app', 'latest', image);
    expect(response.status).toBe(201);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      location: `${MANIFESTS}/${image.digest}`,
      'docker-content-digest': image.digest,
      'oci-subject': subject.digest,
    });
    expect(response.headers.get('OCI-Tag')).toBeNull();
  });

  test('by digest with tag parameters sets all of the tags', async () => {
    const image = await indexOf([]);
    const tags = Array.from({ length: 12 }, (_, i) => `t${i}`);
    const response = await putManifest(
      'alice/app',
      `${image.digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`,
      image,
    );
    expect(response.status).toBe(201);
    expect((response.headers.get('OCI-Tag') ?? '').split(', ')).toEqual(tags);
    for (const tag of tags)
      expect((await call('HEAD', `${MANIFESTS}/${tag}`, { as })).headers.get('Docker-Content-Digest')).toBe(
        image.digest,
      );
  });

  test('of an index with a subject names the subject too', async () => {
    const subject = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${'0'.repeat(64)}`,
      size: 1,
    };
    const response = await putManifest('alice/app', 'latest', await indexOf([], { subject }));
    expect(response.headers.get('OCI-Subject')).toBe(subject.digest);
  });

  test('leaves the tag at the index after its children were pushed to the same tag, and the children can be pulled', async () => {
    const children = await Promise.all([1, 3].map((seed) => putImage('alice/app', seed, ['latest'])));
    const index = await indexOf(children.map(({ digest }) => digest));
    expect((await putManifest('alice/app', 'latest', index)).status).toBe(201);
    expect((await call('HEAD', `${MANIFESTS}/latest`, { as })).headers.get('Docker-Content-Digest')).toBe(index.digest);
    for (const { digest } of children) expect((await call('GET', `${MANIFESTS}/${digest}`, { as })).status).toBe(200);
  });

  test('accepts a chunked body without a length', async () => {
    const image = await indexOf([]);
    const body = new Response(image.bytes).body!.pipeThrough(new IdentityTransformStream());
    const response = await call('PUT', `${MANIFESTS}/latest`, {
      as,
      body,
      headers: { 'Content-Type': image.manifest.mediaType },
    });
    expect(response.status).toBe(201);
  });

  test('lists one error for each missing blob', async () => {
    const [a, b] = [`sha256:${'1'.repeat(64)}`, `sha256:${'2'.repeat(64)}`] as const;
    const image = await documentOf('application/vnd.oci.image.manifest.v1+json', {
      config: { mediaType: 'application/x', digest: a, size: 1 },
      layers: [a, b, b].map((digest) => ({ mediaType: 'application/x', digest, size: 1 })),
    });
    const response = await putManifest('alice/app', 'latest', image);
    expect(response.status).toBe(400);
    const errors = await errorsOf(response);
    expect(errors.map(({ code, detail }) => [code, detail['digest']]).toSorted()).toEqual([
      ['MANIFEST_BLOB_UNKNOWN', a],
      ['MANIFEST_BLOB_UNKNOWN', b],
    ]);
  });

  test('accepts 4 MiB; a byte more is 413, whether its length is stated or not', async () => {
    const fill = (size: number) => {
      const open = '{"schemaVersion":2,"note":"';
      return new TextEncoder().encode(`${open}${'x'.repeat(size - open.length - 2)}"}`);
    };
    const headers = { 'Content-Type': 'application/vnd.example+json' };
    const limit = 4 * 1024 * 1024;
    expect((await call('PUT', `${MANIFESTS}/big`, { as, headers, body: fill(limit) })).status).toBe(201);
    const streamed = new Response(fill(limit + 1)).body!.pipeThrough(new IdentityTransformStream());
    for (const body of [fill(limit + 1), streamed]) {
      const response = await call('PUT', `${MANIFESTS}/big`, { as, headers, body });
      expect([response.status, await codeOf(response)]).toEqual([413, 'SIZE_INVALID']);
    }
    const pulled = await call('GET', `${MANIFESTS}/big`, { as });
    expect((await pulled.arrayBuffer()).byteLength).toBe(limit);
  });

  test('invariant 7: bad input gets its error and changes nothing', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    const before = await snapshotWithoutUse();
    const json = 'application/vnd.oci.image.manifest.v1+json';
    const cases: [string, string, string, number, string][] = [
      ['latest', json, '{', 400, 'MANIFEST_INVALID'],
      ['latest', json, '[]', 400, 'MANIFEST_INVALID'],
      ['latest', json, '', 400, 'MANIFEST_INVALID'],
      ['latest', 'nonsense', '{}', 400, 'MANIFEST_INVALID'],
      ['latest', json, '{"schemaVersion":2}', 400, 'MANIFEST_INVALID'],
      [
        'latest',
        'application/vnd.docker.distribution.manifest.v1+json',
        '{"schemaVersion":1}',
        400,
        'MANIFEST_INVALID',
      ],
      ['-bad', json, new TextDecoder().decode(image.bytes), 400, 'MANIFEST_INVALID'],
      ['a'.repeat(129), json, new TextDecoder().decode(image.bytes), 400, 'MANIFEST_INVALID'],
      ['sha256:abc', json, new TextDecoder().decode(image.bytes), 400, 'DIGEST_INVALID'],
      [`sha256:${'0'.repeat(64)}`, json, new TextDecoder().decode(image.bytes), 400, 'DIGEST_INVALID'],
      [`${image.digest}?tag=good&tag=-bad`, json, new TextDecoder().decode(image.bytes), 400, 'MANIFEST_INVALID'],
    ];
    for (const [reference, type, body, status, code] of cases) {
      const response = await call('PUT', `${MANIFESTS}/${reference}`, { as, body, headers: { 'Content-Type': type } });
      expect([reference, body, response.status, await codeOf(response)]).toEqual([reference, body, status, code]);
    }
    const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&');
    expect((await putManifest('alice/app', `${image.digest}?${many}`, image)).status).toBe(414);
    expect(await snapshotWithoutUse()).toBe(before);
  });
});

describe('GET and HEAD', () => {
  test('return the stored bytes and type, whatever Accept says', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    for (const reference of ['latest', image.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const response = await call(method, `${MANIFESTS}/${reference}?ns=elsewhere`, {
          as,
          headers: { Accept: 'text/html' },
        });
        expect(response.status).toBe(200);
        expect(Object.fromEntries(response.headers)).toMatchObject({
          'content-type': image.manifest.mediaType,
          'content-length': String(image.bytes.byteLength),
          'docker-content-digest': image.digest,
          etag: `"${image.digest}"`,
          'cache-control': 'no-transform',
        });
        const body = new Uint8Array(await response.arrayBuffer());
        expect(body).toEqual(method === 'GET' ? image.bytes : new Uint8Array(0));
      }
    }
  });

  test('with If-None-Match return 304 without a body', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    for (const method of ['GET', 'HEAD']) {
      const response = await call(method, `${MANIFESTS}/latest`, {
        as,
        headers: { 'If-None-Match': `"${image.digest}"` },
      });
      expect([response.status, await response.text()]).toEqual([304, '']);
    }
  });

  test('read If-None-Match leniently: without quotes, weak, in a list, or *', async () => {
    const image = await putImage('alice/app', 1, ['latest']);
    const [blob = ''] = image.manifest.requiredBlobs;
    const other = `sha256:${'0'.repeat(64)}`;
    for (const [path, digest] of [
      [`${MANIFESTS}/latest`, image.digest],
      [`/v2/alice/app/blobs/${blob}`, blob],
    ] as const) {
      for (const method of ['GET', 'HEAD']) {
        const status = async (header: string): Promise<number> =>
          (await call(method, path, { as, headers: { 'If-None-Match': header } })).status;
        for (const header of [
          digest,
          `W/${digest}`,
          `w/"${digest}"`,
          `"${other}", ${digest}`,
          `${other},${digest}`,
          ' * ',
        ]) {
          expect([method, header, await status(header)]).toEqual([method, header, 304]);
        }
        for (const header of [
          '',
          other,
          `"${other}"`,
          digest.slice(0, -1),
          `"${digest}`,
          '"*"',
          digest.toUpperCase(),
        ]) {
          expect([method, header, await status(header)]).toEqual([method, header, 200]);
        }
      }
    }
  });

  test('accept a tag that looks like a part of a path', async () => {
    const words = ['manifests', 'blobs', 'tags', 'uploads', 'referrers', 'list'];
    const image = await putImage('alice/manifests/blobs/uploads', 1, words);
    for (const word of words) {
      const response = await call('HEAD', `/v2/alice/manifests/blobs/uploads/manifests/${word}`, { as });
      expect([word, response.status, response.headers.get('ETag')]).toEqual([word, 200, `"${image.digest}"`]);
    }
    const listed = await call('GET', '/v2/alice/manifests/blobs/uploads/tags/list', { as });
    expect(await listed.json()).toEqual({ name: 'alice/manifests/blobs/uploads', tags: words.toSorted() });
  });

  test('answer a line break in a name with NAME_INVALID, like any invalid character', async () => {
    const response = await call('GET', '/v2/alice%0A/app/manifests/latest', { as });
    expect([response.status, await codeOf(response)]).toEqual([400, 'NAME_INVALID']);
  });

  test('say whether the tag or the repository is unknown', async () => {
    await putImage('alice/app', 1, ['latest']);
    const unknownTag = await call('GET', `${MANIFESTS}/typo`, { as });
    expect([unknownTag.status, await codeOf(unknownTag)]).toEqual([404, 'MANIFEST_UNKNOWN']);
    const unknownName = await call('GET', '/v2/alice/typo/manifests/latest', { as });
    expect([unknownName.status, await codeOf(unknownName)]).toEqual([404, 'NAME_UNKNOWN']);
  });
});

test('DELETE is 202, then GET is 404 at once; deleting a tag keeps the manifest', async () => {
  const image = await putImage('alice/app', 1, ['a', 'b']);
  const status = async (method: string, reference: string) =>
    (await call(method, `${MANIFESTS}/${reference}`, { as })).status;
  expect([
    await status('DELETE', 'a'),
    await status('DELETE', 'a'),
    await status('GET', 'a'),
    await status('GET', 'b'),
  ]).toEqual([202, 404, 404, 200]);
  expect([await status('DELETE', image.digest), await status('DELETE', image.digest)]).toEqual([202, 404]);
  expect([await status('GET', 'b'), await status('GET', image.digest)]).toEqual([404, 404]);
});
