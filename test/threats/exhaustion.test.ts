import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { readManifestBody } from '../../src/http/body.ts';
import type { AppContext } from '../../src/http/context.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { bytesOf, imageOf, indexOf, subjectOf, utf8 } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const MIB = 1024 * 1024;
const MALLORY = 'mallory' as OrganizationName;
const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };

/** Returns a stream of `size` bytes that makes them on demand, and how many bytes it has given. */
function counted(size: number, piece = 64 * 1024): { stream: ReadableStream<Uint8Array>; given: () => number } {
  let given = 0;
  const stream = new ReadableStream({
    type: 'bytes',
    pull: (controller) => {
      if (given >= size) return controller.close();
      given += piece;
      controller.enqueue(new Uint8Array(piece));
    },
  });
  return { stream, given: () => given };
}

test('a manifest that is too large is read only until that is certain', async () => {
  const announced = counted(32 * MIB);
  const request = { headers: new Headers({ 'Content-Length': String(32 * MIB) }), body: announced.stream };
  await expect(
    readManifestBody({ req: { raw: request } } as unknown as AppContext, 4 * MIB, MALLORY),
  ).rejects.toMatchObject({
    kind: 'MANIFEST_TOO_LARGE',
  });
  expect(announced.given()).toBeLessThanOrEqual(64 * 1024);

  const unannounced = counted(32 * MIB);
  const chunked = { headers: new Headers(), body: unannounced.stream };
  await expect(
    readManifestBody({ req: { raw: chunked } } as unknown as AppContext, 4 * MIB, MALLORY),
  ).rejects.toMatchObject({
    kind: 'MANIFEST_TOO_LARGE',
  });
  expect(unannounced.given()).toBeLessThanOrEqual(4 * MIB + 3 * 64 * 1024);
});

describe.each(HOSTS_AND_NODES)('body size, catalog size, nested indexes and deep JSON are bounded at $name', (host) => {
  const put = (body: string) => host.call('PUT', '/v2/alice/app/manifests/x', { as: 'alice', headers, body });

  test.each<[string, () => string]>([
    ['arrays', () => `{"manifests":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['objects', () => `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    ['arrays that are never closed', () => `{"manifests":[],"a":${'['.repeat(1_000_000)}`],
    [
      'annotations',
      () => `{"schemaVersion":2,"manifests":[],"annotations":{"a":${'{"a":'.repeat(70)}1${'}'.repeat(70)}}}`,
    ],
    ['millions of values', () => `{"schemaVersion":2,"manifests":[],"a":[${'0,'.repeat(1_500_000)}0]}`],
    [
      'too many descriptors',
      () =>
        JSON.stringify({
          schemaVersion: 2,
          manifests: Array.from({ length: 4097 }, (_, i) => ({
            mediaType: 'a/b',
            digest: `sha256:${i.toString(16).padStart(64, '0')}`,
            size: 1,
          })),
        }),
    ],
  ])('deep or wide JSON is refused: %s', async (_what, make) => {
    // A node must know the users first.
    await host.read('/v2/', 'alice');
    const before = await host.snapshotWithoutUse();
    const response = await put(make());
    expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_INVALID']);
    expect(await host.snapshotWithoutUse()).toBe(before);
  });

  test('indexes of indexes are stored one by one, without walking them', async () => {
    let index = await indexOf([]);
    for (let depth = 0; depth < 30; depth++) {
      expect((await host.putManifest('alice/app', 'deep', index)).status).toBe(201);
      index = await indexOf([index.digest], { annotations: { depth: String(depth) } });
    }
    const itself = await indexOf(Array.from({ length: 500 }, () => index.digest));
    expect((await host.putManifest('alice/app', 'wide', itself)).status).toBe(201);
    expect(await host.read('/v2/alice/app/manifests/deep', 'alice')).toBe(200);
    expect((await host.call('DELETE', `/v2/alice/app/manifests/${itself.digest}`, { as: 'alice' })).status).toBe(202);
  });

  test('a catalog and referrers with any larger n are cut to a page', async () => {
    const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)';
    await env.DB_CENTRAL.prepare(
      `INSERT INTO repositories (name, created_at, listed) ${numbers} SELECT printf('alice/r%05d', i), 0, 1 FROM n`,
    ).run();
    const subject = await indexOf([]);
    await host.putManifest('alice/app', 'subject', subject);
    const config = await host.putBlob('alice/app', bytesOf(1, 10));
    for (let i = 0; i < 101; i++) {
      const image = await imageOf(config, [], { subject: subjectOf(subject), annotations: { i: String(i) } });
      await host.putManifest('alice/app', image.digest, image);
    }
    for (const n of ['9'.repeat(400), '999999999999999', '2147483648', '1001']) {
      const catalog = await host.call('GET', `/v2/_catalog?n=${n}`, { as: 'alice' });
      expect([n, (await catalog.json<{ repositories: string[] }>()).repositories.length]).toEqual([n, 1000]);
      const referrers = await host.call('GET', `/v2/alice/app/referrers/${subject.digest}?n=${n}`, { as: 'alice' });
      expect([n, (await referrers.json<{ manifests: unknown[] }>()).manifests.length]).toEqual([n, 100]);
    }
  });

  test.each(['1e9', '0x10', '-1', '1.5', ' 5', 'null'])('a page with n=%j is 400', async (n) => {
    for (const path of [
      '/v2/_catalog',
      '/v2/alice/app/tags/list',
      `/v2/alice/app/referrers/sha256:${'0'.repeat(64)}`,
    ]) {
      expect([path, await host.read(`${path}?n=${encodeURIComponent(n)}`, 'alice')]).toEqual([path, 400]);
    }
  });

  test('forms and JSON bodies of the API are limited, whether their length is stated or not', async () => {
    const streamed = () =>
      new Response(utf8(`{"name":"${'x'.repeat(200_000)}"}`)).body!.pipeThrough(new IdentityTransformStream());
    for (const body of [`{"name":"${'x'.repeat(200_000)}"}`, streamed()]) {
      expect(
        (
          await host.call('POST', '/api/organizations', {
            as: 'admin',
            headers: { 'Content-Type': 'application/json' },
            body,
          })
        ).status,
      ).toBe(413);
    }
    const form = `grant_type=password&username=alice&password=${'x'.repeat(200_000)}`;
    expect(
      (
        await host.call('POST', '/token', {
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          body: form,
        })
      ).status,
    ).toBe(413);
  });

  test('the tags of one push, the scopes of one token and the patterns of one credential are limited', async () => {
    const index = await indexOf([]);
    const tags = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&');
    expect((await host.putManifest('alice/app', `${index.digest}?${tags}`, index)).status).toBe(414);
    const scopes = Array.from({ length: 5000 }, (_, i) => `repository:alice/r${i}:pull`).join(' ');
    const { authorization } = await host.tokenFor('alice', scopes);
    expect(authorization.length).toBeLessThan(8192);
    const body = JSON.stringify({
      name: 'many',
      rights: ['pull'],
      repositories: Array.from({ length: 33 }, (_, i) => `alice/r${i}`),
    });
    expect(
      (
        await host.call('POST', '/api/organizations/alice/credentials', {
          as: 'alice',
          headers: { 'Content-Type': 'application/json' },
          body,
        })
      ).status,
    ).toBe(400);
  });
});
