import { describe, expect, test } from 'vitest';
import { BUDGET_BYTES, BufferBudget, isolateBudget, type Loan, PART_BYTES, SMALL_BYTES } from '../../src/stores/buffer-budget.ts';

/** Memory that a test can collect: what is forgotten is gone, as a WeakRef's target is. */
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
  test('lends what is left, to the last byte, and no more', () => {
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

  test('lends again what was given back', () => {
    const budget = new BufferBudget(10);
    const [loan, other] = [budget.borrow(6)!, budget.borrow(4)!];
    budget.giveBack(loan);
    expect(budget.inUse()).toBe(4);
    expect(budget.borrow(6)).toBeDefined();
    budget.giveBack(other);
    expect(budget.inUse()).toBe(6);
  });

  test('gains nothing by a loan that is given back twice, or is of another budget', () => {
    const budget = new BufferBudget(10);
    const loan = budget.borrow(5)!;
    budget.borrow(5);
    budget.giveBack(loan);
    budget.giveBack(loan);
    budget.giveBack(new BufferBudget(10).borrow(5)!);
    expect(budget.inUse()).toBe(5);
  });

  test('tells loans of the same size apart', () => {
    const memory = new Memory();
    const budget = new BufferBudget(10, memory.remember);
    const [first, second] = [budget.borrow(5)!, budget.borrow(5)!];
    budget.giveBack(first);
    memory.collect(second);
    expect(budget.inUse()).toBe(0);
  });

  test('lends again what a holder had that is garbage now', () => {
    const memory = new Memory();
    const budget = new BufferBudget(10, memory.remember);
    const [lost, kept] = [budget.borrow(6), budget.borrow(4)];
    expect(budget.borrow(6)).toBeUndefined();
    memory.collect(lost);
    expect(budget.inUse()).toBe(4);
    expect(budget.borrow(6)?.bytes).toBe(6);
    expect(kept?.bytes).toBe(4);
  });

  test('keeps no holder alive: it remembers loans weakly', () => {
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

describe("the isolate's budget", () => {
  test('is five parts, and starts unused', () => {
    expect(BUDGET_BYTES).toBe(5 * PART_BYTES);
    const loans = Array.from({ length: 6 }, () => isolateBudget.borrow(PART_BYTES));
    expect(loans.map((loan) => loan?.bytes)).toEqual([...Array<number>(5).fill(PART_BYTES), undefined]);
    for (const loan of loans) if (loan) isolateBudget.giveBack(loan);
    expect(isolateBudget.inUse()).toBe(0);
  });

  test('has parts that R2 accepts', () => {
    expect(PART_BYTES).toBeGreaterThanOrEqual(5 * 1024 * 1024);
    expect(SMALL_BYTES).toBeLessThan(PART_BYTES);
  });
});
