import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { OciError } from '../../../src/oci/errors.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import type { UploadProgress } from '../../../src/registry/registry.ts';
import { BufferBudget, PART_BYTES, RESERVED_BYTES } from '../../../src/stores/uploads/buffer-budget.ts';
import { MAX_CHUNKS } from '../../../src/stores/uploads/chunk-limit.ts';
import { ChunkOutOfOrder } from '../../../src/stores/uploads/upload-session.ts';
import {
  bodyOf,
  brokenBody,
  bytesIn,
  bytesOf,
  equal,
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
import { SAMPLE } from '../../support/sample.ts';

let fixture: Fixture;
let open: UploadProgress;

beforeEach(async () => {
  fixture = await openFixture();
  open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
});

async function stored(content: Uint8Array<ArrayBuffer>, algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<boolean> {
  const blob = await fixture.registry.getBlob(granted(), await digestOf(algorithm, content));
  const read = content.byteLength === 0 ? new Uint8Array(0) : await bytesIn(await blob.open());
  return blob.size === content.byteLength && equal(read, content);
}

async function pushChunks(
  chunks: readonly Uint8Array<ArrayBuffer>[],
  length: 'known' | 'unknown',
): Promise<UploadProgress> {
  let progress = open;
  for (const chunk of chunks)
    progress = await fixture.registry.appendChunk(session(progress), undefined, bodyOf(chunk, length));
  return progress;
}

function concat(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

const SIZES =
  SAMPLE === 1
    ? [1, 4096, 1024 * 1024, 1024 * 1024 + 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5]
    : [4096, PART_BYTES + 1];

describe('one PATCH, then an empty PUT', () => {
  test.each(SIZES.flatMap((size) => [['known', size] as const, ['unknown', size] as const]))(
    'length %s, %i bytes',
    async (length, size) => {
      const content = bytesOf(size, size);
      const progress = await pushChunks([content], length);
      expect(progress.size).toBe(size);
      await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, undefined);
      expect(await stored(content)).toBe(true);
      await fixture.settled();
      expect(await unreferencedObjects()).toEqual([]);
    },
  );

  test('a digest of another algorithm is checked by reading the blob back', async () => {
    const content = bytesOf(1, 5000);
    const progress = await pushChunks([content], 'unknown');
    const other = await digestOf('sha512', bytesOf(2, 5000));
    await expect(fixture.registry.finishUpload(session(progress), other, undefined, undefined)).rejects.toThrow(
      OciError,
    );
    await fixture.registry.finishUpload(session(progress), await digestOf('sha512', content), undefined, undefined);
    expect(await stored(content, 'sha512')).toBe(true);
  });

  test('a session that was opened for sha512 hashes with it', async () => {
    const content = bytesOf(1, 5000);
    const sha512 = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha512');
    const progress = await fixture.registry.appendChunk(session(sha512), undefined, bodyOf(content));
    await fixture.registry.finishUpload(session(progress), await digestOf('sha512', content), undefined, undefined);
    // R2 is asked once whether the object is there; reading it back would be another operation.
    expect(fixture.counts.classB).toBe(1);
    expect(await stored(content, 'sha512')).toBe(true);
  });
});

describe('a whole blob in one PUT', () => {
  test.each(SIZES.flatMap((size) => [['known', size] as const, ['unknown', size] as const]))(
    'length %s, %i bytes',
    async (length, size) => {
      const content = bytesOf(size, size);
      await fixture.registry.finishUpload(
        session(open),
        await digestOf('sha256', content),
        undefined,
        bodyOf(content, length),
      );
      expect(await stored(content)).toBe(true);
      await fixture.settled();
      expect(await unreferencedObjects()).toEqual([]);
    },
  );

  test('the empty blob is accepted', async () => {
    await fixture.registry.finishUpload(
      session(open),
      await digestOf('sha256', new Uint8Array(0)),
      undefined,
      undefined,
    );
    expect(await stored(new Uint8Array(0))).toBe(true);
  });
});

describe('several chunks', () => {
  test.each([
    ['known', [1, 2, 3]],
    ['unknown', [100_000, 1, 50]],
    ['unknown', [PART_BYTES + 1, PART_BYTES + 1]],
  ] as const)('of length %s, %j bytes, are joined in order', async (length, sizes) => {
    const chunks = sizes.map((size, i) => bytesOf(i + 1, size));
    const progress = await pushChunks(chunks, length);
    await fixture.registry.finishUpload(
      session(progress),
      await digestOf('sha256', concat(chunks)),
      undefined,
      undefined,
    );
    expect(await stored(concat(chunks))).toBe(true);
    await fixture.settled();
    expect(await unreferencedObjects()).toEqual([]);
  });

  test.each(['known', 'unknown'] as const)('the last one may come with the PUT, length %s', async (length) => {
    const chunks = [bytesOf(1, 300), bytesOf(2, 200), bytesOf(3, 100)] as const;
    const progress = await pushChunks(chunks.slice(0, 2), 'known');
    await fixture.registry.finishUpload(
      session(progress),
      await digestOf('sha256', concat(chunks)),
      500,
      bodyOf(chunks[2], length),
    );
    expect(await stored(concat(chunks))).toBe(true);
    await fixture.settled();
    expect(await unreferencedObjects()).toEqual([]);
  });

  test('a body waits until the budget has room, and is then stored as one object', async () => {
    const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
    const others = budget.borrow(RESERVED_BYTES)!;
    fixture = await openFixture({ budget });
    const content = bytesOf(1, PART_BYTES + 7);
    const pushing = pushChunks([content], 'unknown');
    await vi.waitUntil(() => budget.hasWaiters());
    budget.giveBack(others);
    const progress = await pushing;
    await fixture.registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, undefined);
    expect(fixture.counts).toMatchObject({ classA: 2 + 2, r2Deletes: 0 });
    expect(await stored(content)).toBe(true);
  });
});

describe('invariant 4: nothing is stored under a wrong digest', () => {
  const wrong = async (): Promise<Awaited<ReturnType<typeof digestOf>>> => digestOf('sha256', bytesOf(99, 9));
  const content = bytesOf(1, 700);

  test.each(['known', 'unknown'] as const)(
    'a PUT of the whole blob with a wrong digest is refused, length %s',
    async (length) => {
      const before = await snapshot();
      await expect(
        fixture.registry.finishUpload(session(open), await wrong(), undefined, bodyOf(content, length)),
      ).rejects.toMatchObject({
        kind: 'DIGEST_INVALID',
      });
      await fixture.settled();
      expect(await snapshot()).toBe(before);
    },
  );

  test('a POST with a wrong digest is refused', async () => {
    const before = await snapshot();
    await expect(fixture.registry.putBlob(REPOSITORY, await wrong(), bodyOf(content))).rejects.toMatchObject({
      kind: 'DIGEST_INVALID',
    });
    await expect(fixture.registry.putBlob(REPOSITORY, await wrong(), undefined)).rejects.toMatchObject({
      kind: 'DIGEST_INVALID',
    });
    expect(await snapshot()).toBe(before);
  });

  test.each([
    ['one chunk', [700], 0],
    ['several chunks', [300, 400], 0],
    ['a chunk in the PUT', [300], 400],
  ] as const)('a PUT with a wrong digest after %s leaves the session unchanged', async (_name, sizes, last) => {
    const progress = await pushChunks(
      sizes.map((size, i) => bytesOf(i, size)),
      'known',
    );
    const before = await snapshot();
    const body = last === 0 ? undefined : bodyOf(bytesOf(7, last));
    await expect(
      fixture.registry.finishUpload(session(progress), await wrong(), undefined, body),
    ).rejects.toMatchObject({
      kind: 'DIGEST_INVALID',
    });
    await fixture.settled();
    expect(await snapshot()).toBe(before);
    expect((await fixture.registry.uploadProgress(session(progress))).size).toBe(progress.size);
  });
});

test('a session at the chunk limit refuses another chunk, but a PUT with the rest still finishes it', async () => {
  const [chunk, rest] = [bytesOf(1, 10), bytesOf(2, 20)];
  await pushChunks([chunk], 'known');
  // Fill the session up to one chunk below the limit.
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT -1 UNION ALL SELECT i - 1 FROM n WHERE i > 1 - ${MAX_CHUNKS})
    INSERT INTO upload_chunks (upload, start, size, key) SELECT id, i, 0, key FROM n, uploads`,
  ).run();
  const full = await fixture.registry.appendChunk(
    session(await fixture.registry.uploadProgress(session(open))),
    undefined,
    bodyOf(chunk),
  );
  const before = await snapshot();
  const refused = fixture.registry.appendChunk(session(full), undefined, bodyOf(rest));
  await expect(refused).rejects.toMatchObject({
    kind: 'TOO_MANY_CHUNKS',
    message: expect.stringMatching(/^an upload has at most 9900 chunks: .* larger chunks$/),
  });
  const stale = fixture.registry.appendChunk(session(open), undefined, bodyOf(rest));
  await expect(stale).rejects.toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER', progress: { size: 20 } });
  await fixture.settled();
  expect(await snapshot()).toBe(before);
  await env.DB_CENTRAL.prepare('DELETE FROM upload_chunks WHERE start < 0').run();
  const whole = concat([chunk, chunk, rest]);
  await fixture.registry.finishUpload(session(full), await digestOf('sha256', whole), undefined, bodyOf(rest));
  expect(await stored(whole)).toBe(true);
});

describe('order', () => {
  test('a chunk that does not start at the end is refused with the current range, and the session survives', async () => {
    const progress = await pushChunks([bytesOf(1, 10)], 'known');
    const before = await snapshot();
    const ahead = fixture.registry.appendChunk(session(progress), 20, bodyOf(bytesOf(2, 10)));
    await expect(ahead).rejects.toBeInstanceOf(ChunkOutOfOrder);
    await expect(ahead).rejects.toMatchObject({ progress: { size: 10 } });
    const stale = fixture.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(2, 10)));
    await expect(stale).rejects.toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER', progress: { size: 10 } });
    const staleFinish = fixture.registry.finishUpload(
      session(open),
      await digestOf('sha256', bytesOf(2, 10)),
      undefined,
      bodyOf(bytesOf(2, 10)),
    );
    await expect(staleFinish).rejects.toMatchObject({ kind: 'CHUNK_OUT_OF_ORDER', progress: { size: 10 } });
    await fixture.settled();
    expect(await snapshot()).toBe(before);
    const { progress: current } = (await ahead.catch((error: unknown) => error)) as ChunkOutOfOrder;
    expect((await fixture.registry.appendChunk(session(current), 10, bodyOf(bytesOf(2, 10)))).size).toBe(20);
  });

  test('exactly one of many concurrent chunks for one offset wins, and the others leave nothing', async () => {
    for (const offset of [0, 50]) {
      const at =
        offset === 0
          ? open
          : await pushChunks([bytesOf(9, 50)], 'known').catch(() => fixture.registry.uploadProgress(session(open)));
      const other = offset === 0 ? await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256') : at;
      const attempts = Array.from({ length: 8 }, (_, i) =>
        fixture.registry.appendChunk(session(other), undefined, bodyOf(bytesOf(i, 50))).then(
          () => 'won',
          (error: unknown) => (error as OciError).kind,
        ),
      );
      expect((await Promise.all(attempts)).toSorted()).toEqual([
        ...Array.from({ length: 7 }, () => 'CHUNK_OUT_OF_ORDER'),
        'won',
      ]);
    }
    await fixture.settled();
    expect(await unreferencedObjects()).toEqual([]);
  });

  test.each([undefined, 100_000])(
    'a chunk that breaks off leaves the session at its old offset (length %s)',
    async (length) => {
      const progress = await pushChunks([bytesOf(1, 10)], 'known');
      await expect(
        fixture.registry.appendChunk(session(progress), undefined, brokenBody(bytesOf(2, 5000), length)),
      ).rejects.toThrow();
      expect((await fixture.registry.uploadProgress(session(progress))).size).toBe(10);
      await fixture.settled();
      expect(await unreferencedObjects()).toEqual([]);
    },
  );
});

describe('sessions', () => {
  test('opening one writes nothing', async () => {
    const before = await snapshot();
    await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    expect(await snapshot()).toBe(before);
    expect(fixture.counts).toMatchObject({ d1: 0, classA: 0, classB: 0 });
    expect((await fixture.registry.uploadProgress(session(open))).size).toBe(0);
  });

  test('a session is unknown in another repository, to another subject, and under a changed reference', async () => {
    const progress = await pushChunks([bytesOf(1, 10)], 'known');
    const changed = { ...progress, reference: progress.reference.replace('.10.', '.11.') };
    for (const foreign of [
      session(progress, 'alice/other' as RepositoryName),
      session(progress, REPOSITORY, 'mallory'),
      session(changed),
    ]) {
      await expect(fixture.registry.uploadProgress(foreign)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
      await expect(fixture.registry.appendChunk(foreign, undefined, bodyOf(bytesOf(1, 1)))).rejects.toMatchObject({
        kind: 'UPLOAD_UNKNOWN',
      });
      await expect(fixture.registry.cancelUpload(foreign)).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
    }
  });

  test.each(['fresh', 'with a chunk'])(
    'a cancelled session (%s) is unknown from then on, and leaves nothing',
    async (state) => {
      const progress = state === 'fresh' ? open : await pushChunks([bytesOf(1, 10)], 'known');
      await fixture.registry.cancelUpload(session(progress));
      await expect(fixture.registry.cancelUpload(session(progress))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
      await expect(fixture.registry.uploadProgress(session(progress))).rejects.toMatchObject({
        kind: 'UPLOAD_UNKNOWN',
      });
      for (const reference of [open, progress]) {
        const late = bytesOf(2, 10);
        await expect(fixture.registry.appendChunk(session(reference), undefined, bodyOf(late))).rejects.toMatchObject({
          kind: 'UPLOAD_UNKNOWN',
        });
        await expect(
          fixture.registry.finishUpload(session(reference), await digestOf('sha256', late), undefined, bodyOf(late)),
        ).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
      }
      await fixture.settled();
      expect(await unreferencedObjects()).toEqual([]);
      expect(await rowsOf('SELECT key FROM upload_chunks')).toEqual([]);
    },
  );

  test('a finished session is unknown from then on, except to a PUT with the same digest', async () => {
    const progress = await pushChunks([bytesOf(1, 10)], 'known');
    const digest = await digestOf('sha256', bytesOf(1, 10));
    await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
    await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
    const other = await digestOf('sha256', bytesOf(2, 10));
    await expect(fixture.registry.finishUpload(session(progress), other, undefined, undefined)).rejects.toMatchObject({
      kind: 'UPLOAD_UNKNOWN',
    });
    await expect(fixture.registry.cancelUpload(session(progress))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
  });
});

test('a second upload of the same digest keeps the first object and deletes its own', async () => {
  const content = bytesOf(1, 1000);
  const digest = await digestOf('sha256', content);
  await fixture.registry.putBlob(REPOSITORY, digest, bodyOf(content));
  await fixture.registry.putBlob(REPOSITORY, digest, bodyOf(content));
  await fixture.registry.finishUpload(session(open), digest, undefined, bodyOf(content));
  const another = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const progress = await fixture.registry.appendChunk(session(another), undefined, bodyOf(content));
  await fixture.registry.finishUpload(session(progress), digest, undefined, undefined);
  await fixture.settled();
  expect(await unreferencedObjects()).toEqual([]);
  expect(await stored(content)).toBe(true);
  expect(fixture.counts.r2Deletes).toBe(3);
});
