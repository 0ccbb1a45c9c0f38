/**
 * Reads an object through one buffer, which is on loan from the isolate's budget (invariant 8). Each read has a
 * deadline, so that a bucket that stops in the middle of an object does not hold the queue's run.
 */
import { type Bucket, type ByteRange, CHANGE_MILLISECONDS } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import { isolateBudget, type Loan, SMALL_BYTES } from '../stores/uploads/buffer-budget.ts';

const BUFFER_BYTES = SMALL_BYTES;

export class SourceReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #loan: Loan;
  #buffer = new ArrayBuffer(BUFFER_BYTES);
  /** Whether reading has failed. */
  failed = false;

  private constructor(content: ReadableStream<Uint8Array>, loan: Loan) {
    this.#reader = content.getReader({ mode: 'byob' });
    this.#loan = loan;
  }

  /**
   * Returns undefined if the object is gone.
   * @throws OciError UNAVAILABLE if there is no room for the buffer, or the bucket does not answer
   */
  static async open(from: Bucket, key: string, range: ByteRange): Promise<SourceReader | undefined> {
    const loan = await isolateBudget.wait(BUFFER_BYTES);
    try {
      const content = await from.get(key, range);
      if (content !== undefined) return new SourceReader(content, loan);
    } catch (error) {
      isolateBudget.giveBack(loan);
      throw error;
    }
    isolateBudget.giveBack(loan);
    return undefined;
  }

  /** Returns the next bytes, as many as fit into the buffer but at most `most`. The next call uses the buffer again. */
  async read(most: number): Promise<Uint8Array<ArrayBuffer>> {
    isolateBudget.use(this.#loan);
    const wanted = Math.min(BUFFER_BYTES, most);
    try {
      const asked = this.#reader.readAtLeast(wanted, new Uint8Array(this.#buffer, 0, wanted));
      const { value } = await within(CHANGE_MILLISECONDS, asked);
      if (value === undefined || value.byteLength < wanted) throw new Error('the object ended too early');
      this.#buffer = value.buffer;
      return value;
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  cancel(cause: unknown): void {
    void this.#reader.cancel(cause).catch(() => undefined);
  }

  close(): void {
    isolateBudget.giveBack(this.#loan);
  }
}
