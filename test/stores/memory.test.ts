/** Invariant 8: memory is bounded per isolate, whatever the size and number of blobs in flight. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  BUDGET_BYTES,
  BufferBudget,
  PART_BYTES,
  RESERVED_BYTES,
  SMALL_BYTES,
} from '../../src/stores/uploads/buffer-budget.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { bodyOf, bytesOf, granted, openFixture, REPOSITORY, session, SUBJECT } from '../support/fixture.ts';

let allocated: number[];

beforeEach(() => {
  allocated = [];
  const Original = ArrayBuffer;
  vi.stubGlobal(
    'ArrayBuffer',
    class extends Original {
      constructor(bytes: number) {
        super(bytes);
        allocated.push(bytes);
      }
    },
  );
  vi.spyOn(Original.prototype, 'transfer').mockImplementation(function (this: ArrayBuffer, bytes = this.byteLength) {
    allocated.push(bytes);
    return this.transferToFixedLength(bytes);
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const large = () => allocated.filter((bytes) => bytes >= SMALL_BYTES);

test('an upload reuses its buffers, of which it has one more than parts under way, whatever its size', async () => {
  const content = bytesOf(1, 7 * PART_BYTES + 3);
  for (const length of ['known', 'unknown'] as const) {
    const { registry } = await openFixture();
    const open = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    const body = bodyOf(content, length);
    allocated = [];
    const progress = await registry.appendChunk(session(open), undefined, body);
    const parts = large().slice(1);
    expect(large()[0]).toBe(length === 'known' ? 1024 * 1024 : SMALL_BYTES);
    expect(parts).toEqual(Array<number>(parts.length).fill(PART_BYTES));
    if (length === 'known') expect(parts).toEqual([]);
    else expect([2, 3, 4]).toContain(parts.length);
    expect(progress.size).toBe(content.byteLength);
  }
});

test('concurrent uploads share the budget: beyond it they take turns, and each is one object', async () => {
  // Large buffers for two.
  const limit = RESERVED_BYTES + 2 * PART_BYTES;
  const budget = new BufferBudget(limit);
  const { registry, counts } = await openFixture({ budget });
  const contents = Array.from({ length: 6 }, (_, i) => bytesOf(i, PART_BYTES + 5 + i));
  const borrowed: number[] = [];
  const borrow = budget.borrow.bind(budget);
  vi.spyOn(budget, 'borrow').mockImplementation((bytes, reserve) => {
    const loan = borrow(bytes, reserve);
    borrowed.push(budget.inUse());
    return loan;
  });
  const bodies = contents.map((content) => bodyOf(content, 'unknown'));
  allocated = [];
  await Promise.all(
    contents.map(async (content, i) => {
      const open = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
      const progress = await registry.appendChunk(session(open), undefined, bodies[i]);
      await registry.finishUpload(session(progress), await digestOf('sha256', content), undefined, undefined);
      expect((await registry.getBlob(granted(), await digestOf('sha256', content))).size).toBe(content.byteLength);
    }),
  );
  // Each has two parts.
  expect(counts).toMatchObject({ classA: contents.length * (2 + 2), r2Deletes: 0 });
  expect(Math.max(...borrowed)).toBeGreaterThanOrEqual(2 * PART_BYTES);
  expect(Math.max(...borrowed)).toBeLessThanOrEqual(limit);
  expect(budget.inUse()).toBe(0);
});

test('the budget leaves the isolate room for everything else', () => {
  expect(BUDGET_BYTES).toBeLessThanOrEqual(64 * 1024 * 1024);
});

test('a failed upload returns what it borrowed', async () => {
  const budget = new BufferBudget();
  const { registry } = await openFixture({
    budget,
    bucket: {
      put: () => Promise.reject(new Error('R2 is away')),
      delete: async () => undefined,
    } as unknown as R2Bucket,
  });
  const open = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  for (const length of ['known', 'unknown'] as const) {
    await expect(
      registry.appendChunk(session(open), undefined, bodyOf(bytesOf(1, 5000), length)),
    ).rejects.toMatchObject({
      kind: 'UNAVAILABLE',
    });
    expect(budget.inUse()).toBe(0);
  }
});
