/** Calls to D1 and R2 that never settle are given up after their deadlines, and leave nothing behind. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { BlobAssembler } from '../../src/stores/uploads/blob-assembler.ts';
import { BlobWriter } from '../../src/stores/uploads/blob-writer.ts';
import { Bucket, CHANGE_MILLISECONDS, READ_MILLISECONDS } from '../../src/stores/bucket.ts';
import { BufferBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { Database, DATABASE_MILLISECONDS, sqlOfWholeTable } from '../../src/stores/database.ts';
import { millisecondsFor, passBytes, within } from '../../src/stores/deadline.ts';
import { bytesOf } from '../support/fixture.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const never = (): Promise<never> => new Promise<never>(() => undefined);

const UNAVAILABLE = { kind: 'UNAVAILABLE', headers: { 'Retry-After': '2' } };

/** Checks that the call waits until just before its deadline, and then fails with UNAVAILABLE. */
async function requireGivenUpAfter(milliseconds: number, call: Promise<unknown>): Promise<void> {
  const settled = vi.fn<(outcome: unknown) => void>();
  call.then(settled, settled);
  await vi.advanceTimersByTimeAsync(milliseconds - 1);
  expect(settled).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(settled).toHaveBeenCalledExactlyOnceWith(expect.objectContaining(UNAVAILABLE));
  expect(vi.getTimerCount()).toBe(0);
}

const SELECT_ONE = sqlOfWholeTable`SELECT 1`;

describe('D1', () => {
  const statement = { bind: () => statement, all: never, run: never };
  const database = new Database({ prepare: () => statement, batch: never } as unknown as D1Database);

  test.each<[string, () => Promise<unknown>]>([
    ['all', () => database.all(SELECT_ONE)],
    ['first', () => database.first(SELECT_ONE)],
    ['run', () => database.run(SELECT_ONE)],
    ['batch', () => database.batch([[SELECT_ONE]])],
    ['probe', () => database.probe()],
  ])('%s', async (_name, call) => {
    await requireGivenUpAfter(DATABASE_MILLISECONDS, call());
  });

  test('has a longer deadline than the time that D1 gives a query', () => {
    expect(DATABASE_MILLISECONDS).toBeGreaterThan(30_000);
  });
});

