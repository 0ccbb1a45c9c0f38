/**
 * The only access to R2. Every write has a new key, never derived from the digest, and nothing is ever overwritten.
 * Only D1 knows which object holds which blob.
 *
 * Calls have a time limit, which for a read ends with the first byte. Bodies have none here: sending or reading one
 * takes as long as the client takes.
 */
import { MINUTE } from '../durations.ts';
import { checksumOption, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { within } from './deadline.ts';

/** R2's limit for the parts of one multipart upload. */
export const MAX_PARTS = 10_000;

/** The least bytes of a part that is not the last (R2, "Multipart operations"). */
export const MIN_PART_BYTES = 5 * 1024 ** 2;

/** The most bytes for one `put`. R2 allows 5 GiB less 5 MiB; larger objects are written in parts. */
export const MAX_PUT_BYTES = 4.5 * 1024 ** 3;

/**
 * The time that R2 has to look something up, or to begin an object. It is short because another location may be
 * quicker.
 */
export const READ_MILLISECONDS = 10_000;
/** The time that R2 has to write up to one part of a blob, or to delete up to 1,000 objects. */
export const CHANGE_MILLISECONDS = MINUTE;

export type PutBody = ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;

/** The prefix of the keys of blobs and chunks. */
const PREFIX = 'blobs/';
/** The prefix of the keys of parts, in which mirrors keep blobs that are arriving. No row names them. */
export const PARTS_PREFIX = 'mirror/';

/** The largest object that R2 takes (R2, "Limits": 5 GiB less than 5 TiB). */
export const MAX_OBJECT_BYTES = 5 * 1024 ** 4 - 5 * 1024 ** 3;

/** A part of a blob, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** When it was written, in milliseconds since the epoch. */
  readonly uploaded: number;
}

/** An object, or a part of it. */
interface ObjectPart {
  /** Names the version of the object. */
  readonly etag: string;
  /** Bytes of the whole object. */
  readonly size: number;
  readonly body: ReadableStream<Uint8Array> | undefined;
}

export class Bucket {
  readonly #r2: R2Bucket;

  constructor(r2: R2Bucket) {
    this.#r2 = r2;
  }

  /** Returns the key for a new object. */
  newKey(): string {
    return `${PREFIX}${crypto.randomUUID()}`;
  }

  /**
   * Writes an object of known length. A stream's length is its request's Content-Length, or that of a
   * FixedLengthStream.
   * @param expected if given, R2 checks the content against it and stores nothing if they differ
   * @param handedOver settles once R2 has been given the whole stream, which starts R2's deadline. Without it, a stream
   *   has no deadline
   * @throws OciError DIGEST_INVALID, UNAVAILABLE
   */
  async put(key: string, body: PutBody, expected?: Digest, handedOver?: Promise<unknown>): Promise<void> {
    try {
      const stored = this.#r2.put(key, body, expected === undefined ? {} : checksumOption(expected));
      await boundedWrite(stored, body, handedOver);
    } catch (cause) {
      if (isChecksumMismatch(cause)) throw digestMismatch(expected);
      throw unavailable(cause);
    }
  }

