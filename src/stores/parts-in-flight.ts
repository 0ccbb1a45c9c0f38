/**
 * Writes the parts of a multipart upload one after the other, without waiting for each answer. R2 takes tens of
 * milliseconds to answer a part, in which the next ones can be sent.
 *
 * Each part is a stream of known length. So its writer has the buffer back as soon as R2 has taken the bytes, and R2's
 * binding makes no copy of the part.
 */
import { CHANGE_MILLISECONDS, type MultipartUpload } from './bucket.ts';
import { within } from './deadline.ts';

/** The most parts that may be under way at once. */
export const PARTS_AT_ONCE = 3;

export class PartsInFlight {
  readonly #upload: Pick<MultipartUpload, 'uploadPart'>;
  readonly #parts: R2UploadedPart[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #next: number;
  #failure: { readonly cause: unknown } | undefined;

  /** @param first the number of the first part */
  constructor(upload: Pick<MultipartUpload, 'uploadPart'>, first = 1) {
    this.#upload = upload;
    this.#next = first;
  }

  /**
   * Starts the next part, which will have `length` bytes, once fewer than {@link PARTS_AT_ONCE} are under way.
   * @returns the writer of the part's bytes. The caller closes it before the next part starts
   * @throws the failure of an earlier part; OciError UNAVAILABLE if no part ends in time, because others wait for the
   *   caller's buffer
   */
  async start(length: number): Promise<WritableStreamDefaultWriter<Uint8Array>> {
    const number = this.#next++;
    while (this.#underWay.size >= PARTS_AT_ONCE) await within(CHANGE_MILLISECONDS, Promise.race(this.#underWay));
    if (this.#failure !== undefined) throw this.#failure.cause;
    const { readable, writable } = new FixedLengthStream(length);
    const writer = writable.getWriter();
    const uploading = this.#upload.uploadPart(number, readable, writer.closed);
    writer.closed.catch(() => undefined);
    const answered: Promise<void> = uploading
      .then(
        (part) => void this.#parts.push(part),
        (cause: unknown) => {
          this.#failure ??= { cause };
          // Otherwise a write that R2 never reads would wait for ever.
          void writer.abort(cause).catch(() => undefined);
        },
      )
      .finally(() => this.#underWay.delete(answered));
    this.#underWay.add(answered);
    return writer;
  }

  /**
   * Writes a whole part, and returns when R2 has taken its bytes.
   * @throws the failure of this part or an earlier one
   */
  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const writer = await this.start(bytes.byteLength);
    await within(
      CHANGE_MILLISECONDS,
      writer.write(bytes).then(() => writer.close()),
    ).catch((cause: unknown) => {
      void writer.abort(cause).catch(() => undefined);
      throw this.#failure?.cause ?? cause;
    });
  }

  /** Waits for all parts, and returns them in the order of their numbers. @throws the first failure */
  async finish(): Promise<R2UploadedPart[]> {
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure.cause;
    return this.#parts.toSorted((a, b) => a.partNumber - b.partNumber);
  }

  /** Waits until no part is under way any more, whether or not it failed. */
  async settle(): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
