/** The parts of one arriving blob, as objects of a store. No row names them. */
import { type Bucket, CHANGE_MILLISECONDS, PARTS_PREFIX } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import { type Parts, PART_BYTES } from './handout.ts';

export class ObjectParts implements Parts {
  readonly #bucket: Bucket;
  readonly #prefix: string;

  /** @param id distinguishes the blob from all others that arrive */
  constructor(bucket: Bucket, id: string) {
    this.#bucket = bucket;
    this.#prefix = `${PARTS_PREFIX}${id}/`;
  }

  async put(number: number, pieces: AsyncIterable<Uint8Array>, length: number): Promise<void> {
    const { readable, writable } = new FixedLengthStream(length);
    const writer = writable.getWriter();
    const abort = (cause: unknown): never => {
      void writer.abort(cause).catch(() => undefined);
      throw cause;
    };
    const pump = async (): Promise<void> => {
      for await (const piece of pieces) await within(CHANGE_MILLISECONDS, writer.write(piece));
      await within(CHANGE_MILLISECONDS, writer.close());
    };
    const pumping = pump();
    const put = this.#bucket.put(this.#key(number), readable, undefined, pumping);
    const [pumped, stored] = await Promise.allSettled([pumping.catch(abort), put.catch(abort)]);
    if (stored.status === 'rejected') throw stored.reason;
    if (pumped.status === 'rejected') throw pumped.reason;
  }

  open(number: number, offset: number, length: number): Promise<ReadableStream<Uint8Array> | undefined> {
    return this.#bucket.get(this.#key(number), { offset, length });
  }

  /**
   * Deletes the parts of a blob, and the next one, which a killed run may have written without a note.
   * @param landed the bytes that are known to be in parts
   */
  delete(landed: number): Promise<void> {
    const length = Math.floor(landed / PART_BYTES) + 1;
    return this.#bucket.delete(Array.from({ length }, (_, number) => this.#key(number)));
  }

  #key(number: number): string {
    return `${this.#prefix}${number}`;
  }
}
