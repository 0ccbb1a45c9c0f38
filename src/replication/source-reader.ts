/**
 * Reads an object through one buffer, which is on loan from the isolate's budget (invariant 8). Each read has a
 * deadline, so that a bucket that stops in the middle of an object does not hold the queue's run.
 */
import type { Digest } from '../oci/digest.ts';
import { isUnavailable } from '../oci/errors.ts';
import { type Bucket, CHANGE_MILLISECONDS } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import { isolateBudget, type Loan, SMALL_BYTES } from '../stores/uploads/buffer-budget.ts';
import { OutOfTime, PermanentError } from './machine.ts';

const BUFFER_BYTES = SMALL_BYTES;

/** The bytes to read: an object from `offset` to its end. Lengths are in bytes. */
interface SourceRange {
  readonly digest: Digest;
  readonly offset: number;
  readonly size: number;
}

export class SourceReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #loan: Loan;
  readonly #range: SourceRange;
  /** The offset in the object at which the next read starts, in bytes. */
  #position: number;
  #buffer = new ArrayBuffer(BUFFER_BYTES);
  /** Whether reading has failed. */
  failed = false;

  private constructor(content: ReadableStream<Uint8Array>, loan: Loan, range: SourceRange) {
    this.#reader = content.getReader({ mode: 'byob' });
    this.#loan = loan;
    this.#range = range;
    this.#position = range.offset;
  }

  /**
   * Returns undefined if the object is gone.
   * @throws OutOfTime if there is no room for the buffer; OciError UNAVAILABLE if the bucket does not answer
   */
  static async open(from: Bucket, key: string, range: SourceRange): Promise<SourceReader | undefined> {
    const loan = await isolateBudget.wait(BUFFER_BYTES).catch((error: unknown) => {
      throw isUnavailable(error) ? new OutOfTime('no room to copy in: the next run continues the copy') : error;
    });
    try {
      const content = await from.get(key, { offset: range.offset, length: range.size - range.offset });
      if (content !== undefined) return new SourceReader(content, loan, range);
    } catch (error) {
      isolateBudget.giveBack(loan);
      throw error;
    }
    isolateBudget.giveBack(loan);
    return undefined;
  }

  /**
   * Returns the next bytes, as many as fit into the buffer but at most `most`. The next call uses the buffer again.
   * @throws PermanentError if the object ends before its size
   */
  async read(most: number): Promise<Uint8Array<ArrayBuffer>> {
    isolateBudget.use(this.#loan);
    const wanted = Math.min(BUFFER_BYTES, most);
    try {
      const asked = this.#reader.readAtLeast(wanted, new Uint8Array(this.#buffer, 0, wanted));
      const { value } = await within(CHANGE_MILLISECONDS, asked);
      this.#position += value?.byteLength ?? 0;
      if (value === undefined || value.byteLength < wanted) throw this.#tooShort();
      this.#buffer = value.buffer;
      return value;
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  #tooShort(): PermanentError {
    const { digest, size } = this.#range;
    return new PermanentError(
      `the object of ${digest} ends after ${this.#position} bytes, not ${size}: it is not copied`,
    );
  }

  cancel(cause: unknown): void {
    void this.#reader.cancel(cause).catch(() => undefined);
  }

  close(): void {
    isolateBudget.giveBack(this.#loan);
  }
}
