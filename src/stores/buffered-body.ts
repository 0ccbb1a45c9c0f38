/**
 * The body of a request in pieces that fill one reused buffer; only the last may be shorter. The buffer is on loan from the
 * budget, which it borrows from when bytes have come, and never before.
 */
import { BodyReader } from './body-reader.ts';
import { type BufferBudget, type Loan, RESERVED_BYTES, SMALL_BYTES } from './buffer-budget.ts';

export interface Buffering {
  /** Bytes that the buffer may have, the smallest first. */
  readonly sizes: readonly number[];
  /** A buffer of this size will do where the budget has no room for a larger one; smaller ones wait for room. */
  readonly least: number;
  /** How often a piece is in memory while it is used. */
  readonly copies: number;
}

export class BufferedBody {
  readonly #reader: BodyReader;
  readonly #budget: BufferBudget;
  readonly #buffering: Buffering;
  #buffer = new ArrayBuffer(0);
  #loan: Loan | undefined;
  /** For copies of a whole body. */
  #more: Loan | undefined;

  constructor(stream: ReadableStream<Uint8Array>, budget: BufferBudget, buffering: Buffering) {
    this.#reader = new BodyReader(stream);
    this.#budget = budget;
    this.#buffering = buffering;
  }

  /** The next piece; undefined at the end. @throws OciError CLIENT_GONE, BODY_STALLED, UNAVAILABLE where there is no room */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!(await this.#reader.hasMore())) return undefined;
    if (this.#loan === undefined) await this.#grow();
    let bytes = await this.#reader.fill(this.#buffer);
    while (this.#isFilledBy(bytes) && (await this.#reader.hasMore())) {
      this.#buffer = bytes.buffer;
      if (!(await this.#grow())) break;
      bytes = await this.#reader.fill(this.#buffer, bytes.byteLength);
    }
    return bytes;
  }

  /** Reading detaches the buffer; this takes it back once what it held has been used. */
  reuse(bytes: Uint8Array<ArrayBuffer>): void {
    this.#buffer = bytes.buffer;
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
    this.#replaceLoan(undefined);
    if (this.#more !== undefined) this.#budget.giveBack(this.#more);
    this.#more = undefined;
    this.#buffer = new ArrayBuffer(0);
    this.#reader.release();
  }

  /** Whether the bytes would go on in a larger buffer, if there is room for one. */
  #isFilledBy({ byteLength, buffer }: Uint8Array<ArrayBuffer>): boolean {
    return byteLength === buffer.byteLength && byteLength < (this.#buffering.sizes.at(-1) ?? 0);
  }

  /** Goes on with the next larger buffer, which has the same bytes, and answers whether there was one to have. */
  async #grow(): Promise<boolean> {
    const { sizes, least, copies } = this.#buffering;
    const size = sizes.find((each) => each > this.#buffer.byteLength);
    if (size === undefined) return false;
    const bytes = size * copies;
    const leaving = size > SMALL_BYTES ? RESERVED_BYTES : 0;
    const isNeeded = this.#loan === undefined || this.#buffer.byteLength < least;
    const loan = isNeeded ? await this.#budget.wait(bytes, leaving) : this.#budget.borrow(bytes, RESERVED_BYTES);
    if (loan === undefined) return false;
    this.#replaceLoan(loan);
    const larger = new ArrayBuffer(size);
    new Uint8Array(larger).set(new Uint8Array(this.#buffer));
    this.#buffer = larger;
    return true;
  }

  #replaceLoan(loan: Loan | undefined): void {
    if (this.#loan !== undefined) this.#budget.giveBack(this.#loan);
    this.#loan = loan;
  }
}
