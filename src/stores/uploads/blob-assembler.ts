/**
 * Makes one object out of the bytes that a client sent, and checks its digest. This enforces invariant 4, together with
 * the comparison that `upload-rows.ts` makes for a single chunk. It discards objects that were written on the way and
 * are not needed in the end.
 */
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type BlobWriter, type Body, Hash, type Written } from './blob-writer.ts';
import { passBytes } from '../deadline.ts';
import { type Bucket, digestMismatch, MAX_PUT_BYTES, type PutBody, unavailable } from '../bucket.ts';

/** An object that becomes part of a blob, and its bytes. */
export interface Joined {
  readonly key: string;
  readonly size: number;
}

export class BlobAssembler {
  readonly #bucket: Bucket;
  readonly #writer: BlobWriter;
  readonly #discard: (keys: readonly string[]) => void;

  constructor(bucket: Bucket, writer: BlobWriter, discard: (keys: readonly string[]) => void) {
    this.#bucket = bucket;
    this.#writer = writer;
    this.#discard = discard;
  }

  /**
   * Writes a whole blob and returns its object, which matches the digest. @throws OciError DIGEST_INVALID, UNAVAILABLE
   */
  async fromBody(body: Body | undefined, digest: Digest): Promise<{ key: string; size: number }> {
    if (body === undefined) return { key: await this.#put(new Uint8Array(0), digest), size: 0 };
    if (body.length !== undefined && body.length <= MAX_PUT_BYTES) {
      return { key: await this.#putStream(body, body.length, digest), size: body.length };
    }
    const written = await this.#writer.write(body, algorithmOf(digest));
    return this.#single(written, digest);
  }

  /** Makes one object of the bytes that were written and hashed with the digest's own algorithm. */
  async #single(written: Written, digest: Digest): Promise<{ key: string; size: number }> {
    const [first, ...more] = written.pieces;
    if (written.digest !== digest) {
      this.#discard(written.pieces.map(({ key }) => key));
      throw digestMismatch(digest);
    }
    if (first !== undefined && more.length === 0) return { key: first.key, size: written.size };
    try {
      return { key: await this.join(written.pieces, undefined, written.size, digest), size: written.size };
    } finally {
      this.#discard(written.pieces.map(({ key }) => key));
    }
  }

  /** Streams the objects, and `last` after them, into one object of `size` bytes that matches the digest. */
  async join(pieces: readonly Joined[], last: Body | undefined, size: number, digest: Digest): Promise<string> {
    const known = size <= MAX_PUT_BYTES;
    const joined = known ? new FixedLengthStream(size) : new IdentityTransformStream();
    // A write that fails before it has read everything must not leave the pump waiting for room.
    const stopped = new AbortController();
    const stop = (cause: unknown): never => {
      stopped.abort(cause);
      void joined.writable.abort(cause).catch(() => undefined);
      throw cause;
    };
    const pumping = this.#pump(pieces, last, joined.writable, stopped.signal);
    const [pumped, written] = await Promise.allSettled([
      pumping,
      (known ? this.#put(joined.readable, digest, pumping) : this.#writeLarge(joined.readable, digest)).catch(stop),
    ]);
    // If a chunk is gone, the write fails as well. The client has to learn the reason, so the pump's error comes first.
    if (pumped.status === 'rejected' && pumped.reason instanceof OciError) throw pumped.reason;
    if (written.status === 'rejected') throw written.reason;
    return written.value;
  }

  async #writeLarge(stream: ReadableStream<Uint8Array>, digest: Digest): Promise<string> {
    const body = { stream, length: undefined };
    const written = await this.#writer.write(body, algorithmOf(digest), 'one object').catch((cause: unknown) => {
      // A body that ends early or stalls here comes from R2. The pump reports the client's own failures.
      const isOfBody = cause instanceof OciError && (cause.kind === 'CLIENT_GONE' || cause.kind === 'BODY_STALLED');
      throw isOfBody ? new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } }) : cause;
    });
    return (await this.#single(written, digest)).key;
  }

  /** Writes an object, which R2 checks. A failed write may have stored the object all the same, so it is deleted. */
  async #put(content: PutBody, digest: Digest, handedOver?: Promise<unknown>): Promise<string> {
    const key = this.#bucket.newKey();
    try {
      await this.#bucket.put(key, content, digest, handedOver);
    } catch (cause) {
      this.#discard([key]);
      throw cause;
    }
    return key;
  }

  /** Does the same as {@link BlobAssembler.#put} for a body that a client sends. */
  async #putStream(body: Body, length: number, digest: Digest): Promise<string> {
    const key = this.#bucket.newKey();
    try {
      await this.#writer.writeChecked(key, body, length, digest);
    } catch (cause) {
      this.#discard([key]);
      throw cause;
    }
    return key;
  }

  async #pump(
    pieces: readonly Joined[],
    last: Body | undefined,
    writable: WritableStream<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      for (const { key, size } of pieces) {
        const content = await this.#bucket.get(key);
        if (content === undefined)
          throw new OciError('UPLOAD_UNKNOWN', { message: 'a chunk of the upload is gone: start the upload again' });
        await passBytes(content, writable, size, { preventClose: true, signal });
      }
      if (last !== undefined) await this.#passLast(last, writable, signal);
      await writable.close();
    } catch (cause) {
      await writable.abort(cause).catch(() => undefined);
      throw cause;
    }
  }

  async #passLast(last: Body, writable: WritableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const writer = writable.getWriter();
    signal.addEventListener('abort', () => void writer.abort(signal.reason).catch(() => undefined));
    try {
      signal.throwIfAborted();
      await this.#writer.pass(last, last.length ?? 0, writer);
    } finally {
      writer.releaseLock();
    }
  }

  /**
   * Reads an object back and checks its digest, if it was hashed with another algorithm.
   * @throws OciError DIGEST_INVALID, UPLOAD_UNKNOWN, UNAVAILABLE
   */
  async verify(key: string, digest: Digest, size: number): Promise<void> {
    const content = await this.#bucket.get(key);
    if (content === undefined)
      throw new OciError('UPLOAD_UNKNOWN', { message: 'the chunk of the upload is gone: start the upload again' });
    const actual = await Hash.of(algorithmOf(digest), content, size).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    if (actual !== digest) throw digestMismatch(digest);
  }
}
