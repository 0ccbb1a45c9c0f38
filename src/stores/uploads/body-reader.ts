/**
 * Reads the body of a request. It distinguishes a client's failures from those of a store: the client went away
 * (CLIENT_GONE), or it stopped sending (BODY_STALLED).
 *
 * A body arrives in pieces of 4 KiB, and handling each in JavaScript costs more than hashing it. So the runtime fills a
 * buffer with many of them at once. Only the first bytes are read without that buffer, so that a client that sends
 * nothing occupies no memory.
 */
import { OciError } from '../../oci/errors.ts';
import { within } from '../deadline.ts';

/**
 * The longest that a client may take to send {@link STEP_BYTES}, or the first byte, in milliseconds. That requires
 * about 1 KB/s.
 */
export const STALLED_MILLISECONDS = 30_000;
/** The bytes of one read, and of the first buffer. */
export const STEP_BYTES = 32 * 1024;
const FIRST_BYTES = 1024;

export class BodyReader {
  readonly #reader: ReadableStreamBYOBReader;
  #first: Uint8Array<ArrayBuffer> | undefined;
  #ended = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader({ mode: 'byob' });
  }

  /** Waits for the first bytes, and returns whether there are any. @throws OciError CLIENT_GONE, BODY_STALLED */
  async hasMore(): Promise<boolean> {
    if (this.#first === undefined && !this.#ended) {
      const bytes = await this.#readAtLeast(1, new Uint8Array(FIRST_BYTES));
      if (bytes.byteLength > 0) this.#first = bytes;
    }
    return this.#first !== undefined;
  }

  /**
   * Fills `buffer` from `offset` on. Reading detaches the buffer; the returned bytes lie in its replacement.
   * @param mayGoOn called between reads; when it returns false, the bytes so far are returned
   * @throws OciError CLIENT_GONE, BODY_STALLED
   */
  async fill(buffer: ArrayBuffer, offset = 0, mayGoOn = () => true): Promise<Uint8Array<ArrayBuffer>> {
    let [into, filled] = [buffer, offset];
    if (this.#first !== undefined) {
      const taken = this.#first.subarray(0, into.byteLength - filled);
      new Uint8Array(into).set(taken, filled);
      filled += taken.byteLength;
      this.#first = taken.byteLength < this.#first.byteLength ? this.#first.subarray(taken.byteLength) : undefined;
    }
    while (!this.#ended && filled < into.byteLength && (filled === offset || mayGoOn())) {
      const wanted = Math.min(STEP_BYTES, into.byteLength - filled);
      const bytes = await this.#readAtLeast(wanted, new Uint8Array(into, filled, wanted));
      into = bytes.buffer;
      filled += bytes.byteLength;
    }
    return new Uint8Array(into, 0, filled);
  }

  /** Releases the stream, so that others can read the rest of the body. */
  release(): void {
    try {
      this.#reader.releaseLock();
    } catch {
      // A read is still in progress, so nobody else can read the rest anyway.
    }
  }

  async #readAtLeast(bytes: number, view: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const { value, done } = await within(
      STALLED_MILLISECONDS,
      this.#reader.readAtLeast(bytes, view),
      undefined,
      stalled,
    ).catch((cause: unknown) => {
      throw cause instanceof OciError ? cause : new OciError('CLIENT_GONE', { cause });
    });
    if (done || value === undefined || value.byteLength < bytes) this.#ended = true;
    return value ?? new Uint8Array(0);
  }
}

function stalled(): OciError {
  return new OciError('BODY_STALLED');
}
