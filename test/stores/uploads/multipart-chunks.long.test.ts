/** Chunks that become parts of one multipart upload: written once, hashed from chunk to chunk, never mixed up. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { HOUR } from '../../../src/durations.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { type Algorithm, type Digest, digestOf } from '../../../src/oci/digest.ts';
import type { Body, UploadProgress } from '../../../src/registry/registry.ts';
import { MIN_PART_BYTES } from '../../../src/stores/bucket.ts';
import { SESSION_MILLISECONDS } from '../../../src/stores/uploads/upload-reference.ts';
import { resetCounts } from '../../support/counting.ts';
import { delayed, faultyR2, type Fault } from '../../support/faults.ts';
import {
  bodyOf,
  brokenBody,
  bytesIn,
  bytesOf as randomBytes,
  type Fixture,
  granted,
  openFixture,
  REPOSITORY,
  rowsOf,
  session,
  snapshot,
  SUBJECT,
  unreferencedObjects,
} from '../../support/fixture.ts';

const PART = MIN_PART_BYTES;

/** Returns random bytes, which repeat after a while, because so many take long to make. */
function bytesOf(seed: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const some = randomBytes(seed, Math.min(size, 65_537));
  for (let at = 0; at < size; at += some.byteLength) bytes.set(some.subarray(0, size - at), at);
  return bytes;
}

let fixture: Fixture;
let open: UploadProgress;

beforeEach(async () => {
  fixture = await openFixture();
  open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
});

const patch = (at: UploadProgress, bytes: Uint8Array<ArrayBuffer>, of = fixture): Promise<UploadProgress> =>
  of.registry.appendChunk(session(at), at.size, bodyOf(bytes));

const close = (at: UploadProgress, digest: Digest, rest?: Uint8Array<ArrayBuffer>, of = fixture): Promise<void> =>
  of.registry.finishUpload(session(at), digest, rest === undefined ? undefined : at.size, rest && bodyOf(rest));

/** Cuts content into chunks of the given sizes. */
function cut(content: Uint8Array<ArrayBuffer>, sizes: readonly number[]): Uint8Array<ArrayBuffer>[] {
  let end = 0;
  return sizes.map((size) => content.slice(end, (end += size)));
}

async function pushAll(chunks: readonly Uint8Array<ArrayBuffer>[], from = open): Promise<UploadProgress> {
  let progress = from;
  for (const chunk of chunks) progress = await patch(progress, chunk);
  return progress;
}

async function expectStored(content: Uint8Array<ArrayBuffer>, algorithm: Algorithm = 'sha256'): Promise<void> {
  const blob = await fixture.registry.getBlob(granted(), await digestOf(algorithm, content));
  const read = await bytesIn(await blob.open());
  expect(await digestOf('sha256', new Uint8Array(read))).toBe(await digestOf('sha256', content));
  await fixture.settled();
  expect(await unreferencedObjects()).toEqual([]);
}

/** Returns an R2 whose n-th call of a kind fails before or after it was applied. */
function failingOnce(kind: string, how: Fault, n = 1): R2Bucket {
  let calls = 0;
  return faultyR2(env.BLOBS_CENTRAL, 'central', (call) => (call.kind === kind && ++calls === n ? how : 'ok'));
}

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
  const progress = await pushAll(cut(content, sizes));
  const before = { ...fixture.counts };
  await close(progress, await digestOf('sha256', content));
  // The one question is whether the object is there.
  expect(fixture.counts).toMatchObject({ classA: parts + 2, classB: before.classB + 1, d1: before.d1 + 2 });
  await expectStored(content);
  expect(await rowsOf('SELECT start FROM upload_chunks')).toEqual([]);
});

test('the last chunk may come with the PUT', async () => {
  const content = bytesOf(1, 2 * PART + 9);
  const [first, second, rest] = cut(content, [PART, PART, 9]);
  const progress = await pushAll([first!, second!]);
  await close(progress, await digestOf('sha256', content), rest);
  expect(fixture.counts).toMatchObject({ classA: 3 + 2, r2Deletes: 0 });
  await expectStored(content);
});

test('sha512 goes on from chunk to chunk too, if the session was opened for it', async () => {
  const content = bytesOf(1, PART + 100);
  const of512 = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha512');
  const progress = await pushAll(cut(content, [PART, 100]), of512);
  await close(progress, await digestOf('sha512', content));
  expect(fixture.counts).toMatchObject({ classA: 2 + 2, classB: 1 });
  await expectStored(content, 'sha512');
});

