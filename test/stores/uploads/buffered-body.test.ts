/** Invariant 8: the memory that a client holds grows with what it has sent, and is freed when it stops sending. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { STALLED_MILLISECONDS, STEP_BYTES } from '../../../src/stores/uploads/body-reader.ts';
import { BlobWriter } from '../../../src/stores/uploads/blob-writer.ts';
import {
  BUDGET_BYTES,
  BufferBudget,
  FIRST_RESERVED_BYTES,
  type Loan,
  PART_BYTES,
  PATIENCE_MILLISECONDS,
  RESERVED_BYTES,
  SMALL_BYTES,
} from '../../../src/stores/uploads/buffer-budget.ts';
import {
  BufferedBody,
  type Buffering,
  SLOW_MILLISECONDS,
  TURN_MILLISECONDS,
} from '../../../src/stores/uploads/buffered-body.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { Bucket } from '../../../src/stores/bucket.ts';
import { bytesOf } from '../../support/fixture.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
afterEach(() => void vi.useRealTimers());

/** Returns an R2 that accepts everything, and what it received. */
function takingEverything(): { bucket: Bucket; deleted: string[][]; sizes: number[] } {
  const deleted: string[][] = [];
  const sizes: number[] = [];
  const put = async (_key: string, body: BodyInit) =>
    void sizes.push((await new Response(body).arrayBuffer()).byteLength);
  const r2 = { put, delete: async (keys: string[]) => void deleted.push(keys) };
  return { bucket: new Bucket(r2 as unknown as R2Bucket), deleted, sizes };
}

/** Returns the body of a client that sends `bytes`, then nothing, and keeps its connection. */
function stalledBody(bytes: number): { stream: ReadableStream<Uint8Array>; sent: Promise<void> } {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  return { stream: readable, sent: bytes === 0 ? Promise.resolve() : writer.write(bytesOf(1, bytes)) };
}

test.each<[sent: number, length: number | undefined, most: number]>([
  [0, undefined, 0],
  [0, 100_000_000, 0],
  [1, undefined, STEP_BYTES],
  [1, 100_000_000, STEP_BYTES],
  [STEP_BYTES + 1, undefined, SMALL_BYTES],
  [SMALL_BYTES + 1, undefined, PART_BYTES],
])(
  'after %i bytes of a body of %s bytes, a stalled client holds %i bytes until it gets 408',
  async (bytes, length, most) => {
    const budget = new BufferBudget();
    const { bucket, deleted } = takingEverything();
    const { stream, sent } = stalledBody(bytes);
    const failed = expect(new BlobWriter(bucket, budget).write({ stream, length }, 'sha256')).rejects.toMatchObject({
      kind: 'BODY_STALLED',
      status: 408,
    });
    await sent;
    await vi.waitUntil(() => budget.inUse() === most);
    await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
    await failed;
    expect([budget.inUse(), vi.getTimerCount()]).toEqual([0, 0]);
    expect(deleted.flat()).toHaveLength(length === undefined ? 0 : 1);
  },
);

test('a slow body gives up its large buffer while others wait for room, and continues in a small one', async () => {
  const budget = new BufferBudget();
  const { bucket, sizes } = takingEverything();
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const written = new BlobWriter(bucket, budget).write({ stream: readable, length: undefined }, 'sha256');
  const content = bytesOf(1, SMALL_BYTES + 4 * STEP_BYTES);
  await writer.write(content.slice(0, SMALL_BYTES + STEP_BYTES));
  await vi.waitUntil(() => budget.inUse() === PART_BYTES);
  const rest = budget.borrow(BUDGET_BYTES - 2 * PART_BYTES)!;
  const waiting = budget.wait(PART_BYTES + 1);
  await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS);
  await writer.write(content.slice(SMALL_BYTES + STEP_BYTES, SMALL_BYTES + 2 * STEP_BYTES));
  await vi.waitUntil(() => budget.inUse() < rest.bytes + PART_BYTES);
  await vi.advanceTimersByTimeAsync(100);
  budget.giveBack(await waiting);
  await writer.write(content.slice(SMALL_BYTES + 2 * STEP_BYTES));
  await writer.close();
  const { size, digest } = await written;
  expect([size, digest]).toEqual([content.byteLength, await digestOf('sha256', content)]);
  expect(sizes).toHaveLength(2);
  expect(sizes[0]).toBeGreaterThan(SMALL_BYTES);
  expect(budget.inUse()).toBe(rest.bytes);
});

