/**
 * Reads the body of a request in pieces that fill one reused buffer. The buffer is on loan from the budget, and is
 * borrowed only when bytes have arrived. A piece is shorter than the buffer if it is the last, or if it fills slowly
 * while others wait for room. A document is of no use in parts, so it fails instead if it is slow. A blob fails if one
 * read is slow while an organization waits that holds less in buffers of the same kind, because the read keeps the
 * buffer.
 */
import { OciError } from '../../oci/errors.ts';
import { BodyReader, STEP_BYTES } from './body-reader.ts';
import {
  type BufferBudget,
  FIRST_RESERVED_BYTES,
  type Loan,
  PART_BYTES,
  RESERVED_BYTES,
  SMALL_BYTES,
  WAIT_MILLISECONDS,
} from './buffer-budget.ts';

/** The longest that a piece may take to fill its buffer while others wait, in milliseconds. */
export const SLOW_MILLISECONDS = 5000;
/** The time for which a body may fill one large buffer after the other while others wait for one, in milliseconds. */
export const TURN_MILLISECONDS = 1000;
/**
 * The interval at which a slow read checks whether others wait, in milliseconds. Together with
 * {@link SLOW_MILLISECONDS} it is less than the time for which others wait for room.
 */
const LOOK_MILLISECONDS = 1000;

export interface Buffering {
  /** The sizes that the buffer may have, in bytes, smallest first. */
  readonly sizes: readonly number[];
  /**
   * The body waits for room until its buffer has this size. Beyond it, the buffer grows only if there is room and
   * nobody waits.
   */
  readonly least: number;
  /**
   * The least bytes of the budget that a loan for this body leaves to others. The buffer's size may require more.
   */
  readonly reserve?: number;
  /**
   * Whether the body gives up its buffer when others wait for room, so that a piece may be shorter although the body
   * goes on.
   */
  readonly givesWay: boolean;
  /** Whether a body that fills its buffer slowly fails with BODY_STALLED while others wait for room. */
  readonly failsWhenSlow?: boolean;
  /** The longest that the body waits for room, in milliseconds; by default as long as any request. */
  readonly patience?: number;
  /** The organization that the body belongs to, if it belongs to one. */
  readonly owner?: string | undefined;
  /** The number of copies of a piece that are in memory while it is used. */
  readonly copies: number;
}

export class BufferedBody {
  readonly #reader: BodyReader;
  readonly #budget: BufferBudget;
  readonly #buffering: Buffering;
  #buffer = new ArrayBuffer(0);
  /** The size of the buffer, even while a read has detached it. */
  #size = 0;
  #loan: Loan | undefined;
  /** When the buffer got its current size, in milliseconds since the epoch. */
  #grownAt = 0;
  /**
   * When the current wait for the client began, in milliseconds since the epoch. For a blob, each read with new bytes
   * begins another wait.
   */
  #progressAt = 0;
  /** Whether the caller still uses the piece in the buffer. */
  #isOut = false;
  #isReading = false;
  /** The loans for buffers of the same size beyond the first. */
  readonly #spares: Loan[] = [];
  /** The buffers that nobody uses. */
  #free: ArrayBuffer[] = [];
  /** The loan for copies of a whole body. */
  #more: Loan | undefined;

  constructor(stream: ReadableStream<Uint8Array>, budget: BufferBudget, buffering: Buffering) {
    this.#reader = new BodyReader(stream);
    this.#budget = budget;
    this.#buffering = buffering;
  }

