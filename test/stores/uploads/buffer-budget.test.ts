import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  BUDGET_BYTES,
  BufferBudget,
  isolateBudget,
  LOST_MILLISECONDS,
  type Loan,
  MAX_WAITING_OF_ONE,
  PART_BYTES,
  RESERVED_BYTES,
  SHARE_BYTES,
  SMALL_BYTES,
  WAIT_MILLISECONDS,
} from '../../../src/stores/uploads/buffer-budget.ts';

/** Imitates garbage collection: `collect` makes a WeakRef of the loan empty. */
class Memory {
  readonly #garbage = new Set<Loan>();

  readonly remember = (loan: Loan): { deref(): Loan | undefined } => ({
    deref: () => (this.#garbage.has(loan) ? undefined : loan),
  });

  collect(loan: Loan | undefined): void {
    this.#garbage.add(loan!);
  }
}

describe('a budget', () => {
  test('lends the room that is left, to the last byte, and no more', () => {
    const budget = new BufferBudget(10);
    expect(budget.borrow(4)?.bytes).toBe(4);
    expect(budget.borrow(7)).toBeUndefined();
    expect(budget.borrow(6)?.bytes).toBe(6);
    expect(budget.inUse()).toBe(10);
    expect(budget.borrow(1)).toBeUndefined();
  });

  test('counts nothing for a loan that it refused', () => {
    const budget = new BufferBudget(10);
    expect(budget.borrow(11)).toBeUndefined();
    expect(budget.inUse()).toBe(0);
  });

  test('lends room again once it is given back', () => {
    const budget = new BufferBudget(10);
    const [loan, other] = [budget.borrow(6)!, budget.borrow(4)!];
    budget.giveBack(loan);
    expect(budget.inUse()).toBe(4);
    expect(budget.borrow(6)).toBeDefined();
    budget.giveBack(other);
    expect(budget.inUse()).toBe(6);
  });

  test('gains nothing from a loan that is given back twice, or belongs to another budget', () => {
    const budget = new BufferBudget(10);
    const loan = budget.borrow(5)!;
    budget.borrow(5);
    budget.giveBack(loan);
    budget.giveBack(loan);
    budget.giveBack(new BufferBudget(10).borrow(5)!);
    expect(budget.inUse()).toBe(5);
  });

  test('distinguishes loans of the same size', () => {
    const memory = new Memory();
    const budget = new BufferBudget(10, memory.remember);
    const [first, second] = [budget.borrow(5)!, budget.borrow(5)!];
    budget.giveBack(first);
    memory.collect(second);
    expect(budget.inUse()).toBe(0);
  });

  test('lends room again once its holder is garbage-collected', () => {
    const memory = new Memory();
    const budget = new BufferBudget(10, memory.remember);
    const [lost, kept] = [budget.borrow(6), budget.borrow(4)];
    expect(budget.borrow(6)).toBeUndefined();
    memory.collect(lost);
    expect(budget.inUse()).toBe(4);
    expect(budget.borrow(6)?.bytes).toBe(6);
    expect(kept?.bytes).toBe(4);
  });

  test('keeps no holder alive, because it remembers loans weakly', () => {
    const targets: WeakKey[] = [];
    const WeakReference = globalThis.WeakRef;
    globalThis.WeakRef = class<Target extends WeakKey> extends WeakReference<Target> {
      constructor(target: Target) {
        super(target);
        targets.push(target);
      }
    };
    try {
      const loan = new BufferBudget(10).borrow(5);
      expect(targets).toEqual([loan]);
    } finally {
      globalThis.WeakRef = WeakReference;
    }
  });
});

test('a loan that is unused for two minutes is lost, even if something refers to it', () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const budget = new BufferBudget(10);
    const [lost, used] = [budget.borrow(6)!, budget.borrow(4)!];
    vi.advanceTimersByTime(LOST_MILLISECONDS);
    budget.use(used);
    expect(budget.inUse()).toBe(10);
    vi.advanceTimersByTime(1);
    expect(budget.inUse()).toBe(4);
    expect(budget.borrow(6)).toBeDefined();
    // Giving it back now is too late.
    budget.giveBack(lost);
    budget.use(lost);
    expect(budget.inUse()).toBe(10);
  } finally {
    vi.useRealTimers();
  }
});

