/** Chunks that are parts stay in order when they break off, overtake each other, fail or are lost. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { HOUR } from '../../../src/durations.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { UploadProgress } from '../../../src/registry/registry.ts';
import { SESSION_MILLISECONDS } from '../../../src/stores/uploads/upload-reference.ts';
import { faultyR2, type Fault } from '../../support/faults.ts';
import {
  bodyOf,
  brokenBody,
  type Fixture,
  granted,
  openFixture,
  REPOSITORY,
  rowsOf,
  session,
  SUBJECT,
} from '../../support/fixture.ts';
import { bytesOf, close, cut, expectStored, PART, patch, pushAll } from '../../support/part-chunks.ts';

let fixture: Fixture;
let open: UploadProgress;

beforeEach(async () => {
  fixture = await openFixture();
  open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
});

/** Returns an R2 whose first call of a kind fails before or after it was applied. */
function failingOnce(kind: string, how: Fault): R2Bucket {
  let calls = 0;
  return faultyR2(env.BLOBS_CENTRAL, 'central', (call) => (call.kind === kind && ++calls === 1 ? how : 'ok'));
}

describe('a first chunk that breaks off', () => {
  beforeEach(async () => {
    const broken = fixture.registry.appendChunk(session(open), 0, brokenBody(bytesOf(2, 5000), PART));
    await expect(broken).rejects.toThrow();
    expect((await fixture.registry.uploadProgress(session(open))).size).toBe(0);
  });

  test('can be sent again', async () => {
    const content = bytesOf(1, PART + 5);
    await close(fixture, await pushAll(fixture, open, cut(content, [PART, 5])), await digestOf('sha256', content));
    await expectStored(fixture, content);
  });

  test.each([0, undefined])('leaves room for one that is an object (start %s)', async (start) => {
    const content = bytesOf(1, 1000);
    const progress = await fixture.registry.appendChunk(session(open), start, bodyOf(content));
    await close(fixture, progress, await digestOf('sha256', content));
    await expectStored(fixture, content);
  });

  test('can be sent again although the organization has as many open uploads as it may have', async () => {
    await env.DB_CENTRAL.prepare('UPDATE usage SET open_uploads = 10000').run();
    const content = bytesOf(1, 1000);
    const progress = await fixture.registry.appendChunk(session(open), undefined, bodyOf(content));
    await close(fixture, progress, await digestOf('sha256', content));
    await expectStored(fixture, content);
  });

  test('leaves room for the whole blob in the PUT', async () => {
    const content = bytesOf(1, 1000);
    await close(fixture, open, await digestOf('sha256', content), content);
    await expectStored(fixture, content);
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
  'exactly one of many chunks for the offset %i wins, and no other replaces its part',
  async (at) => {
    const first = bytesOf(99, PART);
    const from = at === 0 ? open : await patch(fixture, open, first);
    const chunks = Array.from({ length: 4 }, (_, i) => bytesOf(i + 1, PART));
    const results = await Promise.allSettled(chunks.map((chunk) => patch(fixture, from, chunk)));
    const won = results.findIndex(({ status }) => status === 'fulfilled');
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER' });
    const progress = (results[won] as PromiseFulfilledResult<UploadProgress>).value;
    const content = new Uint8Array(at + PART);
    content.set(first.slice(0, at));
    content.set(chunks[won]!, at);
    await close(fixture, progress, await digestOf('sha256', content));
    await expectStored(fixture, content);
  },
);

test('a chunk that arrives while the session is being closed is not a part, and is not lost', async () => {
  const [content, more] = [bytesOf(1, 2 * PART), bytesOf(2, PART)];
  const progress = await pushAll(fixture, open, cut(content, [PART, PART]));
  let next: UploadProgress | undefined;
  const slow = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) => {
      if (kind !== 'completeMultipartUpload') return 'ok';
      return { until: patch(fixture, progress, more).then((after) => (next = after)) };
    }),
  });
  const closing = close(slow, progress, await digestOf('sha256', content));
  await expect(closing).rejects.toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER', progress: { size: 3 * PART } });
  await slow.settled();
  const whole = new Uint8Array(3 * PART);
  whole.set(content);
  whole.set(more, 2 * PART);
  await close(fixture, next!, await digestOf('sha256', whole));
  await expectStored(fixture, whole);
});

