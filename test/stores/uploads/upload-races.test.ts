/** Concurrent requests and lost answers: no acknowledged byte is deleted, and nothing leaks. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { ChunkOutOfOrder, type UploadProgress } from '../../../src/registry/registry.ts';
import { faultyR2 } from '../../support/faults.ts';
import {
  bodyOf,
  bytesIn,
  bytesOf,
  type Fixture,
  granted,
  openFixture,
  pushBlob,
  REPOSITORY,
  session,
  SUBJECT,
  unreferencedObjects,
} from '../../support/fixture.ts';

let fixture: Fixture;
const content = bytesOf(1, 5000);

beforeEach(async () => {
  fixture = await openFixture();
});

async function uploadOf(chunk: Uint8Array<ArrayBuffer>): Promise<UploadProgress> {
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  return fixture.registry.appendChunk(session(open), undefined, bodyOf(chunk));
}

/** Returns R2 with some of its operations replaced. */
function bucketWith(replaced: Partial<Pick<R2Bucket, 'get' | 'put'>>): R2Bucket {
  return new Proxy(env.BLOBS_CENTRAL, {
    get: (bucket, name) => Reflect.get(replaced, name) ?? (Reflect.get(bucket, name) as () => unknown).bind(bucket),
  });
}

/** An error after which a batch does not run again. */
const OVERLOADED = 'D1_ERROR: D1 DB is overloaded. Requests queued for too long.';

/** Returns a D1 whose n-th batch is applied, and then fails. Other requests are made meanwhile. */
function losingAnswer(n = 1, message = OVERLOADED, meanwhile = async (): Promise<void> => undefined): D1Database {
  let batches = 0;
  return new Proxy(env.DB_CENTRAL, {
    get: (database, name) =>
      name === 'batch'
        ? async (statements: D1PreparedStatement[]) => {
            const results = await database.batch(statements);
            if (++batches !== n) return results;
            await meanwhile();
            throw new Error(message);
          }
        : (Reflect.get(database, name) as () => unknown).bind(database),
  });
}

async function readsBack(): Promise<boolean> {
  const blob = await fixture.registry.getBlob(granted(), await digestOf('sha256', content));
  return (await bytesIn(await blob.open())).every((byte, i) => byte === content[i]);
}

describe('one session, closed twice at once', () => {
  test('by digests of two algorithms: the loser deletes nothing of the winner', async () => {
    const progress = await uploadOf(content);
    const sha512 = await digestOf('sha512', content);
    const slow = await fixture.fresh({
      bucket: bucketWith({
        get: async (key: string) => {
          const object = await env.BLOBS_CENTRAL.get(key);
          await fixture.registry.finishUpload(
            session(progress),
            await digestOf('sha256', content),
            undefined,
            undefined,
          );
          return object;
        },
      }),
    });
    await expect(slow.registry.finishUpload(session(progress), sha512, undefined, undefined)).rejects.toMatchObject({
      kind: 'UPLOAD_UNKNOWN',
    });
    await slow.settled();
    await fixture.settled();
    expect(await readsBack()).toBe(true);
    expect(await unreferencedObjects()).toEqual([]);
  });

  test.each(['one chunk', 'several chunks'])(
    'by many with the same digest (%s): all succeed, and one object stays',
    async (how) => {
      let progress = await uploadOf(how === 'one chunk' ? content : content.slice(0, 1000));
      if (how !== 'one chunk')
        progress = await fixture.registry.appendChunk(session(progress), undefined, bodyOf(content.slice(1000)));
      const digest = await digestOf('sha256', content);
      await Promise.all(
        Array.from({ length: 6 }, () => fixture.registry.finishUpload(session(progress), digest, undefined, undefined)),
      );
      await fixture.settled();
      expect(await readsBack()).toBe(true);
      expect(await unreferencedObjects()).toEqual([]);
    },
  );
});

