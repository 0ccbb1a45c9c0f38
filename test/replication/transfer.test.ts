/** Copying an object in parts: what it asks of both buckets, and what a failure leaves for the next attempt. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { OciError } from '../../src/oci/errors.ts';
import { OutOfTime } from '../../src/replication/machine.ts';
import type { Progress } from '../../src/replication/queue-state.ts';
import { PART_BYTES, transfer, WHOLE_BYTES } from '../../src/replication/transfer.ts';
import { Bucket } from '../../src/stores/bucket.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { passDeadlinesOfStalledCalls, stalledCall } from '../support/stalled-calls.ts';

passDeadlinesOfStalledCalls();

/** Nine parts. */
const CONTENT = new Uint8Array(WHOLE_BYTES + 5).map((_, i) => i % 251);
const PARTS = 9;

interface Memory {
  readonly bucket: Bucket;
  readonly objects: Map<string, Uint8Array>;
  /** The bytes that were read and written. */
  readonly bytes: { read: number; written: number };
  /** The number of calls of each method. */
  readonly calls: Record<string, number>;
  /** Called before each method, with its name and the number of its calls. */
  before: (call: string, count: number) => Promise<unknown>;
  /** The bytes after which a read never ends. */
  stallsAt?: number | undefined;
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new Blob([bytes]).stream();
}

function stallingStream(bytes: Uint8Array, stallsAt: number): object {
  let offset = 0;
  const readAtLeast = (_least: number, view: Uint8Array): Promise<{ value: Uint8Array }> => {
    if (offset + view.byteLength > stallsAt) return stalledCall();
    view.set(bytes.subarray(offset, offset + view.byteLength));
    offset += view.byteLength;
    return Promise.resolve({ value: view });
  };
  return { getReader: () => ({ readAtLeast, cancel: async () => undefined }) };
}

/** A bucket of objects in memory. */
function bucketInMemory(): Memory {
  const parts: Uint8Array[] = [];
  const called = (call: string): Promise<unknown> => {
    memory.calls[call] = (memory.calls[call] ?? 0) + 1;
    return memory.before(call, memory.calls[call]);
  };
  const upload = (key: string) => ({
    key,
    uploadId: 'upload',
    uploadPart: async (partNumber: number, content: ReadableStream<Uint8Array>) => {
      await called('uploadPart');
      const bytes = new Uint8Array(await new Response(content).arrayBuffer());
      memory.bytes.written += bytes.byteLength;
      parts[partNumber - 1] = bytes;
      await called('answer');
      return { partNumber, etag: String(partNumber) };
    },
    complete: async (list: readonly { partNumber: number }[]) => {
      await called('complete');
      expect(list.map(({ partNumber }) => partNumber)).toEqual(Array.from(parts, (_, i) => i + 1));
      memory.objects.set(key, new Uint8Array(await new Blob(parts).arrayBuffer()));
    },
    abort: () => called('abort'),
  });
  const r2 = {
    head: async (key: string) => (await called('head'), memory.objects.has(key) ? {} : null),
    get: async (key: string, { range }: { range: { offset: number; length: number } }) => {
      await called('get');
      const bytes = memory.objects.get(key)?.subarray(range.offset, range.offset + range.length);
      if (bytes === undefined) return null;
      memory.bytes.read += bytes.byteLength;
      return { body: memory.stallsAt === undefined ? streamOf(bytes) : stallingStream(bytes, memory.stallsAt) };
    },
    createMultipartUpload: async (key: string) => (await called('createMultipartUpload'), upload(key)),
    resumeMultipartUpload: (key: string) => upload(key),
    delete: () => called('delete'),
  };
  const memory: Memory = {
    bucket: new Bucket(r2 as unknown as R2Bucket),
    objects: new Map(),
    bytes: { read: 0, written: 0 },
    calls: {},
    before: async () => undefined,
  };
  return memory;
}

let [from, to]: [Memory, Memory] = [bucketInMemory(), bucketInMemory()];
let progress: Map<string, Progress>;

beforeEach(() => {
  [from, to] = [bucketInMemory(), bucketInMemory()];
  from.objects.set('object', CONTENT);
  progress = new Map();
});

async function copy(mayGoOn = (): boolean => true, content = CONTENT): Promise<string> {
  const digest = await digestOf('sha256', content);
  return transfer(
    { name: 'up', from: from.bucket, key: 'object', to: to.bucket, digest, size: CONTENT.byteLength },
    {
      progress: (name) => progress.get(name),
      setProgress: (name, kept) => void progress.set(name, kept),
      forgetProgress: (name) => void progress.delete(name),
    },
    mayGoOn,
  );
}

function isWhole(key: string): boolean {
  const copied = to.objects.get(key);
  return copied?.byteLength === CONTENT.byteLength && crypto.subtle.timingSafeEqual(copied, CONTENT);
}

const numbersKept = (): number[] => progress.get('up')?.parts.map(({ partNumber }) => partNumber) ?? [];

