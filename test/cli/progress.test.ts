import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Progress } from '../../cli/src/progress.ts';
import type { Digest } from '../../src/oci/digest.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Sequences that move the cursor and clear lines. */
const SEQUENCES = new RegExp(`${String.fromCharCode(27)}\\[[0-9]*[KAJ]|\r`, 'g');
const UP_FOUR = `${String.fromCharCode(27)}[4A\r`;

const MEGABYTE = 1_000_000;
const digestOf = (letter: string) => `sha256:${letter.repeat(64)}` as Digest;
const blobs = ['a', 'b', 'c'].map((letter) => ({ digest: digestOf(letter), size: 10 * MEGABYTE, mediaType: 'layer' }));

function shown(terminal: { columns: number; rows: number } | undefined, quiet = false) {
  let text = '';
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      text += chunk.toString();
      done();
    },
  });
  const out = Object.assign(stream, { isTTY: terminal !== undefined, ...terminal }) as unknown as NodeJS.WriteStream;
  const progress = new Progress({ verb: 'pushing', done: 'pushed', quiet, out });
  progress.planned(blobs);
  return { progress, take: () => [text, (text = '')][0] ?? '' };
}

test('on a terminal, each blob has a bar, which is drawn again in its place', () => {
  const { progress, take } = shown({ columns: 80, rows: 24 });
  progress.ended(digestOf('a'), 'exists');
  progress.bytes(digestOf('b'), 5 * MEGABYTE);
  vi.advanceTimersByTime(100);
  expect(take().replaceAll(SEQUENCES, '').trim().split('\n')).toEqual([
    'aaaaaaaaaaaa  exists  10.0 MB',
    'bbbbbbbbbbbb  [============            ]  5.0 MB of 10.0 MB',
    'cccccccccccc  waiting',
    'pushing: 1 of 3 blobs, 5.0 MB of 20.0 MB',
  ]);
  progress.bytes(digestOf('b'), 6 * MEGABYTE);
  vi.advanceTimersByTime(1000);
  const drawn = take();
  expect(drawn).toContain(UP_FOUR);
  expect(drawn).toContain('6.0 MB of 10.0 MB, 1.0 MB/s, 4 s left');
  progress.stop();
  take();
  vi.advanceTimersByTime(10_000);
  expect(take()).toBe('');
});

test('a small terminal shows unfinished blobs first, and no line wraps', () => {
  const { progress, take } = shown({ columns: 30, rows: 4 });
  progress.ended(digestOf('c'), 'done');
  vi.advanceTimersByTime(100);
  const lines = take().split('\n').slice(0, -1);
  expect(lines).toHaveLength(3);
  expect(lines.join('')).not.toContain('cccc');
  for (const line of lines) expect(line.replaceAll(SEQUENCES, '').length).toBeLessThan(30);
});

test('elsewhere, a line every few seconds has bytes, rate and time left', () => {
  const { progress, take } = shown(undefined);
  for (let i = 1; i <= 5; i += 1) {
    progress.bytes(digestOf('a'), i * MEGABYTE);
    vi.advanceTimersByTime(1000);
  }
  // The first million does not count for the rate: an earlier push may have sent it.
  expect(take()).toBe('pushing: 0 of 3 blobs, 5.0 MB of 30.0 MB, 1.0 MB/s, 25 s left\n');
  progress.stop();
});

test('nothing is shown with --quiet', () => {
  const { progress, take } = shown(undefined, true);
  progress.tell('compressing');
  vi.advanceTimersByTime(20_000);
  progress.stop();
  expect(take()).toBe('');
});
