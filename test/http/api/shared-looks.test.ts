/** Waiting requests look rarely, and share what they see. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SharedLooks } from '../../../src/http/api/shared-looks.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const is = (wanted: number) => (seen: number) => seen === wanted;

test('a hundred requests that wait ten seconds for the same thing look about as often as one', async () => {
  const looks = new SharedLooks<number>();
  const look = vi.fn(async () => 0);
  const alone = looks.until('alone', look, is(1), 10);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await alone).toBe(0);
  const single = look.mock.calls.length;
  expect(single).toBeLessThan(20);

  look.mockClear();
  const all = Array.from({ length: 100 }, () => looks.until('same', look, is(1), 10));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await Promise.all(all)).toEqual(Array(100).fill(0));
  // Each request looks once itself.
  expect(look.mock.calls.length).toBeLessThanOrEqual(100 + single);
});

test('all requests that wait for the same thing answer with the result of one look', async () => {
  const looks = new SharedLooks<number>();
  let state = 0;
  const all = Promise.all(Array.from({ length: 10 }, () => looks.until('same', async () => state, is(1), 60)));
  await vi.advanceTimersByTimeAsync(3000);
  state = 1;
  await vi.advanceTimersByTimeAsync(4000);
  expect(await all).toEqual(Array(10).fill(1));
});

test('a request never answers with a result from before it came', async () => {
  const looks = new SharedLooks<number>();
  expect(await looks.until('same', async () => 1, is(1), 60)).toBe(1);
  expect(await looks.until('same', async () => 2, is(2), 60)).toBe(2);
});

test('one look is enough without a waiting time, or when the state is reached already', async () => {
  const looks = new SharedLooks<number>();
  const look = vi.fn(async () => 1);
  expect(await looks.until('same', look, is(2), 0)).toBe(1);
  expect(await looks.until('same', look, is(1), 60)).toBe(1);
  expect([look.mock.calls.length, vi.getTimerCount()]).toEqual([2, 0]);
});

test('if the request that looks is cancelled, the others look themselves', async () => {
  const looks = new SharedLooks<number>();
  const waiting = looks.until('same', vi.fn(async () => 1).mockResolvedValueOnce(0), is(1), 60);
  await vi.advanceTimersByTimeAsync(0);
  void looks.until('same', () => new Promise<never>(() => undefined), is(1), 60);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await waiting).toBe(1);
});

test('a failed look fails only the request that looked: the others look themselves', async () => {
  const looks = new SharedLooks<number>();
  const failing = expect(looks.until('same', async () => Promise.reject(new Error('away')), is(1), 60)).rejects.toThrow(
    'away',
  );
  const waiting = looks.until('same', vi.fn(async () => 1).mockResolvedValueOnce(0), is(1), 60);
  await vi.advanceTimersByTimeAsync(1000);
  await failing;
  expect(await waiting).toBe(1);
});