describe('R2', () => {
  const upload = { uploadId: 'upload', uploadPart: never, complete: never, abort: never };
  const silent = {
    put: never,
    get: never,
    head: never,
    list: never,
    delete: never,
    createMultipartUpload: never,
    resumeMultipartUpload: () => upload,
  };
  const bucket = new Bucket(silent as unknown as R2Bucket);
  const resumed = bucket.resumeMultipartUpload('key', 'upload');

  test.each<[string, number, () => Promise<unknown>]>([
    ['get', READ_MILLISECONDS, () => bucket.get('key')],
    ['exists', READ_MILLISECONDS, () => bucket.exists('key')],
    ['probe', READ_MILLISECONDS, () => bucket.probe()],
    ['list', READ_MILLISECONDS, () => bucket.list('')],
    ['delete', CHANGE_MILLISECONDS, () => bucket.delete(['key'])],
    ['put of bytes', CHANGE_MILLISECONDS, () => bucket.put('key', bytesOf(1, 10))],
    ['createMultipartUpload', CHANGE_MILLISECONDS, () => bucket.createMultipartUpload('key')],
    ['uploadPart', CHANGE_MILLISECONDS, () => resumed.uploadPart(1, bytesOf(1, 10))],
    ['complete', CHANGE_MILLISECONDS, () => resumed.complete([])],
    ['abort', CHANGE_MILLISECONDS, () => resumed.abort()],
  ])('%s', async (_name, milliseconds, call) => {
    await requireGivenUpAfter(milliseconds, call());
  });

  test('a put of a stream may last until its body was handed over, and then as long as a put of bytes', async () => {
    const stream = (): ReadableStream<Uint8Array> => new Blob([bytesOf(1, 10)]).stream();
    const settled = vi.fn<() => void>();
    bucket.put('key', stream()).then(settled, settled);
    const given = Promise.withResolvers<void>();
    const put = bucket.put('key', stream(), undefined, given.promise);
    put.then(settled, settled);
    await vi.advanceTimersByTimeAsync(10 * CHANGE_MILLISECONDS);
    expect(settled).not.toHaveBeenCalled();
    given.resolve();
    await requireGivenUpAfter(CHANGE_MILLISECONDS, put);
    expect(settled).toHaveBeenCalledOnce();
  });

  test.each<[string, (asked: { body: ReadableStream<Uint8Array> }) => object]>([
    ['accepts nothing of a chunk', () => ({})],
    ['accepts a chunk, and does not answer', ({ body }) => ({ taken: new Response(body).arrayBuffer() })],
  ])('a chunk of known length is given up when R2 %s', async (_what, take) => {
    const put = (_key: string, body: ReadableStream<Uint8Array>) => (take({ body }), never());
    const deleted: string[][] = [];
    const r2 = { put, delete: async (keys: string[]) => void deleted.push(keys) };
    const budget = new BufferBudget();
    const writer = new BlobWriter(new Bucket(r2 as unknown as R2Bucket), budget);
    const stream = new Response(bytesOf(1, 100)).body!;
    const failed = expect(writer.write({ stream, length: 100 }, 'sha256')).rejects.toMatchObject(UNAVAILABLE);
    // Bytes move between streams at their own pace, so the test waits for every deadline.
    for (let waits = 0; waits < 2; waits++) {
      await vi.waitUntil(() => vi.getTimerCount() > 0 || deleted.length > 0);
      await vi.advanceTimersByTimeAsync(CHANGE_MILLISECONDS);
    }
    await failed;
    // R2 may have stored the object anyway, so it is deleted.
    expect(deleted).toEqual([[expect.stringMatching(/^blobs\//)]]);
    expect([budget.inUse(), vi.getTimerCount()]).toEqual([0, 0]);
  });

  test('late results are released: the body of an object, and a multipart upload', async () => {
    const [got, created] = [Promise.withResolvers<object>(), Promise.withResolvers<object>()];
    const slow = { get: () => got.promise, createMultipartUpload: () => created.promise };
    const late = new Bucket(slow as unknown as R2Bucket);
    const calls = [late.get('key'), late.createMultipartUpload('key')];
    const failed = Promise.all(calls.map((call) => expect(call).rejects.toMatchObject(UNAVAILABLE)));
    await vi.advanceTimersByTimeAsync(CHANGE_MILLISECONDS);
    await failed;
    const [cancel, abort] = [
      vi.fn<() => Promise<void>>(async () => undefined),
      vi.fn<() => Promise<void>>(async () => undefined),
    ];
    got.resolve({ body: { cancel } });
    created.resolve({ abort });
    await vi.waitUntil(() => cancel.mock.calls.length > 0 && abort.mock.calls.length > 0);
  });
});

describe('the bytes of an object', () => {
  const stalled = (): ReadableStream<Uint8Array> => new ReadableStream<Uint8Array>({ pull: never });

  test('may take a minute, and a second for each MiB', async () => {
    await requireGivenUpAfter(65_000, passBytes(stalled(), new WritableStream(), 5 * 1024 ** 2));
  });

  test('are given up at their deadline when an uploaded chunk is hashed', async () => {
    const bucket = new Bucket({ get: async () => ({ body: stalled() }) } as unknown as R2Bucket);
    const assembler = new BlobAssembler(bucket, new BlobWriter(bucket, new BufferBudget()), () => undefined);
    const digest = await digestOf('sha256', bytesOf(1, 10));
    const failed = expect(assembler.verify('key', digest, 10)).rejects.toMatchObject(UNAVAILABLE);
    await vi.waitUntil(() => vi.getTimerCount() > 0);
    await vi.advanceTimersByTimeAsync(millisecondsFor(10) + 1);
    await failed;
  });
});

test('an answer and a failure in time clear their timer', async () => {
  await expect(within(1000, Promise.resolve('answer'))).resolves.toBe('answer');
  await expect(within(1000, Promise.reject(new Error('failure')))).rejects.toThrow('failure');
  expect(vi.getTimerCount()).toBe(0);
});