  /**
   * Starts a multipart upload. Its parts have at least 5 MiB, and all but the last are equal.
   * @throws OciError UNAVAILABLE
   */
  async createMultipartUpload(key: string): Promise<MultipartUpload> {
    const created = this.#r2.createMultipartUpload(key);
    try {
      return boundedUpload(await within(CHANGE_MILLISECONDS, created, (late) => late.abort().catch(() => undefined)));
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /** Continues a multipart upload that an earlier run started. */
  resumeMultipartUpload(key: string, uploadId: string): MultipartUpload {
    return boundedUpload(this.#r2.resumeMultipartUpload(key, uploadId));
  }

  /**
   * Returns the bytes of an object, or a range of them; undefined if the object is gone.
   * @throws OciError UNAVAILABLE
   */
  async get(key: string, range?: ByteRange): Promise<ReadableStream<Uint8Array> | undefined> {
    try {
      const asked = this.#r2.get(key, range === undefined ? {} : { range });
      const object = await within(READ_MILLISECONDS, asked, (late) => late?.body.cancel().catch(() => undefined));
      return object?.body;
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /**
   * Returns a range of an object, or all of it, with its version; undefined if the object is gone.
   * @param etag the version that an earlier call has returned. If the object is another one by now, there is no body
   * @throws OciError UNAVAILABLE
   */
  async getPart(
    key: string,
    range: { readonly offset: number; readonly length: number } | undefined,
    etag: string | undefined,
  ): Promise<ObjectPart | undefined> {
    try {
      const options = { ...(range && { range }), ...(etag !== undefined && { onlyIf: { etagMatches: etag } }) };
      const asked: Promise<R2ObjectBody | R2Object | null> = this.#r2.get(key, options);
      const object = await within(READ_MILLISECONDS, asked, dropBody);
      if (object === null) return undefined;
      return { etag: object.etag, size: object.size, body: 'body' in object ? object.body : undefined };
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /** @throws OciError UNAVAILABLE */
  async exists(key: string): Promise<boolean> {
    return (await this.#head(key)) !== null;
  }

  /** Returns the bytes of an object; undefined if it is gone. @throws OciError UNAVAILABLE */
  async sizeOf(key: string): Promise<number | undefined> {
    return (await this.#head(key))?.size;
  }

  /**
   * Returns a page of at most 1,000 objects, ordered by key. R2 bills it as a write; only maintenance may call it,
   * never a request.
   * @param after the key to start after; '' for the beginning
   * @param prefix of the keys; that of blobs by default
   * @throws OciError UNAVAILABLE
   */
  async list(
    after: string,
    prefix = PREFIX,
  ): Promise<{ readonly objects: readonly ListedObject[]; readonly more: boolean }> {
    const asked = this.#r2.list({ prefix, ...(after === '' ? {} : { startAfter: after }) });
    const page = await within(READ_MILLISECONDS, asked).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    const objects = page.objects.map(({ key, size, uploaded }) => ({ key, size, uploaded: uploaded.getTime() }));
    return { objects, more: page.truncated };
  }

  async delete(keys: readonly string[]): Promise<void> {
    // R2 deletes at most 1,000 keys per call.
    for (let i = 0; i < keys.length; i += 1000)
      await within(CHANGE_MILLISECONDS, this.#r2.delete(keys.slice(i, i + 1000)));
  }

  /** Checks that R2 answers at all. @throws OciError UNAVAILABLE */
  async probe(): Promise<void> {
    await this.#head('healthz');
  }

  #head(key: string): Promise<R2Object | null> {
    return within(READ_MILLISECONDS, this.#r2.head(key)).catch((cause: unknown) => {
      throw unavailable(cause);
    });
  }
}

function dropBody(object: R2ObjectBody | R2Object | null): Promise<void> | undefined {
  return object !== null && 'body' in object ? object.body.cancel().catch(() => undefined) : undefined;
}

/** A multipart upload whose calls have a time limit. It throws R2's own errors, or UNAVAILABLE. */
export interface MultipartUpload extends Pick<R2MultipartUpload, 'uploadId' | 'complete' | 'abort'> {
  /**
   * Writes a part of known length.
   * @param handedOver as for {@link Bucket.put}, except that without it R2's deadline starts at once
   */
  uploadPart(number: number, body: PutBody, handedOver?: Promise<unknown>): Promise<R2UploadedPart>;
}

/** Limits the time of a write. For a stream, the time starts once R2 has been given all of it. */
function boundedWrite<Answer>(
  stored: Promise<Answer>,
  body: PutBody,
  handedOver: Promise<unknown> | undefined,
): Promise<Answer> {
  const bounded = () => within(CHANGE_MILLISECONDS, stored);
  if (!(body instanceof ReadableStream)) return bounded();
  return handedOver === undefined ? stored : Promise.race([stored, handedOver.then(bounded, bounded)]);
}

function boundedUpload(upload: R2MultipartUpload): MultipartUpload {
  return {
    uploadId: upload.uploadId,
    uploadPart: (number, body, handedOver = Promise.resolve()) =>
      boundedWrite(upload.uploadPart(number, body), body, handedOver),
    complete: (parts) => within(CHANGE_MILLISECONDS, upload.complete(parts)),
    abort: () => within(CHANGE_MILLISECONDS, upload.abort()),
  };
}

/** Returns the error for content that does not hash to its digest. */
export function digestMismatch(expected: Digest | undefined): OciError {
  return new OciError('DIGEST_INVALID', {
    message: 'the content does not hash to this digest: correct the digest, or send the content again',
    detail: { digest: expected },
  });
}

/** Returns whether R2 reports that a multipart upload does not exist (any more), or that its parts are wrong. */
export function isLostUpload(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025|10048)\)/.test(`${error.message} ${String(error.cause)}`);
}

/** R2's error 10037, "the checksum you specified did not match what we received". */
function isChecksumMismatch(error: unknown): boolean {
  return error instanceof Error && error.message.includes('(10037)');
}

/** Turns a failure of R2 into UNAVAILABLE, because a retry may succeed, even one in the middle of a body. */
export function unavailable(cause: unknown): OciError {
  return cause instanceof OciError ? cause : new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
}
