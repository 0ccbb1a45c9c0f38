import { expect, test } from 'vitest';
import { BoundedCache } from '../src/bounded-cache.ts';

const LIMIT = 100_000;

test('a cache never exceeds its limit in bytes: the oldest values make room', () => {
  const cache = new BoundedCache<string>(LIMIT);
  for (let i = 0; i < 1000; i++) {
    cache.set(`hash${i}`, 'x'.repeat(i * 10));
    expect(cache.bytes).toBeLessThanOrEqual(LIMIT);
  }
  expect(cache.get('hash999')).toHaveLength(9990);
  expect(cache.get('hash998')).toHaveLength(9980);
  expect(cache.get('hash900')).toBeUndefined();
});

test('a value that is set again is the newest, and counts once', () => {
  const cache = new BoundedCache<string>(LIMIT);
  cache.set('a', 'first');
  const { bytes } = cache;
  cache.set('b', 'other');
  cache.set('a', 'again');
  expect(cache.bytes).toBe(2 * bytes);
  cache.set('c', 'x'.repeat(24_800));
  expect([cache.get('a'), cache.get('b')]).toEqual(['again', undefined]);
});

test('a value that is larger than the cache is not kept', () => {
  const cache = new BoundedCache<string>(LIMIT);
  cache.set('a', 'x'.repeat(LIMIT));
  expect([cache.get('a'), cache.bytes]).toEqual([undefined, 0]);
});
