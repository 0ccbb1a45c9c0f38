/**
 * Writes the body of a request to R2 once, and hashes it natively on the way, within bounded memory.
 *
 * Each read fills a buffer that is on loan from the isolate's budget and is used again. The bytes go to the hash and to
 * R2 at the same time. The buffer starts small, and grows once the body has filled it.
 *
 * - Length known: one `put` of a FixedLengthStream.
 * - Length unknown: one `put` if the body fits into one part, otherwise a multipart upload of equal parts, several of
 *   which are under way at once.
 * - Length unknown, and slow while others wait for room: the bytes that have arrived become an object, and the rest
 *   becomes others. They become one blob when the upload is closed, as separate chunks do.
 */
import { type Algorithm, type Digest, digestFromHash, webCryptoName } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type Bucket, CHANGE_MILLISECONDS, MAX_PARTS, MAX_PUT_BYTES } from '../bucket.ts';
import { STEP_BYTES } from './body-reader.ts';
import { BufferedBody } from './buffered-body.ts';
import { type BufferBudget, PART_BYTES, PATIENCE_MILLISECONDS, SMALL_BYTES } from './buffer-budget.ts';
import { PARTS_AT_ONCE, PartsInFlight } from '../parts-in-flight.ts';
import { passBytes, within } from '../deadline.ts';

/** A request's body. `length` is its Content-Length, if it has one. */
export interface Body {
  readonly stream: ReadableStream<Uint8Array>;
  readonly length: number | undefined;
  /** The length that its Content-Range states, if it has no Content-Length. */
  readonly announced?: number | undefined;
  /** The organization that it belongs to; unset for bytes that come from a store. */
  readonly owner?: string | undefined;
}

/** One of the objects that hold the written bytes. `start` is its offset within the whole. */
export interface Piece {
  readonly start: number;
  readonly size: number;
  readonly key: string;
}

export interface Written {
  readonly pieces: readonly Piece[];
  readonly size: number;
  readonly digest: Digest;
}

/** The size of the buffer through which a body streams into one `put`. */
export const READ_BYTES = 1024 * 1024;

const TOO_LARGE = 'the blob is larger than 48 GiB: split it into smaller blobs';

export class BlobWriter {
  readonly #bucket: Bucket;
  readonly #budget: BufferBudget;

  constructor(bucket: Bucket, budget: BufferBudget) {
    this.#bucket = bucket;
    this.#budget = budget;
  }

  /**
   * Writes all of `body`; if it fails, it leaves no object behind.
   * @param as 'pieces' allows several objects if the body is slow while others wait for room
   * @throws OciError UNAVAILABLE, SIZE_INVALID, CONTENT_RANGE_INVALID, CLIENT_GONE, BODY_STALLED
   */
  async write(body: Body, algorithm: Algorithm, as: 'one object' | 'pieces' = 'pieces'): Promise<Written> {
    const hash = new Hash(algorithm);
    const pieces: Piece[] = [];
    // Recorded before they are written, because a failed write may have stored its object all the same.
    const keys: string[] = [];
    const newKey = (): string => {
      const key = this.#bucket.newKey();
      keys.push(key);
      return key;
    };
    try {
      if (body.length !== undefined && body.length <= MAX_PUT_BYTES)
        await this.#writeKnown(body, body.length, hash, pieces, newKey);
      else await this.#writeUnknown(body, hash, pieces, newKey, as);
      const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
      if (body.announced !== undefined && body.announced !== size) throw new OciError('CONTENT_RANGE_INVALID');
      return { pieces, size, digest: await hash.digest() };
    } catch (cause) {
      hash.abandon(cause);
      await this.#bucket.delete(keys).catch(() => undefined);
      throw cause instanceof OciError ? cause : new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
    }
  }

  /**
   * Writes a body of known length into one object, which R2 checks against the digest.
   * @throws OciError DIGEST_INVALID, UNAVAILABLE, CLIENT_GONE, BODY_STALLED
   */
  async writeChecked(key: string, body: Body, length: number, digest: Digest): Promise<void> {
    await this.#stream(key, body, length, undefined, digest);
  }