test('a copy in parts reads each byte once and writes it once, and asks for nothing besides', async () => {
  const key = await copy();
  expect(isWhole(key)).toBe(true);
  expect([from.calls, from.bytes]).toEqual([{ get: 1 }, { read: CONTENT.byteLength, written: 0 }]);
  expect(to.bytes).toEqual({ read: 0, written: CONTENT.byteLength });
  expect(to.calls).toEqual({ createMultipartUpload: 1, uploadPart: PARTS, answer: PARTS, complete: 1 });
  expect(isolateBudget.inUse()).toBe(0);
});

test('three parts are under way at once', async () => {
  let [underWay, most] = [0, 0];
  let release: () => void = () => undefined;
  const full = new Promise<void>((resolve) => (release = resolve));
  to.before = async (call) => {
    if (call === 'uploadPart') most = Math.max(most, ++underWay);
    if (most === 3) release();
    // R2 answers no part before three were sent.
    if (call === 'answer') await full.then(() => underWay--);
  };
  await copy();
  expect(most).toBe(3);
});

test('everyone who waited has a turn between two parts', async () => {
  const turns = { asked: 0, had: 0 };
  to.before = async (call) => {
    if (call !== 'uploadPart') return;
    expect(turns.had).toBe(turns.asked);
    turns.asked++;
    setTimeout(() => turns.had++);
  };
  await copy();
  expect(turns.asked).toBe(PARTS);
});

test('an object that is shorter than its blob is never copied, and the error names both lengths', async () => {
  from.objects.set('object', CONTENT.subarray(0, PART_BYTES + 7));
  await expect(copy()).rejects.toMatchObject({
    name: 'PermanentError',
    message: `the object of ${await digestOf('sha256', CONTENT)} ends after ${PART_BYTES + 7} bytes, not ${CONTENT.byteLength}: it is not copied`,
  });
  expect([to.calls['abort'], progress.size, isolateBudget.inUse()]).toEqual([1, 0, 0]);
});

test('a copy for which there is no room is not an attempt that failed', async () => {
  const wait = vi.spyOn(isolateBudget, 'wait').mockRejectedValue(new OciError('UNAVAILABLE'));
  await expect(copy()).rejects.toBeInstanceOf(OutOfTime);
  wait.mockRestore();
  expect(isWhole(await copy())).toBe(true);
});

test('an object with other bytes is not completed', async () => {
  await expect(copy(undefined, new Uint8Array(5))).rejects.toMatchObject({ name: 'PermanentError' });
  expect([to.calls['abort'], to.calls['complete'], progress.size]).toEqual([1, undefined, 0]);
});

describe('the next attempt', () => {
  test('goes on after the parts that a run had time for, and reads the object back', async () => {
    let left = 4;
    await expect(copy(() => left-- > 0)).rejects.toBeInstanceOf(OutOfTime);
    expect(numbersKept()).toEqual([1, 2, 3, 4]);
    const key = await copy();
    expect(isWhole(key)).toBe(true);
    expect([from.bytes.read, to.bytes.written]).toEqual([2 * CONTENT.byteLength - 4 * PART_BYTES, CONTENT.byteLength]);
    expect(to.bytes.read).toBe(CONTENT.byteLength);
  });

  test('finds wrong bytes that it did not copy itself', async () => {
    let left = 4;
    await expect(copy(() => left-- > 0)).rejects.toBeInstanceOf(OutOfTime);
    from.objects.set(
      'object',
      CONTENT.map((byte, i) => (i > 5 * PART_BYTES ? byte + 1 : byte)),
    );
    await expect(copy()).rejects.toMatchObject({ name: 'PermanentError' });
    expect([to.calls['delete'], progress.size]).toEqual([1, 0]);
  });

  test('repeats a part that failed and those after it', async () => {
    to.before = async (call, count) => {
      if (call === 'answer' && count === 3) throw new Error('internal error (10001)');
    };
    await expect(copy()).rejects.toMatchObject({ kind: 'UNAVAILABLE', cause: { message: 'internal error (10001)' } });
    expect(numbersKept()).toEqual([1, 2]);
    expect(isWhole(await copy())).toBe(true);
    expect(isolateBudget.inUse()).toBe(0);
  });

  test('begins again if R2 has forgotten the upload', async () => {
    to.before = async (call, count) => {
      if (call === 'answer' && count === 3) throw new Error('the upload does not exist (10024)');
    };
    await expect(copy()).rejects.toThrow('10024');
    expect(progress.size).toBe(0);
    expect(isWhole(await copy())).toBe(true);
  });

  test('comes after the deadline of a bucket that stops in the middle of an object', async () => {
    from.stallsAt = 3 * PART_BYTES;
    await expect(copy()).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    expect(numbersKept()).toEqual([1, 2, 3]);
    from.stallsAt = undefined;
    expect(isWhole(await copy())).toBe(true);
  });
});