describe('a lost answer', () => {
  test('of a chunk that another request has already followed: the batch runs again, and its object is not deleted', async () => {
    const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    const digest = await digestOf('sha256', content);
    const goOn = async (): Promise<void> => {
      const again = fixture.registry.appendChunk(session(open), undefined, bodyOf(content));
      const refused: unknown = await again.catch((error: unknown) => error);
      if (!(refused instanceof ChunkOutOfOrder)) throw new Error('the chunk was taken twice');
      await fixture.registry.finishUpload(session(refused.progress), digest, undefined, undefined);
    };
    const losing = await fixture.fresh({ database: losingAnswer(1, 'D1_ERROR: Network connection lost.', goOn) });
    await expect(losing.registry.appendChunk(session(open), undefined, bodyOf(content))).rejects.toMatchObject({
      kind: 'UNAVAILABLE',
    });
    await losing.settled();
    await fixture.settled();
    expect(await readsBack()).toBe(true);
    expect(await unreferencedObjects()).toEqual([]);
  });

  test('of a closing PUT: the retry succeeds', async () => {
    const progress = await uploadOf(content);
    const digest = await digestOf('sha256', content);
    const losing = await fixture.fresh({ database: losingAnswer() });
    await expect(losing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
      kind: 'UNAVAILABLE',
    });
    await losing.registry.finishUpload(session(progress), digest, undefined, undefined);
    const other = await digestOf('sha256', bytesOf(9, 9));
    await expect(losing.registry.finishUpload(session(progress), other, undefined, undefined)).rejects.toMatchObject({
      kind: 'UPLOAD_UNKNOWN',
    });
    await losing.settled();
    expect(await readsBack()).toBe(true);
  });

  test.each(['known', 'unknown'] as const)(
    'of a PUT with the whole blob (length %s): its object is not deleted',
    async (length) => {
      const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
      const digest = await digestOf('sha256', content);
      const losing = await fixture.fresh({ database: losingAnswer() });
      await expect(
        losing.registry.finishUpload(session(open), digest, undefined, bodyOf(content, length)),
      ).rejects.toMatchObject({
        kind: 'UNAVAILABLE',
      });
      await losing.registry.finishUpload(session(open), digest, undefined, bodyOf(content, length));
      await losing.settled();
      expect(await readsBack()).toBe(true);
      expect(await unreferencedObjects()).toEqual([]);
    },
  );

  test.each(['known', 'unknown'] as const)(
    'of R2 (length %s): an object that it may have stored is deleted',
    async (length) => {
      const failing = await fixture.fresh({
        bucket: bucketWith({
          put: async (key: string, value: ReadableStream) => {
            await env.BLOBS_CENTRAL.put(key, value);
            throw new Error('put: internal error (10001)');
          },
        }),
      });
      const open = await failing.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
      const digest = await digestOf('sha256', content);
      for (const attempt of [
        () => failing.registry.appendChunk(session(open), undefined, bodyOf(content, length)),
        () => failing.registry.finishUpload(session(open), digest, undefined, bodyOf(content, length)),
        () => failing.registry.putBlob(REPOSITORY, digest, bodyOf(content, length)),
      ]) {
        await expect(attempt()).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
        await failing.settled();
        expect(await unreferencedObjects()).toEqual([]);
      }
    },
  );
});

describe('a blob whose object was lost', () => {
  test.each(['POST with digest', 'PUT', 'PATCH and PUT', 'chunks and PUT', 'PATCH, and PUT by sha512'])(
    'is whole again after another push (%s)',
    async (how) => {
      const algorithm = how.endsWith('sha512') ? 'sha512' : 'sha256';
      const digest = await pushBlob(fixture, content, REPOSITORY, algorithm);
      const { objects } = await env.BLOBS_CENTRAL.list();
      await env.BLOBS_CENTRAL.delete(objects.map(({ key }) => key));
      if (how === 'POST with digest') await fixture.registry.putBlob(REPOSITORY, digest, bodyOf(content));
      else if (how === 'PUT') {
        const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
        await fixture.registry.finishUpload(session(open), digest, undefined, bodyOf(content));
      } else {
        let progress = await uploadOf(how.startsWith('chunks') ? content.slice(0, 100) : content);
        if (how.startsWith('chunks'))
          progress = await fixture.registry.appendChunk(session(progress), undefined, bodyOf(content.slice(100)));
        await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
      }
      await fixture.settled();
      const blob = await fixture.registry.getBlob(granted(), digest);
      expect(await bytesIn(await blob.open())).toEqual(content);
      expect(await unreferencedObjects()).toEqual([]);
    },
  );
});

