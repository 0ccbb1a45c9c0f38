import { expect, test } from 'vitest';
import { orAfter, Signal } from '../../src/mirror/waiting.ts';

test('a wait ends with the answer, or with something else once it is too late', async () => {
  expect(await orAfter(60_000, Promise.resolve('answer'), 'late')).toBe('answer');
  expect(await orAfter(0, new Promise<string>(() => undefined), 'late')).toBe('late');
  await expect(orAfter(60_000, Promise.reject(new Error('failed')), 'late')).rejects.toThrow('failed');
});

test('a signal wakes those that wait, and nobody later', async () => {
  const signal = new Signal();
  const woken = [signal.wait(), signal.wait()];
  signal.fire();
  await Promise.all(woken);
  expect(await orAfter(0, signal.wait(), 'asleep')).toBe('asleep');
});