test.each(['PATCH', 'PUT'])('a %s that finds the parts sealed can be tried again', async (method) => {
  const content = bytesOf(1, 2 * PART);
  const [first, second] = cut(content, [PART, PART]);
  const progress = await patch(fixture, open, first!);
  const digest = await digestOf('sha256', content);
  // Another request has sealed them, and has not completed the upload yet.
  const seal = env.DB_CENTRAL.prepare('UPDATE uploads SET next_part = NULL');
  const overtaken = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) =>
      kind === 'uploadPart' ? { until: seal.run() } : 'ok',
    ),
  });
  const send = (of: Fixture): Promise<unknown> =>
    method === 'PATCH' ? patch(of, progress, second!) : close(of, progress, digest, second);
  await expect(send(overtaken)).rejects.toMatchObject({ kind: 'UNAVAILABLE', headers: { 'Retry-After': '2' } });
  const next = await send(fixture);
  if (method === 'PATCH') await close(fixture, next as UploadProgress, digest);
  await expectStored(fixture, content);
});

describe('a failure while closing', () => {
  test.each<[string, Fault]>([
    ['before R2 has completed the upload', 'before'],
    ['after R2 has completed it', 'after'],
  ])('%s leaves a session that can be closed', async (_name, how) => {
    const content = bytesOf(1, PART + 4);
    const progress = await pushAll(fixture, open, cut(content, [PART, 4]));
    const failing = await fixture.fresh({ bucket: failingOnce('completeMultipartUpload', how) });
    const digest = await digestOf('sha256', content);
    const outcome = await close(failing, progress, digest).catch((error: unknown) => error);
    if (how === 'before') expect(outcome).toMatchObject({ kind: 'UNAVAILABLE' });
    await close(fixture, progress, digest);
    await expectStored(fixture, content);
  });

  test('with the last chunk in the PUT: sending it again closes the session', async () => {
    const content = bytesOf(1, PART + 4);
    const [first, rest] = cut(content, [PART, 4]);
    const progress = await patch(fixture, open, first!);
    const failing = await fixture.fresh({ bucket: failingOnce('completeMultipartUpload', 'before') });
    const digest = await digestOf('sha256', content);
    await expect(close(failing, progress, digest, rest)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await close(fixture, progress, digest, rest);
    await expectStored(fixture, content);
  });
});

test.each(['the first request', 'a later one'])('an object that lacks bytes is never a blob (%s)', async (of) => {
  const content = bytesOf(1, 3 * PART);
  const progress = await pushAll(fixture, open, cut(content, [PART, PART, PART]));
  await env.DB_CENTRAL.prepare('DELETE FROM upload_chunks WHERE start = ?').bind(PART).run();
  const digest = await digestOf('sha256', content);
  const closings = of === 'the first request' ? 1 : 2;
  for (let i = 0; i < closings; i++)
    await expect(close(fixture, progress, digest)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  await expect(fixture.registry.getBlob(granted(), digest)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
});

test.each(['cancelled', 'expired'])('a session that is %s leaves neither object nor multipart upload', async (how) => {
  await pushAll(fixture, open, cut(bytesOf(1, 2 * PART), [PART, PART]));
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
  await patch(fixture, open, bytesOf(1, PART));
  const stuck = faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) => (kind.startsWith('abort') ? 'before' : 'ok'));
  const end = fixture.now + SESSION_MILLISECONDS + HOUR;
  await maintain(parseConfig(env), { ...env, BLOBS_CENTRAL: stuck }, end);
  expect(await rowsOf('SELECT id FROM uploads')).toEqual([]);
  expect(await rowsOf('SELECT start FROM upload_chunks')).toEqual([]);
});

test('a session whose parts R2 has lost is unknown, so that the client starts again', async () => {
  const progress = await patch(fixture, open, bytesOf(1, PART));
  const [{ key, multipart } = { key: '', multipart: '' }] = await rowsOf<{ key: string; multipart: string }>(
    'SELECT key, multipart FROM uploads',
  );
  await env.BLOBS_CENTRAL.resumeMultipartUpload(key, multipart).abort();
  await expect(patch(fixture, progress, bytesOf(2, PART))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  const digest = await digestOf('sha256', bytesOf(1, PART));
  await expect(close(fixture, progress, digest)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
});