test('a digest of another algorithm is checked by reading the parts back', async () => {
  const content = bytesOf(1, PART + 100);
  const progress = await pushAll(cut(content, [PART, 100]));
  await expect(close(progress, await digestOf('sha512', bytesOf(2, 9)))).rejects.toMatchObject({
    kind: 'DIGEST_INVALID',
  });
  await close(progress, await digestOf('sha512', content));
  await expectStored(content, 'sha512');
});

test.each([false, true])('a wrong digest leaves the session unchanged (with a body: %s)', async (hasBody) => {
  const content = bytesOf(1, 2 * PART);
  const progress = await pushAll(cut(content, [PART, PART]));
  const rowsWithoutNumbers = async () => rowsOf('SELECT size, digest, hash, state FROM uploads');
  const before = await rowsWithoutNumbers();
  const wrong = await digestOf('sha256', bytesOf(3, 3));
  const refused = close(progress, wrong, hasBody ? bytesOf(2, 50) : undefined);
  await expect(refused).rejects.toMatchObject({ kind: 'DIGEST_INVALID' });
  expect(await rowsWithoutNumbers()).toEqual(before);
  await close(progress, await digestOf('sha256', content));
  await expectStored(content);
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
  let progress = await pushAll(chunks.slice(0, asParts.length));
  for (const [i, size] of others.entries()) {
    const chunk = bodyOf(chunks[asParts.length + i]!, size < 0 ? 'unknown' : 'known');
    progress = await fixture.registry.appendChunk(session(progress), undefined, chunk);
  }
  await close(progress, await digestOf('sha256', content));
  await expectStored(content);
});

test.each<[string, number, number | undefined]>([
  ['is shorter than a part', PART - 1, 0],
  ['has no Content-Range', PART, undefined],
])('a first chunk that %s is an object, because it may be the whole blob', async (_name, size, start) => {
  const content = bytesOf(1, size);
  const progress = await fixture.registry.appendChunk(session(open), start, bodyOf(content));
  await close(progress, await digestOf('sha256', content));
  expect(fixture.counts).toMatchObject({ classA: 1, classB: 1, d1: 2 });
  await expectStored(content);
});

describe('a first chunk that breaks off', () => {
  beforeEach(async () => {
    const broken = fixture.registry.appendChunk(session(open), 0, brokenBody(bytesOf(2, 5000), PART));
    await expect(broken).rejects.toThrow();
    expect((await fixture.registry.uploadProgress(session(open))).size).toBe(0);
  });

  test('can be sent again', async () => {
    const content = bytesOf(1, PART + 5);
    await close(await pushAll(cut(content, [PART, 5])), await digestOf('sha256', content));
    await expectStored(content);
  });

  test.each([0, undefined])('leaves room for one that is an object (start %s)', async (start) => {
    const content = bytesOf(1, 1000);
    const progress = await fixture.registry.appendChunk(session(open), start, bodyOf(content));
    await close(progress, await digestOf('sha256', content));
    await expectStored(content);
  });

  test('is not another upload of an organization that has the most that it may have', async () => {
    await env.DB_CENTRAL.prepare('UPDATE usage SET open_uploads = 10000').run();
    const content = bytesOf(1, 1000);
    const progress = await fixture.registry.appendChunk(session(open), undefined, bodyOf(content));
    await close(progress, await digestOf('sha256', content));
    await expectStored(content);
  });

  test('leaves room for the whole blob in the PUT', async () => {
    const content = bytesOf(1, 1000);
    await close(open, await digestOf('sha256', content), content);
    await expectStored(content);
    expect(await rowsOf("SELECT key, multipart FROM uploads WHERE state = 'finished'")).toEqual([
      { key: null, multipart: null },
    ]);
  });

  test('leaves the session to be cancelled', async () => {
    await fixture.registry.cancelUpload(session(open));
    await fixture.settled();
    expect(await rowsOf('SELECT state, key, multipart FROM uploads')).toEqual([
      { state: 'cancelled', key: null, multipart: null },
    ]);
  });
});

test.each([0, PART])(
  'of many chunks for the offset %i exactly one wins, and no other replaces its part',
  async (at) => {
    const first = bytesOf(99, PART);
    const from = at === 0 ? open : await patch(open, first);
    const chunks = Array.from({ length: 4 }, (_, i) => bytesOf(i + 1, PART));
    const results = await Promise.allSettled(chunks.map((chunk) => patch(from, chunk)));
    const won = results.findIndex(({ status }) => status === 'fulfilled');
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER' });
    const progress = (results[won] as PromiseFulfilledResult<UploadProgress>).value;
    const content = new Uint8Array(at + PART);
    content.set(first.slice(0, at));
    content.set(chunks[won]!, at);
    await close(progress, await digestOf('sha256', content));
    await expectStored(content);
  },
);

