/** The set of keys that the position of a comparison keeps. */
import { expect, test } from 'vitest';
import { KeySet } from '../../../src/maintenance/integrity/key-set.ts';

const keysOf = (count: number) => Array.from({ length: count }, () => `blobs/${crypto.randomUUID()}`);

test('a set of keys has all its keys and hardly any others, even after it was saved', () => {
  const set = KeySet.of();
  const keys = keysOf(5000);
  for (const key of keys) set.add(key);
  const saved = JSON.stringify(set);
  expect(saved.length).toBeLessThan(5.4 * keys.length);
  const read = KeySet.of(JSON.parse(saved) as string);
  expect(keys.every((key) => read.has(key))).toBe(true);
  expect(keysOf(5000).filter((key) => read.has(key)).length).toBeLessThan(3);
});
