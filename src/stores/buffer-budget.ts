/**
 * Invariant 8 (memory is bounded per isolate): uploads of unknown length are collected in parts, and all part
 * buffers of an isolate share one budget.
 *
 * Nobody waits for the budget: who finds it spent goes on with a small buffer. A request that the client cancels may
 * never reach its `finally`, so a loan is remembered weakly: when its holder is garbage, its bytes are free again.
 */

/** R2 wants parts of at least 5 MiB, all equal but the last; 10,000 of these make 78 GiB. */
export const PART_BYTES = 8 * 1024 * 1024;
/** What an upload goes on with when the budget is spent. */
export const SMALL_BYTES = 512 * 1024;
/**
 * Five parts. An isolate has 128 MiB for everything, and a part that is being written is in it twice: R2's binding takes a
 * copy of it (measured: `npm run bench -- "16 pushes"`).
 */
export const BUDGET_BYTES = 5 * PART_BYTES;

/** A holder's claim on bytes of the budget. Keep it reachable while the buffer is in use, and return it after. */
export interface Loan {
  readonly bytes: number;
}

export class BufferBudget {
  readonly #limit: number;
  readonly #remember: (loan: Loan) => { deref(): Loan | undefined };
  #loans: { deref(): Loan | undefined }[] = [];

  constructor(limit = BUDGET_BYTES, remember: (loan: Loan) => { deref(): Loan | undefined } = (loan) => new WeakRef(loan)) {
    this.#limit = limit;
    this.#remember = remember;
  }

  /** Borrows `bytes`, or answers undefined if less is left. */
  borrow(bytes: number): Loan | undefined {
    if (this.inUse() + bytes > this.#limit) return undefined;
    const loan = { bytes };
    this.#loans.push(this.#remember(loan));
    return loan;
  }

  giveBack(returned: Loan): void {
    this.#loans = this.#loans.filter((loan) => loan.deref() !== returned);
  }

  /** Bytes on loan to holders that are still alive. */
  inUse(): number {
    this.#loans = this.#loans.filter((loan) => loan.deref() !== undefined);
    return this.#loans.reduce((sum, loan) => sum + (loan.deref()?.bytes ?? 0), 0);
  }
}

/** The isolate's one budget. */
export const isolateBudget = new BufferBudget();
