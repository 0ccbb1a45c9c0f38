/** The objects that hold the parts of an arriving blob. */
import { expect, test } from 'vitest';
import { PART_BYTES } from '../../src/mirror/handout.ts';
import { ObjectParts } from '../../src/mirror/object-parts.ts';
import type { Bucket } from '../../src/stores/bucket.ts';

test('the parts that have landed are deleted, and the one that a killed run may have written', async () => {
  const deleted: string[] = [];
  const bucket = { delete: async (keys: readonly string[]) => void deleted.push(...keys) } as unknown as Bucket;
  await new ObjectParts(bucket, 'id').delete(2 * PART_BYTES);
  expect(deleted).toEqual(['mirror/id/0', 'mirror/id/1', 'mirror/id/2']);
});
