/** Bytes that are handed out while they arrive, to readers at any pace. */
import { describe, expect, test, vi } from 'vitest';
import { Handout, PART_BYTES, type Parts } from '../../src/mirror/handout.ts';
import { WINDOW_BYTES } from '../../src/mirror/window.ts';
import { BufferBudget, RESERVED_BYTES } from '../../src/stores/uploads/buffer-budget.ts';
import { bytesOf } from '../support/fixture.ts';
import { Random } from '../support/random.ts';

const MIB = 1024 ** 2;
const SIZE = 3 * PART_BYTES + 12_345;
const CONTENT = bytesOf(1, SIZE);

/** Parts in memory. */
class MemoryParts implements Parts {
  readonly written: Uint8Array<ArrayBuffer>[] = [];
  reads = 0;

  async put(number: number, pieces: AsyncIterable<Uint8Array>, length: number): Promise<void> {
    const whole = await collected(pieces);
    expect(whole.byteLength).toBe(length);
    this.written[number] = whole;
  }

  async open(number: number, offset: number, length: number): Promise<ReadableStream<Uint8Array> | undefined> {
    this.reads += 1;
    const part = this.written[number]?.slice(offset, offset + length);
    return part && new Response(part).body!;
  }
}

interface Made {
  readonly handout: Handout;
  readonly parts: MemoryParts;
  readonly budget: BufferBudget;
}

async function handoutOf(size: number, budget = new BufferBudget(), landed = 0): Promise<Made> {
  const parts = new MemoryParts();
  const handout = new Handout({ size, landed, parts, budget, owner: 'alice' });
  await handout.open();
  return { handout, parts, budget };
}

async function* piecesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader({ mode: 'byob' });
  try {
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(64 * 1024));
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

async function collected(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const all: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of pieces) all.push(piece.slice());
  return new Uint8Array(await new Blob(all).arrayBuffer());
}

/** Writes content in pieces of a size, and reads all of it pinned, as the store does. */
async function arrive(handout: Handout, content: Uint8Array, piece = 64 * 1024): Promise<void> {
  const pin = handout.pin(handout.end);
  const stored = collected(handout.read(handout.end, handout.size, pin));
  const landed = handout.land(() => undefined);
  for (let at = handout.end; at < content.byteLength; at += piece) {
    await handout.write(content.subarray(at, Math.min(at + piece, content.byteLength)));
  }
  await Promise.all([stored, landed]);
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);

test('readers at random speeds, of random ranges, from random moments on all get their bytes', async () => {
  for (let seed = 1; seed <= 3; seed += 1) {
    const chance = new Random(seed);
    const random = (): number => chance.next();
    // The window is sometimes large, and sometimes as small as it can be.
    const budget = new BufferBudget(RESERVED_BYTES + (random() < 0.5 ? 0 : WINDOW_BYTES));
    const size = random() < 0.3 ? Math.ceil(random() * PART_BYTES) : SIZE;
    const content = CONTENT.subarray(0, size);
    const { handout } = await handoutOf(size, budget);
    const readers: Promise<void>[] = [];
    const readSome = async (): Promise<void> => {
      const start = random() < 0.5 ? 0 : Math.floor(random() * size);
      const end = random() < 0.5 ? size : start + Math.ceil(random() * (size - start));
      const [slowness, leavesAt] = [random() < 0.7 ? 0 : random() / 4, random() < 0.2 ? random() * size : Infinity];
      let at = start;
      for await (const piece of piecesOf(handout.stream(start, end))) {
        expect(sameBytes(piece, content.subarray(at, at + piece.byteLength)), `seed ${seed} at ${at}`).toBe(true);
        at += piece.byteLength;
        if (at > leavesAt) return;
        if (random() < slowness) await new Promise((done) => setTimeout(done));
      }
      expect(at, `seed ${seed}`).toBe(end);
    };
    for (let i = 0; i < 8; i += 1) readers.push(readSome());
    const pin = handout.pin(0);
    const store = collected(handout.read(0, size, pin));
    const landing = handout.land(() => undefined);
    for (let at = 0; at < size;) {
      const piece = content.subarray(at, at + Math.ceil(random() * 100_000));
      await handout.write(piece);
      at += piece.byteLength;
      if (random() < 0.02) readers.push(readSome());
      if (random() < 0.05) await new Promise((done) => setTimeout(done));
    }
    expect(sameBytes(await store, content)).toBe(true);
    if (random() < 0.5) await landing;
    handout.finish(async (start, end) => new Response(content.slice(start, end)).body!);
    for (let i = 0; i < 4; i += 1) readers.push(readSome());
    await Promise.all(readers);
    await landing.catch(() => undefined);
    expect(budget.inUse()).toBe(0);
  }
});

test('a slow reader does not hold up the arrival, and goes on from the parts', async () => {
  const { handout, parts } = await handoutOf(SIZE);
  const slow = piecesOf(handout.stream(0, SIZE));
  const first = await Promise.all([slow.next(), handout.write(CONTENT.subarray(0, 1000))]).then(
    ([{ value }]) => value!,
  );
  expect(sameBytes(first, CONTENT.subarray(0, 1000))).toBe(true);
  await arrive(handout, CONTENT);
  handout.finish(undefined);
  const rest = await collected(slow);
  expect(sameBytes(rest, CONTENT.subarray(1000))).toBe(true);
  expect(parts.reads).toBeGreaterThan(0);
});

