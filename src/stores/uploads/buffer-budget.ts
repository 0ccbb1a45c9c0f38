/**
 * Invariant 8 (memory is bounded per isolate): everything that an isolate buffers for its requests is on loan from one
 * budget.
 *
 * - A body borrows in steps, as its bytes arrive; a request that has sent nothing holds nothing.
 * - A body that needs room to go on waits for it, which slows its client down. After {@link WAIT_MILLISECONDS} the
 *   request gets a 503.
 * - Large buffers leave {@link RESERVED_BYTES} free, so that a body that has been received whole can always be
 *   finished.
 * - A body that fills a large buffer slowly gives it up while others wait.
 * - A request that the client cancels may never reach its `finally`. So the budget holds loans by weak references: a
 *   loan's bytes are free again when its holder is garbage collected, or when the loan has not been used for two
 *   minutes, whoever still refers to it.
 */
import { OciError } from '../../oci/errors.ts';

/**
 * The size of a part of a multipart upload. R2 requires at least 5 MiB, and equal sizes for all but the last; 10,000
 * such parts make 48 GiB.
 */
export const PART_BYTES = 5 * 1024 * 1024;
/** The smallest object that is written while the rest of its body is still to come. */
export const SMALL_BYTES = 512 * 1024;
/** Room for the largest manifest while it is parsed and stored, whatever else is buffered. */
export const RESERVED_BYTES = 24 * 1024 * 1024;
/**
 * The reserve, and three parts with R2's copies of them. An isolate has 128 MiB, which must also hold its code,
 * requests, caches and garbage.
 */
export const BUDGET_BYTES = RESERVED_BYTES + 3 * 2 * PART_BYTES;

/** The room that the first buffers of bodies leave free, so that a body that has filled its first buffer can go on. */
export const FIRST_RESERVED_BYTES = 8 * 1024 * 1024;

/**
 * The time after which an unused loan counts as lost, in milliseconds. It is longer than a read, a write to R2 or a
 * call of D1 may take, so by then nobody uses the loan.
 */
export const LOST_MILLISECONDS = 120_000;
/** How long a request waits for room, in milliseconds. */
export const WAIT_MILLISECONDS = 10_000;
const LOOK_MILLISECONDS = 100;
/** How many requests may wait at once. They hold next to nothing, but each must be answered in time. */
const MAX_WAITING = 500;

/**
 * A holder's claim on bytes of the budget. The holder must keep it reachable while it uses the buffer, and return it
 * afterwards.
 */
export interface Loan {
  readonly bytes: number;
}

interface WeakLoan {
  deref(): Loan | undefined;
}

export class BufferBudget {
  readonly #limit: number;
  readonly #remember: (loan: Loan) => WeakLoan;
  readonly #loans = new Map<WeakLoan, { readonly bytes: number; usedAt: number }>();
  readonly #references = new WeakMap<Loan, WeakLoan>();
  #bytes = 0;
  #sweptAt = 0;
  /** Weak references as well, because a request that is cancelled while it waits leaves no other trace. */
  #waiting: WeakLoan[] = [];

  constructor(limit = BUDGET_BYTES, remember: (loan: Loan) => WeakLoan = (loan) => new WeakRef(loan)) {
    this.#limit = limit;
    this.#remember = remember;
  }

  /** Borrows `bytes` if at least `reserve` bytes are then left; otherwise returns undefined. */
  borrow(bytes: number, reserve = 0): Loan | undefined {
    const most = this.#limit - reserve - bytes;
    if (this.#bytes > most) this.#sweepNowAndThen();
    if (this.#bytes > most) return undefined;
    const loan = { bytes };
    const reference = this.#remember(loan);
    this.#loans.set(reference, { bytes, usedAt: Date.now() });
    this.#references.set(loan, reference);
    this.#bytes += bytes;
    return loan;
  }

  /**
   * Does the same as {@link BufferBudget.borrow}, as soon as there is room.
   * @throws OciError UNAVAILABLE after {@link WAIT_MILLISECONDS}
   */
  async wait(bytes: number, reserve = 0): Promise<Loan> {
    const loan = this.borrow(bytes, reserve);
    if (loan !== undefined) return loan;
    if (bytes + reserve > this.#limit) throw noRoom();
    const place = { bytes: 0 };
    this.#waiting = this.#waiting.filter((reference) => reference.deref() !== undefined);
    if (this.#waiting.length >= MAX_WAITING) throw noRoom();
    this.#waiting.push(this.#remember(place));
    try {
      // It polls with its own timers: a promise that another request has to resolve might never be resolved.
      for (let waited = 0; waited < WAIT_MILLISECONDS; waited += LOOK_MILLISECONDS) {
        await new Promise((wake) => setTimeout(wake, LOOK_MILLISECONDS));
        const later = this.borrow(bytes, reserve);
        if (later !== undefined) return later;
      }
      throw noRoom();
    } finally {
      this.#waiting = this.#waiting.filter((reference) => reference.deref() !== place);
    }
  }

  /** Tells whether any request waits for room. */
  hasWaiters(): boolean {
    return this.#waiting.some((reference) => reference.deref() !== undefined);
  }

  /** Records that the holder still uses the loan. */
  use(loan: Loan): void {
    const reference = this.#references.get(loan);
    const entry = reference === undefined ? undefined : this.#loans.get(reference);
    if (entry !== undefined) entry.usedAt = Date.now();
  }

  /** Returns a loan to the budget. Does nothing if it is not one of the budget's loans. */
  giveBack(returned: Loan): void {
    const reference = this.#references.get(returned);
    if (reference !== undefined) this.#forget(reference);
  }

  /** Returns the bytes on loan to holders that are still alive. */
  inUse(): number {
    this.#sweep();
    return this.#bytes;
  }

  /**
   * Sweeps, but not for every request that finds the budget exhausted: with thousands of loans, each sweep costs
   * something.
   */
  #sweepNowAndThen(): void {
    if (Math.abs(Date.now() - this.#sweptAt) >= LOOK_MILLISECONDS / 2) this.#sweep();
  }

  #sweep(): void {
    this.#sweptAt = Date.now();
    for (const [reference, { usedAt }] of this.#loans)
      if (reference.deref() === undefined || this.#sweptAt - usedAt > LOST_MILLISECONDS) this.#forget(reference);
  }

  #forget(reference: WeakLoan): void {
    this.#bytes -= this.#loans.get(reference)?.bytes ?? 0;
    this.#loans.delete(reference);
  }
}

function noRoom(): OciError {
  return new OciError('UNAVAILABLE', {
    message: 'the registry has too many requests at once to accept this one: try again in a moment',
    headers: { 'Retry-After': '10' },
  });
}

/** The isolate's one budget. */
export const isolateBudget = new BufferBudget();
