/** Chunks that become parts of one multipart upload: written once, and hashed from chunk to chunk. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Algorithm, digestOf } from '../../../src/oci/digest.ts';
import type { Body, UploadProgress } from '../../../src/registry/registry.ts';
import { resetCounts } from '../../support/counting.ts';
import { delayed, faultyR2 } from '../../support/faults.ts';
import {
  bodyOf,
  type Fixture,
  openFixture,
  REPOSITORY,
  rowsOf,
  session,
  snapshot,
  SUBJECT,
} from '../../support/fixture.ts';
import { bytesOf, close, cut, expectStored, PART, patch, pushAll } from '../../support/part-chunks.ts';

let fixture: Fixture;
let open: UploadProgress;

beforeEach(async () => {
  fixture = await openFixture();
  open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
});

test.each<[string, number[], number]>([
  ['equal chunks and a shorter one', [PART, PART, 7], 3],
  ['one chunk', [PART], 1],
  ['chunks longer than the first, which are cut', [PART, 2 * PART, PART + 3], 5],
])('%s cost a call for each part and two more, and closing reads nothing', async (_name, sizes, parts) => {
  const content = bytesOf(
    1,
    sizes.reduce((sum, size) => sum + size),
  );
  resetCounts(fixture.counts);
  const progress = await pushAll(fixture, open, cut(content, sizes));
  const before = { ...fixture.counts };
  await close(fixture, progress, await digestOf('sha256', content));
  // One more call asks whether the object is there.
  expect(fixture.counts).toMatchObject({ classA: parts + 2, classB: before.classB + 1, d1: before.d1 + 2 });
  await expectStored(fixture, content);
  expect(await rowsOf('SELECT start FROM upload_chunks')).toEqual([]);
});

test('the last chunk may come with the PUT', async () => {
  const content = bytesOf(1, 2 * PART + 9);
  const [first, second, rest] = cut(content, [PART, PART, 9]);
  const progress = await pushAll(fixture, open, [first!, second!]);
  await close(fixture, progress, await digestOf('sha256', content), rest);
  expect(fixture.counts).toMatchObject({ classA: 3 + 2, r2Deletes: 0 });
  await expectStored(fixture, content);
});

test('sha512 goes on from chunk to chunk too, if the session was opened for it', async () => {
  const content = bytesOf(1, PART + 100);
  const of512 = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha512');
  const progress = await pushAll(fixture, of512, cut(content, [PART, 100]));
  await close(fixture, progress, await digestOf('sha512', content));
  expect(fixture.counts).toMatchObject({ classA: 2 + 2, classB: 1 });
  await expectStored(fixture, content, 'sha512');
});

test('a digest of another algorithm is checked by reading the parts back', async () => {
  const content = bytesOf(1, PART + 100);
  const progress = await pushAll(fixture, open, cut(content, [PART, 100]));
  await expect(close(fixture, progress, await digestOf('sha512', bytesOf(2, 9)))).rejects.toMatchObject({
    kind: 'DIGEST_INVALID',
  });
  await close(fixture, progress, await digestOf('sha512', content));
  await expectStored(fixture, content, 'sha512');
});

test.each([false, true])('a wrong digest leaves the session unchanged (with a body: %s)', async (hasBody) => {
  const content = bytesOf(1, 2 * PART);
  const progress = await pushAll(fixture, open, cut(content, [PART, PART]));
  const rowsWithoutNumbers = async () => rowsOf('SELECT size, digest, hash, state FROM uploads');
  const before = await rowsWithoutNumbers();
  const wrong = await digestOf('sha256', bytesOf(3, 3));
  const refused = close(fixture, progress, wrong, hasBody ? bytesOf(2, 50) : undefined);
  await expect(refused).rejects.toMatchObject({ kind: 'DIGEST_INVALID' });
  expect(await rowsWithoutNumbers()).toEqual(before);
  await close(fixture, progress, await digestOf('sha256', content));
  await expectStored(fixture, content);
});

test.each<[string, number[], number[]]>([
  ['after a shorter one', [PART, 10], [PART, 20]],
  ['without a stated length', [PART, PART], [-30, 5]],
])('a chunk %s becomes an object, and all are joined', async (_name, asParts, others) => {
  const sizes = [...asParts, ...others.map(Math.abs)];
  const content = bytesOf(
    1,
    sizes.reduce((sum, size) => sum + size),
  );
  const chunks = cut(content, sizes);
  let progress = await pushAll(fixture, open, chunks.slice(0, asParts.length));
  for (const [i, size] of others.entries()) {
    const chunk = bodyOf(chunks[asParts.length + i]!, size < 0 ? 'unknown' : 'known');
    progress = await fixture.registry.appendChunk(session(progress), undefined, chunk);
  }
  await close(fixture, progress, await digestOf('sha256', content));
  await expectStored(fixture, content);
});

test.each<[string, number, number | undefined]>([
  ['is shorter than a part', PART - 1, 0],
  ['has no Content-Range', PART, undefined],
])('a first chunk that %s is an object, because it may be the whole blob', async (_name, size, start) => {
  const content = bytesOf(1, size);
  const progress = await fixture.registry.appendChunk(session(open), start, bodyOf(content));
  await close(fixture, progress, await digestOf('sha256', content));
  expect(fixture.counts).toMatchObject({ classA: 1, classB: 1, d1: 2 });
  await expectStored(fixture, content);
});

test('an empty PUT that is a stream without Content-Length counts as no body', async () => {
  const content = bytesOf(1, PART + 4);
  const progress = await pushAll(fixture, open, cut(content, [PART, 4]));
  resetCounts(fixture.counts);
  const empty = bodyOf(new Uint8Array(0), 'unknown');
  await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, empty);
  expect(fixture.counts).toMatchObject({ classA: 1, classB: 1 });
  await expectStored(fixture, content);
});

/** Returns a body without Content-Length, whose Content-Range announces some bytes. */
const announcing = (announced: number, bytes: Uint8Array<ArrayBuffer>): Body => ({
  ...bodyOf(bytes, 'unknown'),
  announced,
});

