/**
 * Makes one object out of what a client sent, and answers for its digest: invariant 4 is kept here and in the
 * comparison that `upload-rows.ts` makes for a single chunk. What is written on the way and not needed in the end is
 * discarded.
 */
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type BlobWriter, type Body, Hash, type Piece, type Written } from './blob-writer.ts';
import { type Bucket, digestMismatch, MAX_PUT_BYTES, type PutBody, unavailable } from '../bucket.ts';

export class BlobAssembler {
  readonly #bucket: Bucket;
  readonly #writer: BlobWriter;
  readonly #discard: (keys: readonly string[]) => void;

  constructor(bucket: Bucket, writer: BlobWriter, discard: (keys: readonly string[]) => void) {
    this.#bucket = bucket;
    this.#writer = writer;
    this.#discard = discard;
  }

  /** Writes a whole blob and answers its object, which has the digest. @throws OciError DIGEST_INVALID, UNAVAILABLE */
  async fromBody(body: Body | undefined, digest: Digest): Promise<{ key: string; size: number }> {
    if (body === undefined) return { key: await this.#put(new Uint8Array(0), digest), size: 0 };
    if (body.length !== undefined && body.length <= MAX_PUT_BYTES) {
      return { key: await this.#putStream(body.stream, body.length, digest), size: body.length };
    }
    const written = await this.#writer.write(body, algorithmOf(digest));
    return this.#single(written, digest);
  }

  /** One object out of what was written with the digest's own algorithm. */
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

  /** Streams the pieces, and `last` after them, into one object of `size` bytes that has the digest. */
  async join(pieces: readonly Piece[], last: Body | undefined, size: number, digest: Digest): Promise<string> {
    const known = size <= MAX_PUT_BYTES;
    const joined = known ? new FixedLengthStream(size) : new IdentityTransformStream();
    // A write that fails without reading on must not leave the pump waiting for room.
    const stopped = new AbortController();
    const stop = (cause: unknown): never => {
      stopped.abort(cause);
      void joined.writable.abort(cause).catch(() => undefined);
      throw cause;
    };
    const given = this.#pump(pieces, last, joined.writable, stopped.signal);
    const [pumped, written] = await Promise.allSettled([
      given,
      (known ? this.#put(joined.readable, digest, given) : this.#writeLarge(joined.readable, digest)).catch(stop),
    ]);
    // A chunk that is gone fails the write as well: what the client has to know is why.
    if (pumped.status === 'rejected' && pumped.reason instanceof OciError) throw pumped.reason;
    if (written.status === 'rejected') throw written.reason;
    return written.value;
  }

  async #writeLarge(stream: ReadableStream<Uint8Array>, digest: Digest): Promise<string> {
    const body = { stream, length: undefined };
    const written = await this.#writer.write(body, algorithmOf(digest), 'one object').catch((cause: unknown) => {
      // What breaks off or stalls here is R2: of the client's part of it, the pump tells.
      const isOfBody = cause instanceof OciError && (cause.kind === 'CLIENT_GONE' || cause.kind === 'BODY_STALLED');
      throw isOfBody ? new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } }) : cause;
    });
    return (await this.#single(written, digest)).key;
  }

  /** An object that R2 has checked. One that failed may be there all the same: it is deleted. */
  async #put(content: PutBody, digest: Digest, given?: Promise<unknown>): Promise<string> {
    const key = this.#bucket.newKey();
    try {
      await this.#bucket.put(key, content, digest, given);
    } catch (cause) {
      this.#discard([key]);
      throw cause;
    }
    return key;
  }

  /** As {@link BlobAssembler.#put}, of a body that a client sends. */
  async #putStream(stream: ReadableStream<Uint8Array>, length: number, digest: Digest): Promise<string> {
    const key = this.#bucket.newKey();
    try {
      await this.#writer.writeChecked(key, stream, length, digest);
    } catch (cause) {
      this.#discard([key]);
      throw cause;
    }
    return key;
  }

  async #pump(
    pieces: readonly Piece[],
    last: Body | undefined,
    writable: WritableStream<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      for (const { key } of pieces) {
        const content = await this.#bucket.get(key);
        if (content === undefined)
          throw new OciError('UPLOAD_UNKNOWN', { message: 'a chunk of the upload is gone: start it again' });
        await content.pipeTo(writable, { preventClose: true, signal });
      }
      if (last !== undefined) await this.#passLast(last, writable, signal);
      await writable.close();
    } catch (cause) {
      await writable.abort(cause).catch(() => undefined);
      throw cause;
    }
  }

  async #passLast({ stream, length }: Body, writable: WritableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const writer = writable.getWriter();
    signal.addEventListener('abort', () => void writer.abort(signal.reason).catch(() => undefined));
    try {
      signal.throwIfAborted();
      await this.#writer.pass(stream, length ?? 0, writer);
    } finally {
      writer.releaseLock();
    }
  }

  /** Reads an object back, where it was hashed with another algorithm. @throws OciError DIGEST_INVALID, UNAVAILABLE */
  async verify(key: string, digest: Digest): Promise<void> {
    const content = await this.#bucket.get(key);
    if (content === undefined)
      throw new OciError('UPLOAD_UNKNOWN', { message: 'the chunk of the upload is gone: start it again' });
    const actual = await Hash.of(algorithmOf(digest), content).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    if (actual !== digest) throw digestMismatch(digest);
  }
}