test('closing an upload whose chunk is gone is 404, not a 503 to be retried', async () => {
  const progress = await fixture.registry.appendChunk(session(await uploadOf(content)), undefined, bodyOf(content));
  const { objects } = await env.BLOBS_CENTRAL.list();
  await env.BLOBS_CENTRAL.delete(objects[0]?.key ?? '');
  const digest = await digestOf('sha256', content);
  await expect(fixture.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: 'UPLOAD_UNKNOWN',
  });
});

test.each(['read back', 'joined'])('a chunk that breaks off while it is %s is a 503 to be retried', async (how) => {
  let progress = await uploadOf(content);
  if (how === 'joined') progress = await fixture.registry.appendChunk(session(progress), undefined, bodyOf(content));
  const whole = how === 'joined' ? new Uint8Array([...content, ...content]) : content;
  const digest = await digestOf('sha512', whole);
  const failing = await fixture.fresh({
    bucket: faultyR2(env.BLOBS_CENTRAL, 'central', ({ kind }) => (kind === 'get' ? { breakAt: 0.5 } : 'ok')),
  });
  await expect(failing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: 'UNAVAILABLE',
  });
  await failing.settled();
  await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
  await fixture.settled();
  expect(await bytesIn(await (await fixture.registry.getBlob(granted(), digest)).open())).toEqual(whole);
  expect(await unreferencedObjects()).toEqual([]);
});

test('an empty chunk, or an empty blob, does not revive a cancelled session', async () => {
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  await fixture.registry.cancelUpload(session(open));
  const empty = await digestOf('sha256', new Uint8Array(0));
  await expect(fixture.registry.appendChunk(session(open), undefined, undefined)).rejects.toMatchObject({
    kind: 'UPLOAD_UNKNOWN',
  });
  await expect(fixture.registry.finishUpload(session(open), empty, undefined, undefined)).rejects.toMatchObject({
    kind: 'UPLOAD_UNKNOWN',
  });
});

test('a chunk without Content-Length whose length differs from its Content-Range is refused', async () => {
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const body = { ...bodyOf(content, 'unknown'), announced: 6000 };
  await expect(fixture.registry.appendChunk(session(open), 0, body)).rejects.toMatchObject({
    kind: 'CONTENT_RANGE_INVALID',
  });
  expect((await fixture.registry.uploadProgress(session(open))).size).toBe(0);
  expect(await unreferencedObjects()).toEqual([]);
});

test('a repair whose answer is lost keeps the object that it pointed at, even after its session is removed', async () => {
  const digest = await pushBlob(fixture, content);
  const { objects } = await env.BLOBS_CENTRAL.list();
  await env.BLOBS_CENTRAL.delete(objects.map(({ key }) => key));
  const progress = await uploadOf(content);
  // The commit is the first batch, and the repair the second.
  const losing = await fixture.fresh({ database: losingAnswer(2) });
  await expect(losing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: 'UNAVAILABLE',
  });
  const other = await uploadOf(content);
  await fixture.registry.finishUpload(session(other), digest, undefined, undefined);
  await fixture.settled();
  await maintain(parseConfig(env), env, fixture.now + 1.5 * 86_400_000);
  expect(await readsBack()).toBe(true);
});

test('a session that is closed again after its blob was deleted is unknown, so that the client starts again', async () => {
  const progress = await uploadOf(content);
  const digest = await digestOf('sha256', content);
  await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
  await fixture.registry.deleteBlob(REPOSITORY, digest);
  await expect(fixture.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: 'UPLOAD_UNKNOWN',
  });
});

test('a session of the empty blob can be closed again too', async () => {
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const empty = await digestOf('sha256', new Uint8Array(0));
  for (let i = 0; i < 2; i++) await fixture.registry.finishUpload(session(open), empty, undefined, undefined);
});

test('a join whose write fails without reading does not wait for the stream', async () => {
  const progress = await fixture.registry.appendChunk(
    session(await uploadOf(content)),
    undefined,
    bodyOf(bytesOf(2, 2_000_000)),
  );
  const failing = await fixture.fresh({
    bucket: bucketWith({ put: () => Promise.reject(new Error('put: internal error (10001)')) }),
  });
  const digest = await digestOf('sha256', content);
  await expect(failing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: 'UNAVAILABLE',
  });
  expect((await fixture.registry.uploadProgress(session(progress))).size).toBe(2_005_000);
});