  /**
   * Returns the next piece; undefined at the end.
   * @throws OciError CLIENT_GONE, BODY_STALLED, or UNAVAILABLE if there is no room
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const isHeld = this.#loan !== undefined;
    if (!(await (isHeld ? this.hasMore() : this.#reader.hasMore()))) return undefined;
    if (this.#isOut) throw new Error('the last piece is still in use');
    this.#isReading = true;
    try {
      return await this.#fill();
    } finally {
      this.#isReading = false;
      this.#isOut = true;
    }
  }

  async #fill(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#hasHadItsTurn()) this.#giveBack();
    // Without a buffer, reads would return nothing for ever.
    if (this.#loan === undefined && !(await this.#grow())) throw new Error('a buffer for no bytes cannot hold a body');
    const begunAt = Date.now();
    const mayGoOn = (): boolean => {
      for (const loan of [this.#loan, ...this.#spares]) if (loan !== undefined) this.#budget.use(loan);
      if (this.#buffering.failsWhenSlow !== true) this.#progressAt = Date.now();
      return Date.now() - begunAt < SLOW_MILLISECONDS || !this.#isWanted();
    };
    mayGoOn();
    let bytes = await this.#inTime(this.#reader.fill(this.#buffer, 0, mayGoOn));
    while (this.#isFilledBy(bytes) && (await this.#inTime(this.#reader.hasMore()))) {
      const filled = bytes.byteLength;
      this.#buffer = bytes.buffer;
      if (!(await this.#grow())) return bytes;
      bytes = await this.#inTime(this.#reader.fill(this.#buffer, filled, mayGoOn));
    }
    return bytes;
  }

  /** Whether the body goes on after the bytes that were read. @throws OciError CLIENT_GONE, BODY_STALLED */
  hasMore(): Promise<boolean> {
    return this.#inTime(this.#reader.hasMore());
  }

  /**
   * Takes the buffer back once its bytes have been used, because reading detaches it. If the piece was short and others
   * wait for room, gives the buffer up.
   */
  reuse(bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#isOut || this.#isReading || bytes.buffer.byteLength !== this.#size) return this.#putBack(bytes.buffer);
    this.#isOut = false;
    this.#buffer = bytes.buffer;
    if (bytes.byteLength < this.#size && this.#isWanted()) this.#giveBack();
  }

  /**
   * Makes another buffer of the same size ready for the next piece, so that the last one can be used meanwhile. Returns
   * false if there is no room for it; then the next piece has to wait until a buffer is back by {@link reuse}.
   */
  tryAnother(): boolean {
    const free = this.#free.pop();
    if (free === undefined) {
      const loan = this.#budget.hasWaiters() ? undefined : this.#borrowAnother();
      if (loan === undefined) return false;
      this.#spares.push(loan);
    }
    this.#buffer = free ?? new ArrayBuffer(this.#size);
    this.#isOut = false;
    return true;
  }

  /** Returns whether a buffer is ready for the next piece. */
  get isReady(): boolean {
    return !this.#isOut;
  }

  #borrowAnother(): Loan | undefined {
    return this.#budget.borrow(this.#size * this.#buffering.copies, RESERVED_BYTES, this.#buffering.owner);
  }

  /** Keeps a buffer beyond the first for later, unless the body has moved to another size or others wait for room. */
  #putBack(buffer: ArrayBuffer): void {
    if (buffer.byteLength === this.#size && !this.#budget.hasWaiters()) this.#free.push(buffer);
    else this.#giveBackSpare(buffer);
  }

