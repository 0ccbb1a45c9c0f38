/**
 * The one way to R2. Keys are unique for each write, never derived from a digest, and nothing is ever overwritten;
 * which object is which blob is for D1 alone to say.
 *
 * Calls are bounded in time, up to the first byte of an object that is read. Bodies are not: one that a client sends,
 * or reads, lasts as long as the client takes.
 */
import { MINUTE } from '../durations.ts';
import { checksumOption, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { within } from './deadline.ts';

/** Bytes that one `put` may have. R2 allows 5 GiB less 5 MiB; above, an object is written in parts. */
export const MAX_PUT_BYTES = 4.5 * 1024 ** 3;

/** How long R2 may take to say what it has, or to begin an object: another location may be quicker. */
export const READ_MILLISECONDS = 10_000;
/** How long it may take to change something: up to a part of a blob, or a thousand objects. */
export const CHANGE_MILLISECONDS = MINUTE;

export type PutBody = ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;

/** What all keys start with: objects of other names are not Berth's, and never listed. */
const PREFIX = 'blobs/';

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** When it was written, in milliseconds since the epoch. */
  readonly uploaded: number;
}

export class Bucket {
  readonly #r2: R2Bucket;

  constructor(r2: R2Bucket) {
    this.#r2 = r2;
  }

  newKey(): string {
    return `${PREFIX}${crypto.randomUUID()}`;
  }

  /**
   * Writes an object whose length is known (a stream's is that of the request's Content-Length or a FixedLengthStream).
   * @param expected R2 checks the content against it and stores nothing where it differs
   * @param given settles once all of a stream was given: from then on R2 has as long as for bytes. Without it, a stream
   *   may
   *   last as long as it likes
   * @throws OciError DIGEST_INVALID, UNAVAILABLE
   */
  async put(key: string, body: PutBody, expected?: Digest, given?: Promise<unknown>): Promise<void> {
    try {
      const stored = this.#r2.put(key, body, expected === undefined ? {} : checksumOption(expected));
      const bounded = () => within(CHANGE_MILLISECONDS, stored);
      if (!(body instanceof ReadableStream)) await bounded();
      else await (given === undefined ? stored : Promise.race([stored, given.then(bounded, bounded)]));
    } catch (cause) {
      if (isChecksumMismatch(cause)) throw digestMismatch(expected);
      throw unavailable(cause);
    }
  }

  /** Starts a multipart upload: parts of at least 5 MiB, all equal but the last. */
  async createMultipartUpload(key: string): Promise<MultipartUpload> {
    const created = this.#r2.createMultipartUpload(key);
    try {
      return boundedUpload(await within(CHANGE_MILLISECONDS, created, (late) => late.abort().catch(() => undefined)));
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /** Goes on with a multipart upload that an earlier run has started. */
  resumeMultipartUpload(key: string, uploadId: string): MultipartUpload {
    return boundedUpload(this.#r2.resumeMultipartUpload(key, uploadId));
  }

  /** The object's bytes, or a range of them; undefined if the object is gone. */
  async get(
    key: string,
    range?: { readonly offset: number; readonly length: number },
  ): Promise<ReadableStream<Uint8Array> | undefined> {
    try {
      const asked = this.#r2.get(key, range === undefined ? {} : { range });
      const object = await within(READ_MILLISECONDS, asked, (late) => late?.body.cancel().catch(() => undefined));
      return object?.body;
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  async exists(key: string): Promise<boolean> {
    return (await this.#head(key)) !== null;
  }

  /**
   * A page of objects by key, 1,000 at most; R2 counts it as a write. For maintenance alone: no request lists.
   * @param after '' for the beginning
   */
  async list(after: string): Promise<{ readonly objects: readonly ListedObject[]; readonly more: boolean }> {
    const asked = this.#r2.list({ prefix: PREFIX, ...(after === '' ? {} : { startAfter: after }) });
    const page = await within(READ_MILLISECONDS, asked).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    const objects = page.objects.map(({ key, size, uploaded }) => ({ key, size, uploaded: uploaded.getTime() }));
    return { objects, more: page.truncated };
  }

  async delete(keys: readonly string[]): Promise<void> {
    // R2 deletes at most 1,000 keys a call.
    for (let i = 0; i < keys.length; i += 1000)
      await within(CHANGE_MILLISECONDS, this.#r2.delete(keys.slice(i, i + 1000)));
  }

  /** Whether R2 answers at all. */
  async probe(): Promise<void> {
    await this.#head('healthz');
  }

  #head(key: string): Promise<R2Object | null> {
    return within(READ_MILLISECONDS, this.#r2.head(key)).catch((cause: unknown) => {
      throw unavailable(cause);
    });
  }
}

/** A multipart upload whose calls are bounded in time; its errors are R2's own, or UNAVAILABLE. */
export type MultipartUpload = Pick<R2MultipartUpload, 'uploadId' | 'uploadPart' | 'complete' | 'abort'>;

function boundedUpload(upload: R2MultipartUpload): MultipartUpload {
  return {
    uploadId: upload.uploadId,
    uploadPart: (...part) => within(CHANGE_MILLISECONDS, upload.uploadPart(...part)),
    complete: (parts) => within(CHANGE_MILLISECONDS, upload.complete(parts)),
    abort: () => within(CHANGE_MILLISECONDS, upload.abort()),
  };
}

export function digestMismatch(expected: Digest | undefined): OciError {
  return new OciError('DIGEST_INVALID', {
    message: 'the content does not have the digest that was given for it',
    detail: { digest: expected },
  });
}

/** R2's error 10037, "the checksum you specified did not match what we received". */
function isChecksumMismatch(error: unknown): boolean {
  return error instanceof Error && error.message.includes('(10037)');
}

/** What fails of R2 may work the next time, in the middle of a body as well. */
export function unavailable(cause: unknown): OciError {
  return cause instanceof OciError ? cause : new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
}