  async #writeKnown(body: Body, length: number, hash: Hash, pieces: Piece[], newKey: () => string): Promise<void> {
    const key = newKey();
    await this.#stream(key, body, length, (bytes) => hash.update(bytes));
    pieces.push({ start: 0, size: length, key });
  }

  async #stream(
    key: string,
    body: Body,
    length: number,
    also: ((bytes: Uint8Array<ArrayBuffer>) => Promise<void>) | undefined,
    expected?: Digest,
  ): Promise<void> {
    const fixed = new FixedLengthStream(length);
    const writer = fixed.writable.getWriter();
    const abort = (cause: unknown): never => {
      void writer.abort(cause).catch(() => undefined);
      throw cause;
    };
    const pump = async (): Promise<void> => {
      await this.pass(body, length, writer, also);
      await within(CHANGE_MILLISECONDS, writer.close());
    };
    const pumping = pump();
    const put = this.#bucket.put(key, fixed.readable, expected, pumping);
    const [pumped, stored] = await Promise.allSettled([
      pumping.catch((cause: unknown) => abort(cause)),
      put.catch((cause: unknown) => abort(cause)),
    ]);
    // If the body ends early, the write fails as well. The body's error is the cause, so it comes first.
    if (pumped.status === 'rejected' && pumped.reason instanceof OciError) throw pumped.reason;
    if (stored.status === 'rejected') throw stored.reason;
    if (pumped.status === 'rejected') throw pumped.reason;
  }

  /**
   * Passes a body on to a writer, through one buffer.
   * @param length in bytes
   * @param also receives each piece as well
   * @throws OciError CLIENT_GONE, BODY_STALLED, UNAVAILABLE
   */
  async pass(
    { stream, owner }: Body,
    length: number,
    writer: WritableStreamDefaultWriter<Uint8Array>,
    also: (bytes: Uint8Array<ArrayBuffer>) => Promise<void> = async () => undefined,
  ): Promise<void> {
    const body = new BufferedBody(stream, this.#budget, {
      sizes: [Math.min(STEP_BYTES, length), Math.min(READ_BYTES, length)],
      least: 0,
      givesWay: true,
      copies: 1,
      owner,
    });
    try {
      for (let bytes = await body.read(); bytes !== undefined; bytes = await body.read()) {
        // The client may be slow between two reads, but R2 must take the bytes of each in time.
        await Promise.all([also(bytes), within(CHANGE_MILLISECONDS, writer.write(bytes))]);
        body.reuse(bytes);
      }
    } finally {
      body.close();
    }
  }

  async #writeUnknown(
    { stream, owner }: Body,
    hash: Hash,
    pieces: Piece[],
    newKey: () => string,
    as: 'one object' | 'pieces',
  ): Promise<void> {
    const body = new BufferedBody(stream, this.#budget, {
      sizes: [STEP_BYTES, SMALL_BYTES, PART_BYTES],
      least: PART_BYTES,
      givesWay: as === 'pieces',
      patience: PATIENCE_MILLISECONDS,
      copies: 1,
      owner,
    });
    try {
      let start = 0;
      for (let bytes = await body.read(); bytes !== undefined; bytes = await body.read()) {
        if (bytes.byteLength === PART_BYTES && pieces.length === 0 && (await body.hasMore())) {
          const piece = await this.#writeParts(body, bytes, hash, newKey);
          pieces.push(piece);
          start = piece.size;
          continue;
        }
        const key = newKey();
        await settleBoth(this.#putPiece(key, bytes), hash.update(bytes));
        pieces.push({ start, size: bytes.byteLength, key });
        start += bytes.byteLength;
        body.reuse(bytes);
      }
    } finally {
      body.close();
    }
  }

  async #writeParts(
    body: BufferedBody,
    first: Uint8Array<ArrayBuffer>,
    hash: Hash,
    newKey: () => string,
  ): Promise<Piece> {
    const key = newKey();
    const upload = await this.#bucket.createMultipartUpload(key);
    const parts = new PartsInFlight(upload);
    const inUse = new Set<Promise<void>>();
    let failure: { readonly cause: unknown } | undefined;
    const useUp = (bytes: Uint8Array<ArrayBuffer>): void => {
      const used = settleBoth(parts.write(bytes), hash.update(bytes))
        .catch((cause: unknown) => void (failure ??= { cause }))
        .then(() => body.reuse(bytes))
        .finally(() => inUse.delete(used));
      inUse.add(used);
    };
    try {
      let size = 0;
      for (let bytes: Uint8Array<ArrayBuffer> | undefined = first; bytes !== undefined; bytes = await body.read()) {
        if (size === MAX_PARTS * PART_BYTES) throw new OciError('SIZE_INVALID', { message: TOO_LARGE });
        useUp(bytes);
        size += bytes.byteLength;
        // A part that is shorter must be the last one. If the body goes on, the rest is written in pieces.
        if (bytes.byteLength < PART_BYTES) break;
        while (!body.isReady && (inUse.size >= PARTS_AT_ONCE || !body.tryAnother())) await Promise.race(inUse);
        if (failure !== undefined) throw failure.cause;
      }
      await Promise.all(inUse);
      if (failure !== undefined) throw failure.cause;
      await upload.complete(await parts.finish());
      return { start: 0, size, key };
    } catch (cause) {
      // No buffer may be given back while it is in use.
      await Promise.all(inUse);
      await parts.settle();
      await upload.abort().catch(() => undefined);
      throw cause;
    }
  }

  /** Writes one object. R2's binding copies bytes that it is given, so large ones are given as a stream. */
  async #putPiece(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (bytes.byteLength <= SMALL_BYTES) return this.#bucket.put(key, bytes);
    const { readable, writable } = new FixedLengthStream(bytes.byteLength);
    const writer = writable.getWriter();
    const handedOver = writer.write(bytes).then(() => writer.close());
    try {
      await settleBoth(this.#bucket.put(key, readable, undefined, handedOver), handedOver);
    } catch (cause) {
      void writer.abort(cause).catch(() => undefined);
      throw cause;
    }
  }
}

