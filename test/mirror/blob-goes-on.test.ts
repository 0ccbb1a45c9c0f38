/** Fetches that are killed, blobs that exceed the quota, and memory. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { OciError } from '../../src/oci/errors.ts';
import { StoredRegistry } from '../../src/registry/stored.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import {
  addMirror,
  blobOf as addBlob,
  bytesIn,
  expectToGoOn,
  expectUnkept,
  killAt,
  type MirroredBlob,
  objectOf,
  parts,
  read,
  sameBytes,
  setQuota,
  stored,
} from '../support/mirror-blobs.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const LARGE = 3 * PART_BYTES + 777;

const upstream = stubUpstream();
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const blobOf = (size: number): Promise<MirroredBlob> => addBlob(upstream, size);

test('a killed fetch goes on by its alarm, after its last part', async () => {
  const blob = await blobOf(LARGE);
  await addMirror();
  await killAt(upstream, blob, 2 * PART_BYTES + 1000);
  await expectToGoOn(upstream, blob, 2 * PART_BYTES);
});

test.each([
  ['removed', undefined],
  ['changed', 2],
])('a killed fetch of a mirror that was %s ends at its alarm, and its parts go', async (_what, changedAt) => {
  const blob = await blobOf(LARGE);
  await killAt(upstream, blob, PART_BYTES + 1000);
  if (changedAt !== undefined) await addMirror(changedAt);
  expect(await runDurableObjectAlarm(objectOf(blob))).toBe(true);
  expect(upstream.requests).toEqual([]);
  expect(await parts()).toEqual([]);
  expect(await runDurableObjectAlarm(objectOf(blob))).toBe(false);
});

test('the alarm waits for a fetch that has failed and is not through, and begins no other', async () => {
  const blob = await blobOf(LARGE);
  await addMirror();
  upstream.answers = ({ method }, content) =>
    upstream.gets().length === 1 && method === 'GET'
      ? new Response(upstream.stream(content!, PART_BYTES + 1000))
      : new Response(null, { status: 400 });
  const release = Promise.withResolvers<void>();
  const bucket = Object.getPrototypeOf(env.BLOBS_CENTRAL) as R2Bucket;
  const put = Reflect.get(bucket, 'put') as (...all: unknown[]) => Promise<R2Object>;
  vi.spyOn(bucket, 'put').mockImplementation(async function (this: R2Bucket, key: string, ...rest: unknown[]) {
    if (!key.endsWith('/1')) return put.call(this, key, ...rest);
    await release.promise;
    throw new Error('the bucket is away');
  } as R2Bucket['put']);
  await expect(read(blob)).rejects.toThrow();
  expect(upstream.gets()).toHaveLength(2);
  const alarm = runDurableObjectAlarm(objectOf(blob));
  await runInDurableObject(objectOf(blob), () => undefined);
  release.resolve();
  expect(await alarm).toBe(true);
  expect(upstream.gets()).toHaveLength(2);
  await vi.waitFor(async () => expect(await parts()).toEqual([]));
});

test('a client that comes again after a kill gets its bytes, from the parts and the upstream', async () => {
  const blob = await blobOf(LARGE);
  await killAt(upstream, blob, 2 * PART_BYTES + 1000);
  const rest = { start: 5_000_000, end: LARGE };
  expect(sameBytes(await read(blob, rest), blob.content.subarray(rest.start))).toBe(true);
  expect(upstream.sent).toBe(LARGE - 2 * PART_BYTES);
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
});

test('a blob that the store refuses for now is read all the same, and stored later from its parts', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
  const blob = await blobOf(LARGE);
  await addMirror();
  vi.spyOn(StoredRegistry.prototype, 'putBlob').mockRejectedValueOnce(new OciError('UNAVAILABLE'));
  expect(sameBytes(await read(blob), blob.content)).toBe(true);
  expect(await objectOf(blob).ensure(blob.wanted)).toHaveProperty('failed');
  vi.setSystemTime(Date.now() + 3000);
  await runDurableObjectAlarm(objectOf(blob));
  expect(sameBytes(await stored(blob), blob.content)).toBe(true);
  expect(upstream.gets()).toHaveLength(1);
});

describe('a reader that is slow while the store', () => {
  async function failAndRead(failure: OciError): Promise<MirroredBlob> {
    const blob = await blobOf(LARGE);
    await addMirror();
    vi.spyOn(StoredRegistry.prototype, 'putBlob').mockRejectedValueOnce(failure);
    const slow = (await objectOf(blob).open(blob.wanted))!.content;
    expect(await objectOf(blob).ensure(blob.wanted)).toHaveProperty('failed');
    vi.setSystemTime(Date.now() + 3000);
    await runDurableObjectAlarm(objectOf(blob));
    expect(sameBytes(await bytesIn(slow), blob.content)).toBe(true);
    vi.setSystemTime(Date.now() + 60_000);
    await runDurableObjectAlarm(objectOf(blob));
    expect(upstream.gets()).toHaveLength(1);
    return blob;
  }

  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.now() }));

  test('refuses the blob for now still gets its bytes, and the blob is stored afterwards', async () => {
    const blob = await failAndRead(new OciError('UNAVAILABLE'));
    expect(sameBytes(await stored(blob), blob.content)).toBe(true);
    expect(await parts()).toEqual([]);
  });

  test('refuses the blob for good still gets its bytes, and the parts are deleted afterwards', async () => {
    await failAndRead(new OciError('DENIED'));
    expect(await parts()).toEqual([]);
  });
});

test('a lack of memory here does not keep the next reader from the upstream', async () => {
  const blob = await blobOf(5000);
  await addMirror();
  vi.spyOn(isolateBudget, 'wait').mockRejectedValueOnce(new OciError('UNAVAILABLE'));
  await expect(read(blob)).rejects.toThrow();
  expect(sameBytes(await read(blob), blob.content)).toBe(true);
});

test.each([5000, LARGE])('a blob of %d bytes that exceeds the quota is read without being kept', async (size) => {
  await setQuota(1000);
  await expectUnkept(upstream, await blobOf(size));
});

test('wrong bytes over the quota break off as well', async () => {
  await setQuota(1000);
  const blob = await blobOf(LARGE);
  upstream.answers = () => new Response(upstream.stream(new Uint8Array(LARGE)));
  await expect(read(blob)).rejects.toThrow();
  expect(await objectOf(blob).ensure(blob.wanted)).toMatchObject({
    failed: expect.stringContaining('sent other bytes') as string,
  });
});

test('memory stays bounded, whatever the size and the pace of the readers', async () => {
  const blob = await blobOf(LARGE);
  let most = 0;
  const borrow = isolateBudget.borrow.bind(isolateBudget);
  const before = isolateBudget.inUse();
  vi.spyOn(isolateBudget, 'borrow').mockImplementation((...asked) => {
    const loan = borrow(...asked);
    most = Math.max(most, isolateBudget.inUse() - before);
    return loan;
  });
  const idle = await Promise.all(Array.from({ length: 16 }, () => objectOf(blob).open(blob.wanted)));
  expect(sameBytes(await read(blob), blob.content)).toBe(true);
  // The window, and the buffer that the store writes through.
  expect(most).toBeLessThanOrEqual(10 * 1024 ** 2);
  expect(most).toBeGreaterThan(0);
  for (const opened of idle.slice(1)) await opened!.content.cancel();
  expect(sameBytes(await bytesIn(idle[0]!.content), blob.content)).toBe(true);
  expect(await objectOf(blob).ensure(blob.wanted)).toBe('stored');
});