test('a body that has had its turn gives its large buffer up, and waits behind those that came before', async () => {
  const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const body = new BufferedBody(readable, budget, {
    sizes: [STEP_BYTES, SMALL_BYTES, PART_BYTES],
    least: PART_BYTES,
    givesWay: true,
    copies: 1,
  });
  const sent = writer.write(bytesOf(1, PART_BYTES + SMALL_BYTES + 1)).then(() => writer.close());
  body.reuse((await body.read())!);
  const order: number[] = [];
  const waiting = [1, 2].map(async (which) => {
    const loan = await budget.wait(PART_BYTES, RESERVED_BYTES);
    order.push(which);
    budget.giveBack(loan);
  });
  await vi.advanceTimersByTimeAsync(TURN_MILLISECONDS);
  expect(order).toEqual([]);
  const rest = body.read().then((bytes) => {
    order.push(3);
    return bytes;
  });
  while (order.length < 3) await vi.advanceTimersByTimeAsync(100);
  expect(order).toEqual([1, 2, 3]);
  expect((await rest)?.byteLength).toBe(SMALL_BYTES + 1);
  body.close();
  await Promise.all([sent, ...waiting]);
  expect(budget.inUse()).toBe(0);
});

test('a buffer that a body gives up takes no memory, although its last user still refers to it', async () => {
  const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
  const stream = new Response(bytesOf(1, PART_BYTES + 1)).body!;
  const sizes = [STEP_BYTES, PART_BYTES];
  const body = new BufferedBody(stream, budget, { sizes, least: PART_BYTES, givesWay: true, copies: 1 });
  const piece = (await body.read())!;
  const { buffer } = piece;
  body.reuse(piece);
  expect(buffer.byteLength).toBe(PART_BYTES);
  body.close();
  expect([budget.inUse(), buffer.byteLength]).toEqual([0, 0]);
});

test('a buffer that is still in use when a body is closed keeps its bytes', async () => {
  const content = bytesOf(1, SMALL_BYTES);
  // Without room for the next size, the piece is returned in the buffer that the body would have enlarged.
  const budget = new BufferBudget(FIRST_RESERVED_BYTES + STEP_BYTES);
  const body = new BufferedBody(new Response(content).body!, budget, { ...WHOLE, least: STEP_BYTES });
  const piece = (await body.read())!;
  body.close();
  expect(piece).toEqual(content.subarray(0, STEP_BYTES));
});

const WHOLE: Buffering = {
  sizes: [STEP_BYTES, SMALL_BYTES],
  least: SMALL_BYTES,
  givesWay: false,
  failsWhenSlow: true,
  copies: 1,
};

test('a slow document is given up while others wait for room, and the one that waits is served', async () => {
  const budget = new BufferBudget(FIRST_RESERVED_BYTES + SMALL_BYTES);
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const body = new BufferedBody(readable, budget, WHOLE);
  const reading = body.read().finally(() => body.close());
  const failed = expect(reading).rejects.toMatchObject({ kind: 'BODY_STALLED', status: 408 });
  await writer.write(bytesOf(1, STEP_BYTES + 1));
  await vi.waitUntil(() => budget.inUse() === SMALL_BYTES);
  const waiting = budget.wait(FIRST_RESERVED_BYTES + 1);
  await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS + 1000);
  await failed;
  await vi.advanceTimersByTimeAsync(100);
  expect((await waiting).bytes).toBe(FIRST_RESERVED_BYTES + 1);
  expect(budget.inUse()).toBe(FIRST_RESERVED_BYTES + 1);
});

test('a slow document is read to its end while nobody waits', async () => {
  const budget = new BufferBudget();
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const body = new BufferedBody(readable, budget, WHOLE);
  const reading = body.read();
  await writer.write(bytesOf(1, STEP_BYTES + 1));
  await vi.waitUntil(() => budget.inUse() === SMALL_BYTES);
  await vi.advanceTimersByTimeAsync(2 * SLOW_MILLISECONDS);
  await writer.close();
  expect((await reading)?.byteLength).toBe(STEP_BYTES + 1);
  expect(vi.getTimerCount()).toBe(0);
  body.close();
});

test('the time that a document waits for room itself does not count against it', async () => {
  const budget = new BufferBudget(FIRST_RESERVED_BYTES + SMALL_BYTES);
  const others = budget.borrow(FIRST_RESERVED_BYTES)!;
  const { stream } = stalledBody(STEP_BYTES + 1);
  const body = new BufferedBody(stream, budget, WHOLE);
  const failed = expect(body.read()).rejects.toMatchObject({ kind: 'BODY_STALLED' });
  await vi.waitUntil(() => budget.hasWaiters());
  await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS + 1000);
  budget.giveBack(others);
  await vi.waitUntil(() => budget.inUse() === SMALL_BYTES);
  await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
  await failed;
  body.close();
});

test('incomplete documents leave room for one that has arrived whole', async () => {
  const budget = new BufferBudget();
  const clients = Array.from({ length: 130 }, () => stalledBody(STEP_BYTES + 1));
  const bodies = clients.map(({ stream }) => new BufferedBody(stream, budget, WHOLE));
  const reading = bodies.map((body) => body.read().catch((error: unknown) => error));
  await vi.waitUntil(() => budget.hasWaiters());
  await vi.waitUntil(() => budget.inUse() > RESERVED_BYTES);
  expect(budget.borrow(FIRST_RESERVED_BYTES / 2)).toBeDefined();
  await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
  await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
  await Promise.all(reading);
  for (const body of bodies) body.close();
});