/** Hashes a stream of bytes natively. */
export class Hash {
  readonly #algorithm: Algorithm;
  readonly #stream: DigestStream;
  #writer: WritableStreamDefaultWriter<ArrayBuffer | ArrayBufferView>;

  constructor(algorithm: Algorithm) {
    this.#algorithm = algorithm;
    this.#stream = new crypto.DigestStream(webCryptoName(algorithm));
    this.#writer = this.#stream.getWriter();
    // An abandoned hash rejects its digest, when nobody may be listening any more.
    this.#stream.digest.catch(() => undefined);
  }

  /**
   * Returns the digest of an object's content, whose bytes are dropped.
   * @param size the size of the content, in bytes
   * @throws OciError UNAVAILABLE if the store takes too long for them
   */
  static async of(algorithm: Algorithm, content: ReadableStream<Uint8Array>, size: number): Promise<Digest> {
    const stream = new crypto.DigestStream(webCryptoName(algorithm));
    // If the content ends early, the digest rejects as well, and nobody listens to it.
    stream.digest.catch(() => undefined);
    await passBytes(content, stream, size);
    return digestFromHash(algorithm, await stream.digest);
  }

  async update(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#writer.write(bytes);
  }

  /** Adds all of a stream to the hash. */
  async updateFrom(content: ReadableStream<Uint8Array>): Promise<void> {
    this.#writer.releaseLock();
    try {
      await content.pipeTo(this.#stream, { preventClose: true });
    } finally {
      this.#writer = this.#stream.getWriter();
    }
  }

  async digest(): Promise<Digest> {
    await this.#writer.close();
    return digestFromHash(this.#algorithm, await this.#stream.digest);
  }

  abandon(cause: unknown): void {
    void this.#writer.abort(cause).catch(() => undefined);
  }
}

/** Waits until both have settled, so that nothing still reads a buffer, and then throws the first failure. */
async function settleBoth<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return [first.value, second.value];
}