test('a chunk that arrives while the session is being closed is no part, and is not lost', async () => {
  const [content, more] = [bytesOf(1, 2 * PART), bytesOf(2, PART)];
  const progress = await pushAll(cut(content, [PART, PART]));
  let next: UploadProgress | undefined;
  const slow = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) => {
      if (kind !== 'completeMultipartUpload') return 'ok';
      return { until: patch(progress, more).then((after) => (next = after)) };
    }),
  });
  const closing = close(progress, await digestOf('sha256', content), undefined, slow);
  await expect(closing).rejects.toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER', progress: { size: 3 * PART } });
  await slow.settled();
  const whole = new Uint8Array(3 * PART);
  whole.set(content);
  whole.set(more, 2 * PART);
  await close(next!, await digestOf('sha256', whole));
  await expectStored(whole);
});

test.each(['PATCH', 'PUT'])('a %s that finds the parts sealed can be tried again', async (method) => {
  const content = bytesOf(1, 2 * PART);
  const [first, second] = cut(content, [PART, PART]);
  const progress = await patch(open, first!);
  const digest = await digestOf('sha256', content);
  // Another request has sealed them, and has not completed the upload yet.
  const seal = env.DB_CENTRAL.prepare('UPDATE uploads SET next_part = NULL');
  const overtaken = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) =>
      kind === 'uploadPart' ? { until: seal.run() } : 'ok',
    ),
  });
  const send = (of: Fixture): Promise<unknown> =>
    method === 'PATCH' ? patch(progress, second!, of) : close(progress, digest, second, of);
  await expect(send(overtaken)).rejects.toMatchObject({ kind: 'UNAVAILABLE', headers: { 'Retry-After': '2' } });
  const next = await send(fixture);
  if (method === 'PATCH') await close(next as UploadProgress, digest);
  await expectStored(content);
});

describe('a failure while closing', () => {
  test.each<[string, Fault]>([
    ['before R2 has completed the upload', 'before'],
    ['after R2 has completed it', 'after'],
  ])('%s leaves a session that can be closed', async (_name, how) => {
    const content = bytesOf(1, PART + 4);
    const progress = await pushAll(cut(content, [PART, 4]));
    const failing = await fixture.fresh({ bucket: failingOnce('completeMultipartUpload', how) });
    const digest = await digestOf('sha256', content);
    const outcome = await close(progress, digest, undefined, failing).catch((error: unknown) => error);
    if (how === 'before') expect(outcome).toMatchObject({ kind: 'UNAVAILABLE' });
    await close(progress, digest);
    await expectStored(content);
  });

  test('with the last chunk in the PUT: sending it again closes the session', async () => {
    const content = bytesOf(1, PART + 4);
    const [first, rest] = cut(content, [PART, 4]);
    const progress = await patch(open, first!);
    const failing = await fixture.fresh({ bucket: failingOnce('completeMultipartUpload', 'before') });
    const digest = await digestOf('sha256', content);
    await expect(close(progress, digest, rest, failing)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await close(progress, digest, rest);
    await expectStored(content);
  });
});

test('an empty PUT that is a stream without Content-Length counts as no body', async () => {
  const content = bytesOf(1, PART + 4);
  const progress = await pushAll(cut(content, [PART, 4]));
  resetCounts(fixture.counts);
  const empty = bodyOf(new Uint8Array(0), 'unknown');
  await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, empty);
  expect(fixture.counts).toMatchObject({ classA: 1, classB: 1 });
  await expectStored(content);
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
    const progress = await pushAll([first!, second!]);
    const before = await snapshot();
    const empty = announcing(0, new Uint8Array(0));
    const after = await fixture.registry.appendChunk(session(progress), progress.size, empty);
    expect(after.size).toBe(progress.size);
    expect(await snapshot()).toBe(before);
    await close(await patch(after, third!), await digestOf('sha256', content));
    await expectStored(content);
  });

  test.each(['PATCH', 'PUT'])('is refused in a %s if it has bytes', async (method) => {
    const content = bytesOf(1, 2 * PART);
    const progress = await pushAll(cut(content, [PART, PART]));
    const digest = await digestOf('sha256', content);
    const body = announcing(0, bytesOf(2, 10));
    const refused =
      method === 'PATCH'
        ? fixture.registry.appendChunk(session(progress), progress.size, body)
        : fixture.registry.finishUpload(session(progress), digest, progress.size, body);
    await expect(refused).rejects.toMatchObject({ kind: 'CONTENT_RANGE_INVALID' });
    await close(progress, digest);
    await expectStored(content);
  });

  test('closes a session with the bytes that it has', async () => {
    const content = bytesOf(1, 2 * PART);
    const progress = await pushAll(cut(content, [PART, PART]));
    const empty = announcing(0, new Uint8Array(0));
    await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), progress.size, empty);
    await expectStored(content);
  });
});

