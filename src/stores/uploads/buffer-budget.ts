/**
 * Invariant 8 (memory is bounded per isolate): everything that an isolate buffers for its requests is on loan from one
 * budget.
 *
 * - A body borrows in steps, as its bytes arrive; a request that has sent nothing holds nothing.
 * - A body that needs room to go on waits for it, which slows its client down. After {@link WAIT_MILLISECONDS}, or
 *   {@link PATIENCE_MILLISECONDS}, the request gets a 503.
 * - Large buffers leave {@link RESERVED_BYTES} free, so that a body that has been received whole can always be
 *   finished.
 * - A body that fills a large buffer slowly gives it up while others wait. One that stalls fails once an organization
 *   that holds less waits for a buffer of the same kind.
 * - Organizations share it. Free room goes to the waiting organization that holds least. An organization that holds
 *   next to nothing may take small buffers from the room that others must leave free ({@link SHARE_BYTES}).
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
/** The reserve, and six parts. An isolate has 128 MiB, which must also hold its code, requests, caches and garbage. */
export const BUDGET_BYTES = RESERVED_BYTES + 6 * PART_BYTES;

/** The room that the first buffers of bodies leave free, so that a body that has filled its first buffer can go on. */
export const FIRST_RESERVED_BYTES = 8 * 1024 * 1024;
/** The bytes that an organization may hold in small buffers before it has to leave the reserve free, too. */
export const SHARE_BYTES = 2 * 1024 * 1024;

/**
 * The time after which an unused loan counts as lost, in milliseconds. It is longer than a read, a write to R2 or a
 * call of D1 may take, so by then nobody uses the loan.
 */
export const LOST_MILLISECONDS = 120_000;
/** The longest that a request waits for room, in milliseconds. */
export const WAIT_MILLISECONDS = 10_000;
/**
 * The longest that a blob that has begun to arrive waits for a large buffer, in milliseconds. Its client notices only
 * that it sends slowly.
 */
export const PATIENCE_MILLISECONDS = 30_000;
const LOOK_MILLISECONDS = 100;
/** The time without a look after which a place in the queue counts as abandoned, in milliseconds. */
const GONE_MILLISECONDS = 2000;
/** The most requests that may wait at once. They hold next to nothing, but each must be answered in time. */
const MAX_WAITING = 500;
/** The most requests of one organization that may wait at once. */
export const MAX_WAITING_OF_ONE = 400;

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

interface Lent {
  readonly bytes: number;
  readonly isLarge: boolean;
  readonly owner: string | undefined;
  usedAt: number;
}

/** A place in the queue of those that wait. */
interface Place {
  /** Weak as well, because a request that is cancelled while it waits leaves no other trace. */
  readonly holder: WeakLoan;
  readonly reserve: number;
  readonly owner: string | undefined;
  /** When it last looked for room, in milliseconds since the epoch. A cancelled request may never look again. */
  lookedAt: number;
}

export class BufferBudget {
  readonly #limit: number;
  readonly #remember: (loan: Loan) => WeakLoan;
  readonly #loans = new Map<WeakLoan, Lent>();
  readonly #references = new WeakMap<Loan, WeakLoan>();
  #bytes = 0;
  /** The bytes on loan for large buffers. */
  #largeBytes = 0;
  /** The bytes on loan to each organization that holds any. */
  readonly #held = new Map<string, { small: number; large: number }>();
  #sweptAt = 0;
  #waiting: Place[] = [];

  constructor(limit = BUDGET_BYTES, remember: (loan: Loan) => WeakLoan = (loan) => new WeakRef(loan)) {
    this.#limit = limit;
    this.#remember = remember;
  }

  /**
   * Borrows `bytes` if at least `reserve` bytes are then left; otherwise returns undefined. An organization may borrow
   * small buffers of up to {@link SHARE_BYTES} in all and need not leave a reserve. A loan that leaves
   * {@link RESERVED_BYTES} is for a large buffer. Small buffers that take from that reserve do not keep large ones from
   * being lent.
   * @param owner the organization that the bytes are for, if they are for one
   */
  borrow(bytes: number, reserve = 0, owner?: string): Loan | undefined {
    const isLarge = isForLarge(reserve);
    const isWithinShare = !isLarge && owner !== undefined && this.#heldBy(owner, isLarge) + bytes <= SHARE_BYTES;
    const left = isWithinShare ? 0 : reserve;
    const fits = (): boolean =>
      this.#bytes + bytes <= this.#limit && (isLarge ? this.#largeBytes : this.#bytes) + bytes + left <= this.#limit;
    if (!fits()) this.#sweepNowAndThen();
    if (!fits()) return undefined;
    const loan = { bytes };
    const reference = this.#remember(loan);
    this.#loans.set(reference, { bytes, isLarge, owner, usedAt: Date.now() });
    this.#references.set(loan, reference);
    this.#count(bytes, isLarge, owner);
    return loan;
  }

