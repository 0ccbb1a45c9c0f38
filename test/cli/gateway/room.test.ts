import { expect, test } from 'vitest';
import { Room } from '../../../cli/src/gateway/room.ts';

const never = new AbortController().signal;

test('those who wait enter in their order, as soon as there is room', async () => {
  const room = new Room(10);
  const entered: string[] = [];
  const first = await room.take(6, never);
  const waiting = [5, 4, 4].map((bytes, i) => room.take(bytes, never).then((taken) => (entered.push(`${i}`), taken)));
  await Promise.resolve();
  // The second would fit, but it is not its turn.
  expect(entered).toEqual([]);
  first.keep(2);
  await waiting[0];
  expect(entered).toEqual(['0']);
  first.keep(0);
  await waiting[1];
  expect(entered).toEqual(['0', '1']);
  (await waiting[0])?.keep(0);
  await waiting[2];
  expect(entered).toEqual(['0', '1', '2']);
});

test('room is given back once', async () => {
  const room = new Room(10);
  const taken = await room.take(10, never);
  taken.keep(0);
  taken.keep(0);
  await room.take(10, never);
  const late = new AbortController();
  const waiting = room.take(1, late.signal);
  late.abort(new Error('no more room'));
  await expect(waiting).rejects.toThrow('no more room');
});

test('a caller that gives up lets the next one in', async () => {
  const room = new Room(10);
  await room.take(6, never);
  const impatient = new AbortController();
  const large = room.take(10, impatient.signal);
  const small = room.take(4, never);
  impatient.abort(new Error('gone'));
  await expect(large).rejects.toThrow('gone');
  await small;
});
