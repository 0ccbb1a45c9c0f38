/**
 * Invariant 8 (memory is bounded per isolate): whatever an isolate buffers for its requests is on loan from one budget.
 *
 * - A body borrows as its bytes come, in steps; a request that has sent nothing holds nothing.
 * - What needs room to go on waits for it, which holds its client back; after {@link WAIT_MILLISECONDS} it gets a 503.
 * - Large buffers leave {@link RESERVED_BYTES} free: what has been received whole can always be finished.
 * - A body that fills a large buffer slowly gives it up while others wait.
 * - A request that the client cancels may never reach its `finally`, so a loan is remembered weakly: when its holder is
 *   garbage, its bytes are free again; and whatever refers to it, when nothing has been done with it for two minutes.
 */
import { OciError } from '../../oci/errors.ts';

/** Parts of a multipart upload: R2 wants at least 5 MiB, all equal but the last; 10,000 of these make 48 GiB. */
export const PART_BYTES = 5 * 1024 * 1024;
/** The least that becomes an object of its own while the rest of a body is still to come. */
export const SMALL_BYTES = 512 * 1024;
/** Room for the largest manifest while it is parsed and stored, whatever else is buffered. */
export const RESERVED_BYTES = 24 * 1024 * 1024;
/**
 * The reserve, and three parts with R2's copies. An isolate has 128 MiB, also for its code, its requests, caches and
 * garbage.
 */
export const BUDGET_BYTES = RESERVED_BYTES + 3 * 2 * PART_BYTES;

/** What the first buffers of bodies leave free, so that one which has filled it can go on. */
export const FIRST_RESERVED_BYTES = 8 * 1024 * 1024;

/** Longer than a read, a write to R2, or a call of D1 may take: then nobody is left that the loan is of use to. */
export const LOST_MILLISECONDS = 120_000;
/** How long room is waited for, in milliseconds. */
export const WAIT_MILLISECONDS = 10_000;
const LOOK_MILLISECONDS = 100;
/** Requests that wait at once. They hold next to nothing, but each has to be answered within its time. */
const MAX_WAITING = 500;

/** A holder's claim on bytes of the budget. Keep it reachable while the buffer is in use, and return it after. */
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
  /** Weak as well: who is cancelled while waiting leaves no other trace. */
  #waiting: WeakLoan[] = [];

  constructor(limit = BUDGET_BYTES, remember: (loan: Loan) => WeakLoan = (loan) => new WeakRef(loan)) {
    this.#limit = limit;
    this.#remember = remember;
  }

  /** Borrows `bytes` if, with them gone, at least `reserve` bytes are left; else answers undefined. */
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
   * As {@link BufferBudget.borrow}, as soon as there is room. @throws OciError UNAVAILABLE after {@link
   * WAIT_MILLISECONDS}
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
      // By looking, with timers of its own: what another request has to resolve may never be.
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

  /** Whether somebody waits for room. */
  isAwaited(): boolean {
    return this.#waiting.some((reference) => reference.deref() !== undefined);
  }

  /** Notes that the holder goes on. */
  use(loan: Loan): void {
    const reference = this.#references.get(loan);
    const entry = reference === undefined ? undefined : this.#loans.get(reference);
    if (entry !== undefined) entry.usedAt = Date.now();
  }

  giveBack(returned: Loan): void {
    const reference = this.#references.get(returned);
    if (reference !== undefined) this.#forget(reference);
  }

  /** Bytes on loan to holders that are still alive. */
  inUse(): number {
    this.#sweep();
    return this.#bytes;
  }

  /** Of thousands of loans, a look at each costs something: not for every request that finds the budget spent. */
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
    message: 'the registry has too many requests at once to take this one: try again in a moment',
    headers: { 'Retry-After': '10' },
  });
}

/** The isolate's one budget. */
export const isolateBudget = new BufferBudget();