describe('a chunk of 0 announced bytes', () => {
  test('changes nothing, and the next chunk is stored', async () => {
    const content = bytesOf(1, 3 * PART);
    const [first, second, third] = cut(content, [PART, PART, PART]);
    const progress = await pushAll(fixture, open, [first!, second!]);
    const before = await snapshot();
    const empty = announcing(0, new Uint8Array(0));
    const after = await fixture.registry.appendChunk(session(progress), progress.size, empty);
    expect(after.size).toBe(progress.size);
    expect(await snapshot()).toBe(before);
    await close(fixture, await patch(fixture, after, third!), await digestOf('sha256', content));
    await expectStored(fixture, content);
  });

  test.each(['PATCH', 'PUT'])('is refused in a %s if it has bytes', async (method) => {
    const content = bytesOf(1, 2 * PART);
    const progress = await pushAll(fixture, open, cut(content, [PART, PART]));
    const digest = await digestOf('sha256', content);
    const body = announcing(0, bytesOf(2, 10));
    const refused =
      method === 'PATCH'
        ? fixture.registry.appendChunk(session(progress), progress.size, body)
        : fixture.registry.finishUpload(session(progress), digest, progress.size, body);
    await expect(refused).rejects.toMatchObject({ kind: 'CONTENT_RANGE_INVALID' });
    await close(fixture, progress, digest);
    await expectStored(fixture, content);
  });

  test('closes a session with the bytes that it has', async () => {
    const content = bytesOf(1, 2 * PART);
    const progress = await pushAll(fixture, open, cut(content, [PART, PART]));
    const empty = announcing(0, new Uint8Array(0));
    await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), progress.size, empty);
    await expectStored(fixture, content);
  });
});

test.each<[string, number[], Algorithm]>([
  ['are objects', [1000], 'sha256'],
  ['are parts', [PART], 'sha512'],
])('the end of a session whose chunks %s may have only a Content-Range (%s, %s)', async (_name, sizes, algorithm) => {
  const content = bytesOf(1, sizes[0]! + 500);
  const [first, rest] = cut(content, [...sizes, 500]);
  const progress = await patch(fixture, open, first!);
  const digest = await digestOf(algorithm, content);
  await fixture.registry.finishUpload(session(progress), digest, progress.size, announcing(500, rest!));
  await expectStored(fixture, content, algorithm);
});

test('a second upload of the same bytes deletes its own object', async () => {
  const content = bytesOf(1, PART + 4);
  for (let i = 0; i < 2; i++) {
    const another = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    await close(fixture, await pushAll(fixture, another, cut(content, [PART, 4])), await digestOf('sha256', content));
  }
  await fixture.settled();
  expect((await env.BLOBS_CENTRAL.list()).objects).toHaveLength(1);
  await expectStored(fixture, content);
});

test('a closing PUT answers within a second with a slow R2, however many chunks there are', async () => {
  const content = bytesOf(1, 4 * PART);
  const progress = await pushAll(fixture, open, cut(content, Array<number>(4).fill(PART)));
  const digest = await digestOf('sha256', content);
  const slow = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', delayed(300)),
  });
  const begunAt = Date.now();
  await close(slow, progress, digest);
  expect(Date.now() - begunAt).toBeLessThan(1000);
  await expectStored(fixture, content);
});

test('a chunk that exceeds the quota is refused before anything is written', async () => {
  await env.DB_CENTRAL.prepare(
    "INSERT INTO organizations (name, quota_bytes, created_at) VALUES ('alice', 1000, 0)",
  ).run();
  const before = await snapshot();
  await expect(patch(fixture, open, bytesOf(1, PART))).rejects.toMatchObject({ kind: 'QUOTA_EXCEEDED' });
  await fixture.settled();
  expect(await snapshot()).toBe(before);
});
