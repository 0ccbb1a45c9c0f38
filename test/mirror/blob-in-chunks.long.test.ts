/** Blobs that are stored in chunks, because they are large. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Slice, SliceOver } from '../../src/import/slice.ts';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { StoredRegistry } from '../../src/registry/stored.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import {
  blobOf as addBlob,
  bytesIn,
  expectToGoOn,
  expectUnkept,
  killAt,
  type MirroredBlob,
  objectOf,
  read,
  sameBytes,
  setQuota,
  stored,
} from '../support/mirror-blobs.ts';
import { RegistryUpstream } from '../support/registry-upstream.ts';

const SIZE = 70 * 1024 ** 2;

let upstream: RegistryUpstream;
beforeEach(() => {
  upstream = new RegistryUpstream();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const blobOf = (size: number): Promise<MirroredBlob> => addBlob(upstream, size);

test('a killed fetch goes on by its alarm, after its last part, in the same session', async () => {
  const blob = await blobOf(SIZE);
  await killAt(upstream, blob, 6 * PART_BYTES + 1000);
  const opened = vi.spyOn(StoredRegistry.prototype, 'openUpload');
  await expectToGoOn(upstream, blob, 6 * PART_BYTES);
  expect(opened).not.toHaveBeenCalled();
});

test.each([
  ['first', 1000],
  ['second', 40 * 1024 ** 2],
])('a blob that exceeds the quota from its %s chunk on is read without being kept', async (_, quota) => {
  await setQuota(quota);
  await expectUnkept(upstream, await blobOf(SIZE));
});

test('wrong bytes over the quota break off as well', async () => {
  await setQuota(1000);
  const blob = await blobOf(SIZE);
  upstream.misbehaves = () => new Response(upstream.stream(new Uint8Array(SIZE)));
  await expect(read(blob)).rejects.toThrow();
  expect(await objectOf(blob).ensure(blob.wanted)).toMatchObject({
    failed: expect.stringContaining('sent other bytes') as string,
  });
});

test('a blob that needs the shares of several invocations gets them', async () => {
  const blob = await blobOf(SIZE);
  let calls = 0;
  const requireLeft = vi.spyOn(Slice.prototype, 'requireLeft').mockImplementation(() => {
    calls += 1;
    if (calls % 2 === 0) throw new SliceOver();
  });
  expect(sameBytes(await read(blob), blob.content)).toBe(true);
  expect(requireLeft.mock.calls.length).toBeGreaterThan(3);
  expect(sameBytes(await stored(blob), blob.content)).toBe(true);
  expect(upstream.sent).toBe(SIZE);
});

test('memory stays bounded, whatever the size and the pace of the readers', async () => {
  const blob = await blobOf(SIZE);
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
