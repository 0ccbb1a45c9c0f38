import { expect, test } from 'vitest';
import { orAfter, Pending, Signal } from '../../src/mirror/waiting.ts';

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

test('pending work has settled once all of it has ended, also by a failure', async () => {
  const pending = new Pending();
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  pending.add(first.promise);
  pending.add(second.promise);
  second.reject(new Error('failed'));
  expect(await orAfter(0, pending.settled(), 'under way')).toBe('under way');
  first.resolve('done');
  expect(await pending.settled()).toBeUndefined();
});