describe('room', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  test('is left for others if a loan asks for that', () => {
    const budget = new BufferBudget(10);
    expect(budget.borrow(5, 6)).toBeUndefined();
    expect(budget.borrow(4, 6)).toBeDefined();
    expect(budget.borrow(6)).toBeDefined();
  });

  test('is waited for, and granted as soon as it is free', async () => {
    const budget = new BufferBudget(10);
    const loan = budget.borrow(10)!;
    const later = budget.wait(6);
    await vi.advanceTimersByTimeAsync(WAIT_MILLISECONDS / 2);
    budget.giveBack(loan);
    await vi.advanceTimersByTimeAsync(100);
    expect((await later).bytes).toBe(6);
    expect(budget.inUse()).toBe(6);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is waited for at most ten seconds, then it is 503 with Retry-After', async () => {
    const budget = new BufferBudget(10);
    const loan = budget.borrow(10);
    const failed = expect(budget.wait(1)).rejects.toMatchObject({
      kind: 'UNAVAILABLE',
      headers: { 'Retry-After': '10' },
    });
    await vi.advanceTimersByTimeAsync(WAIT_MILLISECONDS);
    await failed;
    expect([loan?.bytes, budget.inUse(), vi.getTimerCount()]).toEqual([10, 10, 0]);
  });

  test('is not waited for if it can never be free', async () => {
    await expect(new BufferBudget(10).wait(11)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await expect(new BufferBudget(10).wait(6, 5)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  });
});

describe('organizations', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
  afterEach(() => void vi.useRealTimers());

  test('are served in the order of the room that they hold, least first', async () => {
    const budget = new BufferBudget(10);
    const loans = [budget.borrow(6, 1, 'alice')!, budget.borrow(2, 1, 'bob')!, budget.borrow(2)!];
    const order: string[] = [];
    const waiting = ['alice', 'bob', 'bob', 'carol', undefined].map(async (owner, i) => {
      budget.giveBack(await budget.wait(1, 1, WAIT_MILLISECONDS, owner));
      order.push(`${owner} ${i}`);
    });
    budget.giveBack(loans[2]!);
    while (order.length < 5) await vi.advanceTimersByTimeAsync(100);
    await Promise.all(waiting);
    expect(order).toEqual(['carol 3', 'undefined 4', 'bob 1', 'bob 2', 'alice 0']);
  });

  test('have a share of the room that others must leave free', () => {
    const budget = new BufferBudget(BUDGET_BYTES);
    budget.borrow(BUDGET_BYTES - SHARE_BYTES);
    expect(budget.borrow(1, PART_BYTES)).toBeUndefined();
    const loan = budget.borrow(SHARE_BYTES, PART_BYTES, 'alice')!;
    expect(loan.bytes).toBe(SHARE_BYTES);
    budget.giveBack(loan);
    expect(budget.borrow(SHARE_BYTES + 1, PART_BYTES, 'alice')).toBeUndefined();
    budget.borrow(1, PART_BYTES, 'alice');
    expect(budget.borrow(SHARE_BYTES, PART_BYTES, 'alice')).toBeUndefined();
    expect(budget.borrow(SHARE_BYTES, RESERVED_BYTES, 'bob')).toBeUndefined();
  });

  test('leave each other places in the queue', async () => {
    const budget = new BufferBudget(2);
    const [loan, kept] = [budget.borrow(1), budget.borrow(1, 0, 'mallory')];
    const waiting = Array.from({ length: MAX_WAITING_OF_ONE }, () => budget.wait(1, 0, 100, 'mallory'));
    const failed = Promise.all(waiting.map((each) => expect(each).rejects.toMatchObject({ kind: 'UNAVAILABLE' })));
    await expect(budget.wait(1, 0, 100, 'mallory')).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    const other = budget.wait(1, 0, WAIT_MILLISECONDS, 'alice');
    budget.giveBack(loan!);
    await vi.advanceTimersByTimeAsync(100);
    expect([(await other).bytes, kept?.bytes]).toEqual([1, 1]);
    await failed;
  });
});

test('small loans that use up the reserve do not keep a large one from being lent', () => {
  const budget = new BufferBudget(RESERVED_BYTES + PART_BYTES);
  budget.borrow(RESERVED_BYTES);
  const large = budget.borrow(PART_BYTES, RESERVED_BYTES);
  expect(large?.bytes).toBe(PART_BYTES);
  expect(budget.borrow(1)).toBeUndefined();
  budget.giveBack(large!);
  expect(budget.borrow(PART_BYTES + 1, RESERVED_BYTES)).toBeUndefined();
});

describe("the isolate's budget", () => {
  test('is six parts, and a reserve that they leave free', () => {
    const loans = Array.from({ length: 7 }, () => isolateBudget.borrow(PART_BYTES, RESERVED_BYTES));
    expect(loans.map((loan) => loan?.bytes)).toEqual([...Array<number>(6).fill(PART_BYTES), undefined]);
    expect(BUDGET_BYTES).toBe(isolateBudget.inUse() + RESERVED_BYTES);
    for (const loan of loans) if (loan) isolateBudget.giveBack(loan);
    expect(isolateBudget.inUse()).toBe(0);
  });

  test('uses parts that R2 accepts', () => {
    expect(PART_BYTES).toBeGreaterThanOrEqual(5 * 1024 * 1024);
    expect(SMALL_BYTES).toBeLessThan(PART_BYTES);
  });
});
