/** Fetches that are killed, blobs that exceed the quota, and memory. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import {
  blobOf as addBlob,
  bytesIn,
  objectOf,
  expectToGoOn,
  expectUnkept,
  killAt,
  type MirroredBlob,
  read,
  sameBytes,
  setQuota,
} from '../support/mirror-blobs.ts';
import { RegistryUpstream } from '../support/registry-upstream.ts';

const LARGE = 3 * PART_BYTES + 777;

let upstream: RegistryUpstream;
beforeEach(() => {
  upstream = new RegistryUpstream();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const blobOf = (size: number): Promise<MirroredBlob> => addBlob(upstream, size);

test('a killed fetch goes on by its alarm, after its last part', async () => {
  const blob = await blobOf(LARGE);
  await killAt(upstream, blob, 2 * PART_BYTES + 1000);
  await expectToGoOn(upstream, blob, 2 * PART_BYTES);
});

test('a client that comes again after a kill gets its bytes, from the parts and the upstream', async () => {
  const blob = await blobOf(LARGE);
  await killAt(upstream, blob, 2 * PART_BYTES + 1000);
  const rest = { start: 5_000_000, end: LARGE };
  expect(sameBytes(await read(blob, rest), blob.content.subarray(rest.start))).toBe(true);
  expect(upstream.sent).toBe(LARGE - 2 * PART_BYTES);
});

test.each([5000, LARGE])('a blob of %d bytes that exceeds the quota is read without being kept', async (size) => {
  await setQuota(1000);
  await expectUnkept(upstream, await blobOf(size));
});

test('wrong bytes over the quota break off as well', async () => {
  await setQuota(1000);
  const blob = await blobOf(LARGE);
  upstream.misbehaves = () => new Response(upstream.stream(new Uint8Array(LARGE)));
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
});
