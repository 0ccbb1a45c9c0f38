/** A blob of a mirror on its way from the upstream into a store, and its readers. */
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test } from 'vitest';
import { blobObjectOf } from '../../src/mirror/mirror-object.ts';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import type { Namespace } from '../../src/namespaces/namespace.ts';
import { openFixture } from '../support/fixture.ts';
import {
  blobOf as addBlob,
  checkLoans,
  type MirroredBlob,
  objectOf,
  parts,
  read,
  REPOSITORY,
  sameBytes,
  stored,
} from '../support/mirror-blobs.ts';
import { stopMirrors } from '../support/mirrors.ts';
import { config } from '../support/queues.ts';
import { stubUpstream, UPSTREAM } from '../support/stub-upstream.ts';

const LARGE = 3 * PART_BYTES + 777;

const upstream = stubUpstream();
const expectNothingLent = checkLoans();
// The mirror's object keeps its login.
afterEach(stopMirrors);

const blobOf = (size: number, namespace?: Namespace): Promise<MirroredBlob> => addBlob(upstream, size, namespace);

describe.each([0, 1, 1000, PART_BYTES, LARGE])('a blob of %d bytes', (size) => {
  test('is read while it is stored', async () => {
    const blob = await blobOf(size);
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
    expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
    expect(sameBytes(await stored(blob), blob.content)).toBe(true);
    expect(upstream.gets()).toHaveLength(size === 0 ? 0 : 1);
    expect(await parts()).toEqual([]);
    expectNothingLent();
  });
});

test('64 readers at once get the bytes that the upstream sends once', async () => {
  const blob = await blobOf(LARGE);
  const readers = Array.from({ length: 64 }, async (_, i) => {
    const range = i % 4 === 0 ? { start: i * 100_000, end: i * 100_000 + 5_000_000 } : undefined;
    const bytes = await read(blob, range);
    const { start, end } = range ?? { start: 0, end: LARGE };
    return sameBytes(bytes, blob.content.subarray(start, end));
  });
  expect(await Promise.all(readers)).toEqual(Array(64).fill(true));
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  expect(upstream.gets()).toHaveLength(1);
  expect(upstream.sent).toBe(LARGE);
  expect(await parts()).toEqual([]);
  expectNothingLent();
});

test('a blob is stored even if all its readers have gone', async () => {
  const blob = await blobOf(LARGE);
  const opened = await objectOf(blob).open(blob.wanted);
  await opened!.content.cancel();
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  expect(sameBytes(await stored(blob), blob.content)).toBe(true);
});

test('a blob that has been stored is read from the store', async () => {
  const blob = await blobOf(5000);
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  expect(sameBytes(await read(blob, { start: 10, end: 20 }), blob.content.subarray(10, 20))).toBe(true);
  expect(upstream.gets()).toHaveLength(1);
});

test('a blob that was stored and then removed is fetched again', async () => {
  const blob = await blobOf(5000);
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  const { registry } = await openFixture();
  await registry.deleteBlob(REPOSITORY, blob.wanted.digest);
  expect(sameBytes(await read(blob), blob.content)).toBe(true);
  expect(upstream.gets()).toHaveLength(2);
});

test('a node stores in its own store', async () => {
  const blob = await blobOf(5000, config.nodes[0]);
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  const { results } = await env.DB_NODE1!.prepare('SELECT digest FROM locations').all();
  expect(results).toEqual([{ digest: blob.wanted.digest }]);
});

test('the name at the upstream follows from the prefix', async () => {
  const blob = await blobOf(10);
  const prefixed = { ...blob.wanted, mirror: { ...blob.wanted.mirror, prefix: 'mirrors/of' } };
  expect(await blobObjectOf(env, prefixed).ensure(prefixed)).toBe('stored');
  expect(upstream.gets()).toEqual([`GET /v2/mirrors/of/team/app/blobs/${blob.wanted.digest}`]);
});

describe('the size', () => {
  test('is asked for if no manifest states it', async () => {
    const { wanted: known, content } = await blobOf(5000);
    const { size: _, ...wanted } = known;
    expect(await blobObjectOf(env, wanted).size(wanted)).toBe(5000);
    expect(sameBytes(await read({ wanted, content }), content)).toBe(true);
    expect(upstream.requests.map((each) => each.split(' ')[0])).toEqual(['HEAD', 'GET']);
  });

  test('is missing in the answers of some registries', async () => {
    const { wanted: known, content } = await blobOf(5000);
    const { size: _, ...wanted } = known;
    upstream.answers = ({ method }, bytes) => new Response(method === 'HEAD' ? null : upstream.stream(bytes!));
    await expect(read({ wanted, content })).rejects.toThrow('was answered without its size');
  });

  test('is known from the manifest, if the upstream sends chunks without a length', async () => {
    const blob = await blobOf(5000);
    upstream.answers = (_request, content) => new Response(upstream.stream(content!));
    expect(sameBytes(await read(blob), blob.content)).toBe(true);
  });
});

describe('a blob that the upstream lacks, or hides from this login', () => {
  test.each([401, 403, 404])('%d', async (status) => {
    const blob = await blobOf(5000);
    upstream.answers = () => new Response(null, { status });
    expect(await objectOf(blob).open(blob.wanted)).toBeUndefined();
    expect(await objectOf(blob).size(blob.wanted)).toBeUndefined();
    expect(await objectOf(blob).ensure(blob.wanted)).toBe('absent');
    upstream.answers = () => undefined;
    expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
  });

  test('a login that is never accepted is not tried without end', async () => {
    const blob = await blobOf(5000);
    upstream.answers = ({ url }) =>
      new URL(url).pathname === '/token'
        ? Response.json({ token: 'x' })
        : new Response(null, {
            status: 401,
            headers: { 'WWW-Authenticate': `Bearer realm="${UPSTREAM}/token"` },
          });
    expect(await objectOf(blob).ensure(blob.wanted)).toBe('absent');
    expect(upstream.requests.length).toBeLessThan(5);
  });
});