  /** @param buffer the spare one, unless something may still use it */
  #giveBackSpare(buffer?: ArrayBuffer): void {
    if (buffer !== undefined) release(buffer);
    const loan = this.#spares.pop();
    if (loan !== undefined) this.#budget.giveBack(loan);
  }

  /**
   * Borrows room for `copies` of the buffer's bytes, from now until the body is closed. @throws OciError UNAVAILABLE
   */
  async hold(bytes: Uint8Array<ArrayBuffer>, copies: number): Promise<void> {
    const { bytes: borrowed = 0 } = this.#loan ?? {};
    const more = bytes.byteLength * copies - borrowed;
    if (more > 0) this.#more = await this.#budget.wait(more, 0, WAIT_MILLISECONDS, this.#buffering.owner);
  }

  /** Returns the loans, and releases the stream, so that others can read the rest of the body. */
  close(): void {
    this.#giveBack();
    while (this.#spares.length > 0) this.#giveBackSpare();
    if (this.#more !== undefined) this.#budget.giveBack(this.#more);
    this.#more = undefined;
    this.#reader.release();
  }

  /** Tells whether others wait for room while this body holds a large buffer. */
  #isWanted(): boolean {
    return this.#buffering.givesWay && this.#size > STEP_BYTES && this.#budget.hasWaiters();
  }

  /**
   * Returns the bytes of a read. Fails before the read ends if the body has to make room, because one read may take
   * longer than others can wait.
   * @throws OciError BODY_STALLED
   */
  async #inTime<Read>(reading: Promise<Read>): Promise<Read> {
    const { failsWhenSlow: isDocument = false, owner } = this.#buffering;
    if (!isDocument && this.#loan === undefined) return reading;
    this.#progressAt = Date.now();
    const isWanted = (): boolean =>
      isDocument ? this.#budget.hasWaiters() : this.#budget.isOwedBy(owner, this.#size > SMALL_BYTES);
    let timer: ReturnType<typeof setTimeout> | null = null;
    const givenUp = new Promise<never>((_, fail) => {
      const look = (): void => {
        if (Date.now() - this.#progressAt >= SLOW_MILLISECONDS && isWanted()) fail(new OciError('BODY_STALLED'));
        else timer = setTimeout(look, LOOK_MILLISECONDS);
      };
      timer = setTimeout(look, LOOK_MILLISECONDS);
    });
    try {
      return await Promise.race([reading, givenUp]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells whether others wait for the room of a body that has filled large buffers for a while. */
  #hasHadItsTurn(): boolean {
    if (this.#size <= SMALL_BYTES || this.#buffering.failsWhenSlow === true) return false;
    return this.#budget.hasWaiters() && Date.now() - this.#grownAt >= TURN_MILLISECONDS;
  }

  /** Tells whether the bytes fill the buffer and a larger one exists. */
  #isFilledBy({ byteLength, buffer }: Uint8Array<ArrayBuffer>): boolean {
    return byteLength === buffer.byteLength && this.#size < (this.#buffering.sizes.at(-1) ?? 0);
  }

  /** Enlarges the buffer to the next size and keeps its bytes. Returns whether there was room for that. */
  async #grow(): Promise<boolean> {
    const { sizes, least, copies, owner } = this.#buffering;
    const size = sizes.find((each) => each > this.#size);
    if (size === undefined) return false;
    const bytes = size * copies;
    const reserve = Math.max(this.#leftBy(size), this.#buffering.reserve ?? 0);
    const isNeeded = this.#loan === undefined || this.#size < least;
    const patience = this.#buffering.patience ?? WAIT_MILLISECONDS;
    if (!isNeeded && this.#budget.hasWaiters()) return false;
    const loan = isNeeded
      ? await this.#budget.wait(bytes, reserve, patience, owner)
      : this.#budget.borrow(bytes, RESERVED_BYTES, owner);
    if (loan === undefined) return false;
    if (this.#loan !== undefined) this.#budget.giveBack(this.#loan);
    this.#loan = loan;
    this.#buffer = this.#buffer.transfer(size);
    this.#size = size;
    this.#grownAt = Date.now();
    return true;
  }

  /** Returns how many bytes of the budget a buffer of this size must leave free. */
  #leftBy(size: number): number {
    if (size > SMALL_BYTES) return RESERVED_BYTES;
    if (size <= STEP_BYTES) return FIRST_RESERVED_BYTES;
    // A first buffer leaves more free, so this one can grow even if first buffers take all that they may. It still
    // leaves room for a whole document to be used, or for a blob's large buffer.
    return this.#buffering.failsWhenSlow === true ? FIRST_RESERVED_BYTES / 2 : PART_BYTES;
  }

  #giveBack(): void {
    if (this.#loan !== undefined) this.#budget.giveBack(this.#loan);
    this.#loan = undefined;
    if (!this.#isOut) release(this.#buffer);
    this.#buffer = new ArrayBuffer(0);
    this.#size = 0;
    for (const buffer of this.#free) this.#giveBackSpare(buffer);
    this.#free = [];
  }
}

/**
 * Frees a buffer's memory at once. The garbage collector would wait until nothing refers to it, and a body that waits
 * for room may still do so.
 */
function release(buffer: ArrayBuffer): void {
  if (!buffer.detached) buffer.transfer(0);
}
