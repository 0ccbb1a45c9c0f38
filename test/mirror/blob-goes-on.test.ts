/** Fetches that are killed, and blobs that exceed the quota. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import {
  blobOf as addBlob,
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