test('a client that disconnects does not count as a failure of a store', async () => {
  const budget = new BufferBudget();
  for (const length of [undefined, 1000]) {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const written = new BlobWriter(takingEverything().bucket, budget).write({ stream: readable, length }, 'sha256');
    const failed = expect(written).rejects.toMatchObject({ kind: 'CLIENT_GONE', status: 499 });
    await writer.write(bytesOf(1, 10));
    await writer.abort(new Error('disconnected'));
    await failed;
    expect(budget.inUse()).toBe(0);
  }
});

test('a body with bytes but a stated length of 0 fails, and does not wait for room that never comes', async () => {
  const body = new BufferedBody(new Response('x').body!, new BufferBudget(), { ...WHOLE, sizes: [0] });
  await expect(body.read()).rejects.toThrow('a buffer for no bytes');
  body.close();
});

describe('stalled uploads of one organization', () => {
  const MIB = 1024 * 1024;
  const UNKNOWN: Buffering = {
    sizes: [STEP_BYTES, SMALL_BYTES, PART_BYTES],
    least: PART_BYTES,
    givesWay: true,
    patience: PATIENCE_MILLISECONDS,
    copies: 1,
  };
  const KNOWN: Buffering = { sizes: [STEP_BYTES, MIB], least: 0, givesWay: true, copies: 1 };
  const OTHERS = RESERVED_BYTES - PART_BYTES - MIB;

  /** Starts reading uploads that stall, until they have all large buffers and leave no room for a first one. */
  async function attack(
    buffering: Buffering,
  ): Promise<{ budget: BufferBudget; attacks: Promise<unknown>[]; others: Loan }> {
    const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
    const others = budget.borrow(OTHERS)!;
    const attacks = Array.from({ length: 6 }, () => {
      const { stream } = stalledBody(SMALL_BYTES + STEP_BYTES);
      const body = new BufferedBody(stream, budget, { ...buffering, owner: 'mallory' });
      return body
        .read()
        .catch((error: unknown) => error)
        .finally(() => body.close());
    });
    await vi.waitUntil(() => budget.inUse() >= others.bytes + PART_BYTES);
    return { budget, attacks, others };
  }

  test.each([
    ['unknown', UNKNOWN],
    ['known', KNOWN],
  ])('of %s length leave room for those of another', async (_, buffering) => {
    const { budget, attacks, others } = await attack(buffering);
    const push = async (bytes: number): Promise<number | undefined> => {
      const body = new BufferedBody(new Response(bytesOf(1, bytes)).body!, budget, { ...UNKNOWN, owner: 'alice' });
      return body
        .read()
        .then((read) => read?.byteLength)
        .finally(() => body.close());
    };
    expect(await push(1000)).toBe(1000);

    const pushing = push(SMALL_BYTES + 1);
    await vi.waitUntil(() => budget.hasWaiters());
    await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS + 2000);
    expect(await pushing).toBe(SMALL_BYTES + 1);
    await vi.advanceTimersByTimeAsync(2 * STALLED_MILLISECONDS);
    await Promise.all(attacks);
    budget.giveBack(others);
  });

  test('go on while only others of the same organization wait', async () => {
    const { budget, attacks, others } = await attack({ ...UNKNOWN, patience: SLOW_MILLISECONDS + 2000 });
    const ended = vi.fn();
    for (const each of attacks) void each.then(ended);
    await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS + 1500);
    expect(budget.hasWaiters()).toBe(true);
    expect(ended).not.toHaveBeenCalledWith(expect.objectContaining({ kind: 'BODY_STALLED' }));
    await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS);
    await Promise.all(attacks);
    budget.giveBack(others);
  });

  test.each([
    ['unknown', UNKNOWN],
    ['known', KNOWN],
  ])('of %s length, of three owners that fill the small buffers, leave room for a fourth', async (_, buffering) => {
    const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
    const others = budget.borrow(RESERVED_BYTES + PART_BYTES - 3 * MIB)!;
    const attacks = Array.from({ length: (3 * MIB) / STEP_BYTES }, (__, i) => {
      const owner = `mallory${i % 3}`;
      const body = new BufferedBody(stalledBody(STEP_BYTES - 1).stream, budget, { ...buffering, owner });
      return body
        .read()
        .catch((error: unknown) => error)
        .finally(() => body.close());
    });
    await vi.waitUntil(() => budget.inUse() === RESERVED_BYTES + PART_BYTES);
    const body = new BufferedBody(new Response(bytesOf(1, 1000)).body!, budget, { ...KNOWN, owner: 'alice' });
    const pushed = body.read().then((read) => read?.byteLength);
    await vi.waitUntil(() => budget.hasWaiters());
    await vi.advanceTimersByTimeAsync(SLOW_MILLISECONDS + 2000);
    expect(await pushed).toBe(1000);
    body.close();
    await vi.advanceTimersByTimeAsync(2 * STALLED_MILLISECONDS);
    expect(await Promise.all(attacks)).toContainEqual(expect.objectContaining({ kind: 'BODY_STALLED' }));
    budget.giveBack(others);
  });
});
