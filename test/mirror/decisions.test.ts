/** Decisions of mirrors by times and headers alone. */
import { describe, expect, test } from 'vitest';
import { rateLimitIn } from '../../src/mirror/rate-limit.ts';
import { mayBeStale, verdictOn } from '../../src/registry/mirrored/freshness.ts';

describe('a tag with a ttl of 10 that may be stale for 20 more', () => {
  const times = { ttl: 10, stale: 20 };

  test.each([
    [undefined, 'ask first'],
    [100, 'serve'],
    [91, 'serve'],
    [90, 'serve, then ask'],
    [71, 'serve, then ask'],
    [70, 'ask first'],
    // A clock that was ahead.
    [200, 'serve'],
  ])('that was checked at %s: %s at 100', (checkedAt, verdict) => {
    expect(verdictOn(checkedAt, times, 100)).toBe(verdict);
  });

  test.each([
    [71, true],
    [70, false],
  ])('that was checked at %d may be served at 100 while the upstream fails: %s', (checkedAt, may) => {
    expect(mayBeStale(checkedAt, times, 100)).toBe(may);
  });
});

test('a tag with a ttl of 0 is always checked first, and may be stale for ever if the mirror allows it', () => {
  expect(verdictOn(100, { ttl: 0, stale: Infinity }, 100)).toBe('ask first');
  expect(mayBeStale(0, { ttl: 0, stale: Infinity }, 1e15)).toBe(true);
});

describe('a limit of pulls', () => {
  const read = (limit?: string, remaining?: string) =>
    rateLimitIn(
      new Headers({
        ...(limit === undefined ? {} : { 'ratelimit-limit': limit }),
        ...(remaining === undefined ? {} : { 'ratelimit-remaining': remaining }),
      }),
      1,
    );

  test('is read as Docker Hub writes it', () => {
    expect(read('100;w=21600', '76;w=21600')).toEqual({ limit: 100, remaining: 76, seconds: 21_600, at: 1 });
    expect(read('100', '0')).toEqual({ limit: 100, remaining: 0, seconds: 0, at: 1 });
  });

  test.each([
    [undefined, undefined],
    ['100;w=21600', undefined],
    ['many', '1'],
    ['100', '-1'],
    ['1e3', '1'],
    ['9999999999999999999999', '1'],
  ])('with the headers %s and %s is not read', (limit, remaining) => {
    expect(read(limit, remaining)).toBeUndefined();
  });
});
