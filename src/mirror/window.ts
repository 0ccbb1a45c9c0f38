/**
 * The latest bytes of a blob that is arriving, in memory. They are on loan from the isolate's budget: a little from the
 * start, and more while there is room.
 */
import { type BufferBudget, FIRST_RESERVED_BYTES, type Loan, RESERVED_BYTES } from '../stores/uploads/buffer-budget.ts';

export const BLOCK_BYTES = 256 * 1024;
/** The window that every blob has. */
export const LEAST_BYTES = 2 * BLOCK_BYTES;
const STEP_BYTES = 2 * BLOCK_BYTES;
/** The most bytes of a window. */
export const WINDOW_BYTES = 8 * 1024 ** 2;
/** The longest that an arriving blob waits for its first room, in milliseconds. */
const PATIENCE_MILLISECONDS = 30_000;

export class Window {
  readonly #size: number;
  readonly #budget: BufferBudget;
  readonly #owner: string;
  /** Each but the last is full. Together they hold the bytes from `start` to before `end`. */
  #blocks: { readonly start: number; readonly bytes: Uint8Array<ArrayBuffer> }[] = [];
  #loans: Loan[] = [];
  #end: number;

  /**
   * @param start the offset of the first byte that will come
   * @param size of the blob, in bytes
   * @param owner the organization that the bytes count for
   */
  constructor(start: number, size: number, budget: BufferBudget, owner: string) {
    this.#end = start;
    this.#size = size;
    this.#budget = budget;
    this.#owner = owner;
  }

  get start(): number {
    return this.#blocks[0]?.start ?? this.#end;
  }

  get end(): number {
    return this.#end;
  }

  /** The end of the oldest block. */
  get oldestEnd(): number {
    return Math.min(this.start + BLOCK_BYTES, this.#end);
  }

  /** Borrows the least room. @throws OciError UNAVAILABLE if there is none for half a minute */
  async open(): Promise<void> {
    const bytes = Math.min(LEAST_BYTES, this.#size);
    this.#loans.push(await this.#budget.wait(bytes, FIRST_RESERVED_BYTES, PATIENCE_MILLISECONDS, this.#owner));
  }

  /** Returns bytes from `at` on, up to `end` or the end of a block; undefined if they are not in the window. */
  read(at: number, end: number): Uint8Array | undefined {
    const block = at < this.start ? undefined : this.#blocks[Math.floor((at - this.start) / BLOCK_BYTES)];
    if (block === undefined) return undefined;
    const bytes = block.bytes.subarray(at - block.start, Math.min(end, this.#end) - block.start);
    return bytes.byteLength === 0 ? undefined : bytes;
  }

  /** Appends bytes, and returns how many. It is 0 if the window is full. */
  append(piece: Uint8Array): number {
    for (const loan of this.#loans) this.#budget.use(loan);
    const block = this.#lastBlock();
    if (block === undefined) return 0;
    const at = this.#end - block.start;
    const taken = piece.subarray(0, block.bytes.byteLength - at);
    block.bytes.set(taken, at);
    this.#end += taken.byteLength;
    return taken.byteLength;
  }

  #lastBlock() {
    const last = this.#blocks.at(-1);
    if (last !== undefined && this.#end < last.start + last.bytes.byteLength) return last;
    const bytes = Math.min(BLOCK_BYTES, this.#size - this.#end);
    const lent = this.#loans.reduce((sum, loan) => sum + loan.bytes, 0);
    if (this.#blocks.length * BLOCK_BYTES + bytes > lent) return undefined;
    const block = { start: this.#end, bytes: new Uint8Array(bytes) };
    this.#blocks.push(block);
    return block;
  }

  /** Makes the window larger. Returns false if it may not be, or others wait for room. */
  grow(): boolean {
    const lent = this.#loans.reduce((sum, loan) => sum + loan.bytes, 0);
    const bytes = Math.min(STEP_BYTES, Math.min(WINDOW_BYTES, this.#size) - lent);
    if (bytes <= 0 || this.#budget.hasWaiters()) return false;
    const loan = this.#budget.borrow(bytes, RESERVED_BYTES, this.#owner);
    if (loan === undefined) return false;
    this.#loans.push(loan);
    return true;
  }

  /** Forgets the oldest block. Gives room back if others wait for it. */
  dropOldest(): void {
    this.#blocks.shift();
    const last = this.#loans.at(-1);
    if (last === undefined || this.#loans.length < 2 || !this.#budget.hasWaiters()) return;
    const lent = this.#loans.reduce((sum, loan) => sum + loan.bytes, 0);
    if (this.#blocks.length * BLOCK_BYTES <= lent - last.bytes) this.#budget.giveBack(this.#loans.pop() ?? last);
  }

  /** Forgets all but the last bytes, which readers that have kept pace still need. */
  shrink(): void {
    this.#blocks.splice(0, this.#blocks.length - 1);
    for (const loan of this.#loans.splice(1)) this.#budget.giveBack(loan);
  }

  /** Forgets all bytes, and gives the room back. */
  close(): void {
    this.#blocks = [];
    for (const loan of this.#loans) this.#budget.giveBack(loan);
    this.#loans = [];
  }
}