test('the last byte is held back until the bytes are known to be the right ones', async () => {
  const { handout } = await handoutOf(100);
  const reader = piecesOf(handout.stream(0, 100));
  await arrive(handout, CONTENT.subarray(0, 100));
  expect((await reader.next()).value).toHaveLength(99);
  const last = reader.next();
  const before = await Promise.race([last.then(() => 'given'), new Promise((done) => setTimeout(done, 0, 'held'))]);
  expect(before).toBe('held');
  handout.finish(undefined);
  expect((await last).value).toEqual(CONTENT.slice(99, 100));
  expect((await reader.next()).done).toBe(true);
});

test('readers are waited for until they have their last byte', async () => {
  const { handout } = await handoutOf(100);
  const reader = piecesOf(handout.stream(0, 100));
  await arrive(handout, CONTENT.subarray(0, 100));
  handout.finish(undefined);
  const served = handout.served(60_000).then(() => 'served');
  expect(await Promise.race([served, new Promise((done) => setTimeout(done, 0, 'waited for'))])).toBe('waited for');
  expect(sameBytes(await collected(reader), CONTENT.subarray(0, 100))).toBe(true);
  expect(await served).toBe('served');
});

test('a reader that no longer reads is waited for no longer than asked', async () => {
  const { handout } = await handoutOf(100);
  const reader = handout.stream(0, 100);
  await arrive(handout, CONTENT.subarray(0, 100));
  handout.finish(undefined);
  await handout.served(1);
  await reader.cancel();
});

test('a failure ends every read with its cause, those that begin later included', async () => {
  const { handout, budget } = await handoutOf(SIZE);
  await handout.write(CONTENT.subarray(0, MIB));
  const reader = piecesOf(handout.stream(0, SIZE));
  await reader.next();
  const reading = expect(collected(reader)).rejects.toThrow('broke off');
  const waiting = expect(collected(piecesOf(handout.stream(2 * MIB, SIZE)))).rejects.toThrow('broke off');
  handout.fail(new Error('wrong bytes'));
  await Promise.all([reading, waiting]);
  await expect(collected(piecesOf(handout.stream(0, 10)))).rejects.toThrow('broke off');
  await expect(handout.write(CONTENT.subarray(0, 1))).rejects.toThrow('wrong bytes');
  expect(budget.inUse()).toBe(0);
});

describe('memory', () => {
  test('is bounded by the window, however slow the readers', async () => {
    const budget = new BufferBudget();
    const { handout } = await handoutOf(SIZE, budget);
    const readers = Array.from({ length: 64 }, () => handout.stream(0, SIZE));
    const most = vi.spyOn(budget, 'borrow');
    await arrive(handout, CONTENT);
    expect(budget.inUse()).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(most).toHaveBeenCalled();
    handout.finish(undefined);
    await Promise.all(readers.map((each) => each.cancel()));
    await vi.waitFor(() => expect(budget.inUse()).toBe(0));
  });

  test('needs no more than the least of the window', async () => {
    const budget = new BufferBudget(RESERVED_BYTES);
    const { handout } = await handoutOf(SIZE, budget);
    const reader = collected(piecesOf(handout.stream(0, SIZE)));
    await arrive(handout, CONTENT);
    handout.finish(undefined);
    expect(sameBytes(await reader, CONTENT)).toBe(true);
  });
});

test('an arrival that was interrupted goes on after its last part, and the parts before are read', async () => {
  const { handout, parts } = await handoutOf(SIZE, new BufferBudget(), PART_BYTES);
  parts.written[0] = CONTENT.slice(0, PART_BYTES);
  expect(handout.end).toBe(PART_BYTES);
  const reader = collected(piecesOf(handout.stream(5, SIZE)));
  await arrive(handout, CONTENT);
  handout.finish(undefined);
  expect(sameBytes(await reader, CONTENT.subarray(5))).toBe(true);
});

test('a blob without bytes is whole at once', async () => {
  const { handout } = await handoutOf(0);
  await handout.begun();
  expect(await collected(piecesOf(handout.stream(0, 0)))).toHaveLength(0);
});

test('a reader that is opening a part needs the parts, until it is through, although the blob is stored', async () => {
  const { handout, parts } = await handoutOf(SIZE);
  const opening = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const open = parts.open.bind(parts);
  vi.spyOn(parts, 'open').mockImplementation(async (...asked) => {
    opening.resolve();
    await opened.promise;
    return open(...asked);
  });
  await arrive(handout, CONTENT);
  const reader = collected(piecesOf(handout.stream(0, SIZE)));
  await opening.promise;
  handout.finish(async (start, end) => new Response(CONTENT.slice(start, end)).body!);
  expect(handout.needsParts).toBe(true);
  opened.resolve();
  expect(sameBytes(await reader, CONTENT)).toBe(true);
  expect(handout.needsParts).toBe(false);
});
