/**
 * The body of a request in pieces that fill one reused buffer. The buffer is on loan from the budget, which it borrows
 * from when bytes have come, and never before. Only the last piece is shorter, and one that comes slowly while others
 * wait for room. A document, of which a piece is of no use, is given up instead.
 */
import { OciError } from '../../oci/errors.ts';
import { BodyReader, STEP_BYTES } from './body-reader.ts';
import { type BufferBudget, FIRST_RESERVED_BYTES, type Loan, RESERVED_BYTES, SMALL_BYTES } from './buffer-budget.ts';

/** How long a piece may take to fill its buffer while others wait, in milliseconds. */
export const SLOW_MILLISECONDS = 5000;
/** How often a document that arrives looks whether others wait. With the above, less than room is waited for. */
const LOOK_MILLISECONDS = 1000;

const NOTHING = new Uint8Array(0);

export interface Buffering {
  /** Bytes that the buffer may have, the smallest first. */
  readonly sizes: readonly number[];
  /** A buffer of this size will do where the budget has no room for a larger one; smaller ones wait for room. */
  readonly least: number;
  /** Bytes of the budget that are left to others, besides what buffers of a size leave. */
  readonly reserve?: number;
  /** Whether a piece may be shorter than its buffer although the body goes on. */
  readonly givesWay: boolean;
  /** Whether a body that fills a buffer slowly fails with BODY_STALLED while others wait for room. */
  readonly isGivenUp?: boolean;
  /** How often a piece is in memory while it is used. */
  readonly copies: number;
}

export class BufferedBody {
  readonly #reader: BodyReader;
  readonly #budget: BufferBudget;
  readonly #buffering: Buffering;
  #buffer = new ArrayBuffer(0);
  /** Of the buffer, also while a read has it. */
  #size = 0;
  #loan: Loan | undefined;
  /** For copies of a whole body. */
  #more: Loan | undefined;

  constructor(stream: ReadableStream<Uint8Array>, budget: BufferBudget, buffering: Buffering) {
    this.#reader = new BodyReader(stream);
    this.#budget = budget;
    this.#buffering = buffering;
  }

  /**
   * The next piece; undefined at the end. @throws OciError CLIENT_GONE, BODY_STALLED, UNAVAILABLE where there is no
   * room
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!(await this.#reader.hasMore())) return undefined;
    if (this.#loan === undefined) await this.#grow();
    const begunAt = Date.now();
    const mayGoOn = (): boolean => {
      if (this.#loan !== undefined) this.#budget.use(this.#loan);
      return Date.now() - begunAt < SLOW_MILLISECONDS || !this.#isWanted();
    };
    mayGoOn();
    let bytes = await this.#inTime(this.#reader.fill(this.#buffer, 0, mayGoOn));
    while (this.#isFilledBy(bytes) && (await this.#inTime(this.#reader.hasMore()))) {
      const filled = bytes.byteLength;
      this.#buffer = bytes.buffer;
      // Nothing may refer to the smaller buffer while the larger one is filled.
      bytes = NOTHING;
      if (!(await this.#grow())) return new Uint8Array(this.#buffer, 0, filled);
      bytes = await this.#inTime(this.#reader.fill(this.#buffer, filled, mayGoOn));
    }
    return bytes;
  }

  /** Reading detaches the buffer; this takes it back once what it held has been used. */
  reuse(bytes: Uint8Array<ArrayBuffer>): void {
    this.#buffer = bytes.buffer;
    if (bytes.byteLength < this.#size && this.#isWanted()) this.#giveBack();
  }

  /** Borrows for `copies` of what the buffer has, from now until it is closed. @throws OciError UNAVAILABLE */
  async hold(bytes: Uint8Array<ArrayBuffer>, copies: number): Promise<void> {
    this.reuse(bytes);
    const { bytes: borrowed = 0 } = this.#loan ?? {};
    const more = bytes.byteLength * copies - borrowed;
    if (more > 0) this.#more = await this.#budget.wait(more);
  }

  /** Gives the loan back, and leaves the rest of the body to others. */
  close(): void {
    this.#giveBack();
    if (this.#more !== undefined) this.#budget.giveBack(this.#more);
    this.#more = undefined;
    this.#reader.release();
  }

  /** Whether others wait for what a large buffer has. */
  #isWanted(): boolean {
    return this.#buffering.givesWay && this.#size > STEP_BYTES && this.#budget.isAwaited();
  }

  /** What was read, unless the body has to be given up first: a single read may take longer than others can wait. */
  async #inTime<Read>(reading: Promise<Read>): Promise<Read> {
    if (this.#buffering.isGivenUp !== true) return reading;
    const begunAt = Date.now();
    let timer: ReturnType<typeof setTimeout> | null = null;
    const givenUp = new Promise<never>((_, fail) => {
      const look = (): void => {
        if (Date.now() - begunAt >= SLOW_MILLISECONDS && this.#budget.isAwaited()) fail(new OciError('BODY_STALLED'));
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

  /** Whether the bytes would go on in a larger buffer, if there is room for one. */
  #isFilledBy({ byteLength, buffer }: Uint8Array<ArrayBuffer>): boolean {
    return byteLength === buffer.byteLength && this.#size < (this.#buffering.sizes.at(-1) ?? 0);
  }

  /** Goes on with the next larger buffer, which has the same bytes, and answers whether there was one to have. */
  async #grow(): Promise<boolean> {
    const { sizes, least, copies } = this.#buffering;
    const size = sizes.find((each) => each > this.#size);
    if (size === undefined) return false;
    const bytes = size * copies;
    const reserve = Math.max(this.#leftBy(size), this.#buffering.reserve ?? 0);
    const isNeeded = this.#loan === undefined || this.#size < least;
    const loan = isNeeded ? await this.#budget.wait(bytes, reserve) : this.#budget.borrow(bytes, RESERVED_BYTES);
    if (loan === undefined) return false;
    if (this.#loan !== undefined) this.#budget.giveBack(this.#loan);
    this.#loan = loan;
    const larger = new ArrayBuffer(size);
    new Uint8Array(larger).set(new Uint8Array(this.#buffer));
    this.#buffer = larger;
    this.#size = size;
    return true;
  }

  /** Bytes of the budget that a buffer leaves free. */
  #leftBy(size: number): number {
    if (size > SMALL_BYTES) return RESERVED_BYTES;
    if (size <= STEP_BYTES) return FIRST_RESERVED_BYTES;
    // Less than first buffers leave, so that a document grows whatever they hold; some, so that one which has arrived
    // is used.
    return this.#buffering.isGivenUp === true ? FIRST_RESERVED_BYTES / 2 : 0;
  }

  #giveBack(): void {
    if (this.#loan !== undefined) this.#budget.giveBack(this.#loan);
    this.#loan = undefined;
    this.#buffer = new ArrayBuffer(0);
    this.#size = 0;
  }
}