  /**
   * Waits for room, and then does the same as {@link BufferBudget.borrow}. Among requests that leave the same reserve,
   * it serves the organization that holds least first, and requests of one organization in the order of their arrival.
   * @throws OciError UNAVAILABLE after `patience` milliseconds
   */
  async wait(bytes: number, reserve = 0, patience = WAIT_MILLISECONDS, owner?: string): Promise<Loan> {
    const loan = this.#isFirst({ reserve, owner }) ? this.borrow(bytes, reserve, owner) : undefined;
    if (loan !== undefined) return loan;
    if (bytes + reserve > this.#limit) throw noRoom();
    const holder = { bytes: 0 };
    this.#waiting = this.#waiting.filter(isWaiting);
    if (this.#waiting.length >= MAX_WAITING) throw noRoom();
    if (owner !== undefined && this.#waiting.filter((each) => each.owner === owner).length >= MAX_WAITING_OF_ONE)
      throw noRoom();
    const place: Place = { holder: this.#remember(holder), reserve, owner, lookedAt: Date.now() };
    this.#waiting.push(place);
    try {
      // It polls with its own timers: a promise that another request has to resolve might never be resolved.
      for (let waited = 0; waited < patience; waited += LOOK_MILLISECONDS) {
        await new Promise((wake) => setTimeout(wake, LOOK_MILLISECONDS));
        place.lookedAt = Date.now();
        const later = this.#isFirst(place) ? this.borrow(bytes, reserve, owner) : undefined;
        if (later !== undefined) return later;
      }
      throw noRoom();
    } finally {
      // Without this use of the holder, it could be garbage collected during the wait.
      this.#waiting = this.#waiting.filter((each) => each !== place && each.holder.deref() !== holder);
    }
  }

  /** Tells whether any request waits for room. */
  hasWaiters(): boolean {
    return this.#waiting.some(isWaiting);
  }

  /**
   * Tells whether an organization waits for a buffer while it holds less in buffers of that kind than `owner` does.
   * @param isLarge whether large buffers are meant, or small ones
   */
  isOwedBy(owner: string | undefined, isLarge: boolean): boolean {
    const held = this.#heldBy(owner, isLarge);
    const isOwed = (each: Place): boolean =>
      isForLarge(each.reserve) === isLarge && this.#heldBy(each.owner, isLarge) < held;
    return held > 0 && this.#waiting.some((each) => isOwed(each) && isWaiting(each));
  }

  /** Tells whether it is this request's turn, whether it has a place in the queue or has just come. */
  #isFirst(place: Pick<Place, 'reserve' | 'owner'>): boolean {
    const isLarge = isForLarge(place.reserve);
    const held = this.#heldBy(place.owner, isLarge);
    let isBefore = true;
    for (const each of this.#waiting) {
      if (each === place) isBefore = false;
      else if (each.reserve === place.reserve) {
        const other = this.#heldBy(each.owner, isLarge);
        if ((isBefore ? other <= held : other < held) && isWaiting(each)) return false;
      }
    }
    return true;
  }

  /** Returns the bytes that an organization holds in large buffers, or in small ones. */
  #heldBy(owner: string | undefined, isLarge: boolean): number {
    const held = owner === undefined ? undefined : this.#held.get(owner);
    return held === undefined ? 0 : isLarge ? held.large : held.small;
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

  /** Sweeps, but not for every request that finds the budget exhausted, because a sweep goes through all loans. */
  #sweepNowAndThen(): void {
    if (Math.abs(Date.now() - this.#sweptAt) >= LOOK_MILLISECONDS / 2) this.#sweep();
  }

  #sweep(): void {
    this.#sweptAt = Date.now();
    for (const [reference, { usedAt }] of this.#loans)
      if (reference.deref() === undefined || this.#sweptAt - usedAt > LOST_MILLISECONDS) this.#forget(reference);
  }

  #forget(reference: WeakLoan): void {
    const { bytes = 0, isLarge = false, owner } = this.#loans.get(reference) ?? {};
    this.#count(-bytes, isLarge, owner);
    this.#loans.delete(reference);
  }

  #count(bytes: number, isLarge: boolean, owner: string | undefined): void {
    this.#bytes += bytes;
    if (isLarge) this.#largeBytes += bytes;
    if (owner === undefined) return;
    const { small, large } = this.#held.get(owner) ?? { small: 0, large: 0 };
    const held = isLarge ? { small, large: large + bytes } : { small: small + bytes, large };
    if (held.small + held.large > 0) this.#held.set(owner, held);
    else this.#held.delete(owner);
  }
}

/** Tells whether a loan that leaves `reserve` is one for a large buffer. */
function isForLarge(reserve: number): boolean {
  return reserve === RESERVED_BYTES;
}

function isWaiting({ holder, lookedAt }: Place): boolean {
  return holder.deref() !== undefined && Math.abs(Date.now() - lookedAt) < GONE_MILLISECONDS;
}

function noRoom(): OciError {
  return new OciError('UNAVAILABLE', {
    message: 'the registry has too many requests at once to accept this one: try again in a moment',
    headers: { 'Retry-After': '10' },
  });
}

/** The isolate's one budget. */
export const isolateBudget = new BufferBudget();