test.each<[string, number[], Algorithm]>([
  ['are objects', [1000], 'sha256'],
  ['are parts', [PART], 'sha512'],
])('the end of a session whose chunks %s may have only a Content-Range (%s, %s)', async (_name, sizes, algorithm) => {
  const content = bytesOf(1, sizes[0]! + 500);
  const [first, rest] = cut(content, [...sizes, 500]);
  const progress = await patch(open, first!);
  const digest = await digestOf(algorithm, content);
  await fixture.registry.finishUpload(session(progress), digest, progress.size, announcing(500, rest!));
  await expectStored(content, algorithm);
});

test.each(['the first request', 'a later one'])('an object that lacks bytes is never a blob (%s)', async (of) => {
  const content = bytesOf(1, 3 * PART);
  const progress = await pushAll(cut(content, [PART, PART, PART]));
  await env.DB_CENTRAL.prepare('DELETE FROM upload_chunks WHERE start = ?').bind(PART).run();
  const digest = await digestOf('sha256', content);
  const closings = of === 'the first request' ? 1 : 2;
  for (let i = 0; i < closings; i++)
    await expect(close(progress, digest)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  await expect(fixture.registry.getBlob(granted(), digest)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
});

test('a second upload of the same bytes deletes its own object', async () => {
  const content = bytesOf(1, PART + 4);
  for (let i = 0; i < 2; i++) {
    const another = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    await close(await pushAll(cut(content, [PART, 4]), another), await digestOf('sha256', content));
  }
  await fixture.settled();
  expect((await env.BLOBS_CENTRAL.list()).objects).toHaveLength(1);
  await expectStored(content);
});

test.each(['cancelled', 'expired'])('a session that is %s leaves neither object nor multipart upload', async (how) => {
  await pushAll(cut(bytesOf(1, 2 * PART), [PART, PART]));
  const [{ key, multipart } = { key: '', multipart: '' }] = await rowsOf<{ key: string; multipart: string }>(
    'SELECT key, multipart FROM uploads',
  );
  if (how === 'cancelled') await fixture.registry.cancelUpload(session(open));
  else await maintain(parseConfig(env), env, fixture.now + SESSION_MILLISECONDS + HOUR);
  await fixture.settled();
  const late = env.BLOBS_CENTRAL.resumeMultipartUpload(key, multipart).uploadPart(3, bytesOf(1, 5));
  await expect(late).rejects.toThrow(/10024/);
  expect(await rowsOf('SELECT start FROM upload_chunks')).toEqual([]);
});

test('an expired session goes even if R2 does not abort its upload', async () => {
  await patch(open, bytesOf(1, PART));
  const stuck = faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) => (kind.startsWith('abort') ? 'before' : 'ok'));
  const end = fixture.now + SESSION_MILLISECONDS + HOUR;
  await maintain(parseConfig(env), { ...env, BLOBS_CENTRAL: stuck }, end);
  expect(await rowsOf('SELECT id FROM uploads')).toEqual([]);
  expect(await rowsOf('SELECT start FROM upload_chunks')).toEqual([]);
});

test('a session whose parts R2 has lost is unknown, so that the client starts again', async () => {
  const progress = await patch(open, bytesOf(1, PART));
  const [{ key, multipart } = { key: '', multipart: '' }] = await rowsOf<{ key: string; multipart: string }>(
    'SELECT key, multipart FROM uploads',
  );
  await env.BLOBS_CENTRAL.resumeMultipartUpload(key, multipart).abort();
  await expect(patch(progress, bytesOf(2, PART))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  const digest = await digestOf('sha256', bytesOf(1, PART));
  await expect(close(progress, digest)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
});

test('a closing PUT answers within a second with a slow R2, however many chunks there are', async () => {
  const content = bytesOf(1, 4 * PART);
  const progress = await pushAll(cut(content, Array<number>(4).fill(PART)));
  const digest = await digestOf('sha256', content);
  const slow = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', delayed(300)),
  });
  const begunAt = Date.now();
  await close(progress, digest, undefined, slow);
  expect(Date.now() - begunAt).toBeLessThan(1000);
  await expectStored(content);
});

test('a chunk that exceeds the quota is refused before anything is written', async () => {
  await env.DB_CENTRAL.prepare(
    "INSERT INTO organizations (name, quota_bytes, created_at) VALUES ('alice', 1000, 0)",
  ).run();
  const before = await snapshot();
  await expect(patch(open, bytesOf(1, PART))).rejects.toMatchObject({ kind: 'QUOTA_EXCEEDED' });
  await fixture.settled();
  expect(await snapshot()).toBe(before);
});
