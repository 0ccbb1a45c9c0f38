/**
 * Chunks that are parts of one multipart upload, so that each byte is written once and closing the session reads
 * nothing. A first chunk of at least {@link MIN_PART_BYTES} sets the size of the parts. Each further chunk is one part,
 * or several if it is longer. R2 wants parts of equal size: after a shorter one, no other can follow.
 *
 * `upload-rows.ts` says how requests that race for one session keep out of each other's way.
 */
import { type Algorithm } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type ResumableHash, restoreHash, startHash } from '../../hashing/resumable-hash.ts';
import { CHANGE_MILLISECONDS, isLostUpload, MAX_PUT_BYTES, MIN_PART_BYTES, unavailable } from '../bucket.ts';
import { within } from '../deadline.ts';
import { PartsInFlight } from '../parts-in-flight.ts';
import type { Store } from '../store.ts';
import { type Body, READ_BYTES } from './blob-writer.ts';
import { STEP_BYTES } from './body-reader.ts';
import type { BufferBudget } from './buffer-budget.ts';
import { BufferedBody } from './buffered-body.ts';
import {
  type ChunkRow,
  insertMultipart,
  type PartEntry,
  reserveParts,
  sealUpload,
  selectUpload,
  type UploadIdentity,
  type UploadRow,
  type WrittenParts,
} from './upload-rows.ts';

/** The place of a chunk in a multipart upload: from part `first` on, in parts of `partSize` bytes. */
interface Place {
  readonly key: string;
  readonly uploadId: string;
  readonly first: number;
  readonly partSize: number;
}

/** A session's row, and the place of a chunk; undefined if the chunk cannot be parts. */
interface Reserved {
  readonly row: UploadRow | undefined;
  readonly place: Place | undefined;
}

/** Returns how many bytes a chunk has, as far as its request says. */
export function statedLength({ length, announced }: Body): number | undefined {
  return length ?? announced;
}

/** Tells whether the first chunk of a session can be the first part of a multipart upload. */
export function canBeFirstPart(length: number | undefined): length is number {
  return length !== undefined && length >= MIN_PART_BYTES && length <= MAX_PUT_BYTES;
}

export class MultipartChunks {
  readonly #store: Store;
  readonly #budget: BufferBudget;
  readonly #defer: (work: Promise<unknown>) => void;

  constructor(store: Store, budget: BufferBudget, defer: (work: Promise<unknown>) => void) {
    this.#store = store;
    this.#budget = budget;
    this.#defer = defer;
  }

  /**
   * Starts a multipart upload for a session without bytes, and records it before its first part.
   * @param blobs the limit of blobs
   */
  async begin(upload: UploadIdentity, length: number, blobs: number): Promise<Reserved> {
    const { bucket, database } = this.#store;
    const key = bucket.newKey();
    const created = await bucket.createMultipartUpload(key);
    const { uploadId } = created;
    const { reserved, session } = await database.batch(
      {
        insert: insertMultipart(upload, crypto.randomUUID(), { key, uploadId, size: length }, blobs),
        reserved: reserveParts(upload, 0, length),
        session: selectUpload(upload),
      },
      { again: true },
    );
    const [row] = session;
    if (row?.multipart !== uploadId) this.#defer(created.abort().catch(() => undefined));
    return { row, place: placeIn(row, reserved[0], length) };
  }

  /**
   * Reserves parts for a further chunk of a session that has `from` bytes. If the chunk cannot be parts, no later one
   * can, and the session's multipart upload can be completed.
   */
  async reserve(upload: UploadIdentity, from: number, length: number | undefined): Promise<Reserved> {
    const ask = (isSealed: boolean) =>
      this.#store.database.batch(
        {
          reserved: length === undefined || isSealed ? [] : [reserveParts(upload, from, length)],
          seal: length === undefined || isSealed ? [sealUpload(upload, from)] : [],
          session: selectUpload(upload),
        },
        { again: true },
      );
    const { reserved, session } = await ask(false);
    const [row] = session;
    const place = length === undefined ? undefined : placeIn(row, reserved[0], length);
    const hasTooManyParts = place === undefined && row?.state === 'open' && row.size === from && row.next_part !== null;
    return hasTooManyParts ? { row: (await ask(true)).session[0], place } : { row, place };
  }

  /**
   * Writes a chunk as parts, and hashes it.
   * @throws OciError CONTENT_RANGE_INVALID, CLIENT_GONE, BODY_STALLED, UPLOAD_UNKNOWN, UNAVAILABLE
   */
  async write(
    body: Body,
    length: number,
    { key, uploadId, first, partSize }: Place,
    row: UploadRow,
    algorithm: Algorithm,
  ): Promise<WrittenParts> {
    const hash = row.hash === null ? startHash(algorithm) : restoreHash(row.hash);
    const parts = new PartsInFlight(this.#store.bucket.resumeMultipartUpload(key, uploadId), first);
    try {
      await this.#pass(body, length, partSize, parts, hash);
      const entries = (await parts.finish()).map(({ partNumber, etag }): PartEntry => [partNumber, etag]);
      const [from, to] = [row.size, row.size + length];
      return { from, to, partSize, parts: entries, digest: hash.digest(), hash: hash.save() };
    } catch (cause) {
      await parts.settle();
      throw isLostUpload(cause) ? lost() : unavailable(cause);
    }
  }

  /**
   * Makes one object of a session's parts, unless an earlier request has done so. No part may follow any more.
   * @throws OciError UPLOAD_UNKNOWN if R2 has lost the parts, or the object lacks bytes; UNAVAILABLE
   */
  async complete({ key, multipart, size }: UploadRow, chunks: readonly ChunkRow[]): Promise<void> {
    if (key === null || multipart === null) return;
    const entries = chunks.flatMap(({ parts }) => (parts === null ? [] : (JSON.parse(parts) as PartEntry[])));
    const parts = entries.map(([partNumber, etag]) => ({ partNumber, etag }));
    // The hash is of the chunks as they arrived, so only the size shows whether the object has them all.
    if ((await this.#completedSize(key, multipart, parts)) !== size) throw lost();
  }

  /** Completes a multipart upload, unless that has been done, and returns the object's size in bytes. */
  async #completedSize(key: string, uploadId: string, parts: R2UploadedPart[]): Promise<number> {
    const { bucket } = this.#store;
    try {
      return (await bucket.resumeMultipartUpload(key, uploadId).complete(parts)).size;
    } catch (cause) {
      const size = await bucket.sizeOf(key);
      if (size !== undefined) return size;
      throw isLostUpload(cause) ? lost() : unavailable(cause);
    }
  }

  async #pass(body: Body, length: number, partSize: number, parts: PartsInFlight, hash: ResumableHash): Promise<void> {
    const buffered = new BufferedBody(body.stream, this.#budget, {
      sizes: [Math.min(STEP_BYTES, length), Math.min(READ_BYTES, length)],
      least: 0,
      givesWay: true,
      copies: 1,
      owner: body.owner,
    });
    let part: WritableStreamDefaultWriter<Uint8Array> | undefined;
    let [left, leftOfPart] = [length, 0];
    const put = async (bytes: Uint8Array): Promise<void> => {
      for (let rest = bytes; rest.byteLength > 0;) {
        if (part === undefined) {
          leftOfPart = Math.min(partSize, left);
          part = await parts.start(leftOfPart);
        }
        const taken = rest.subarray(0, leftOfPart);
        await within(CHANGE_MILLISECONDS, part.write(taken));
        rest = rest.subarray(taken.byteLength);
        left -= taken.byteLength;
        leftOfPart -= taken.byteLength;
        if (leftOfPart > 0) continue;
        await within(CHANGE_MILLISECONDS, part.close());
        part = undefined;
      }
    };
    try {
      for (let bytes = await buffered.read(); bytes !== undefined; bytes = await buffered.read()) {
        if (bytes.byteLength > left) throw new OciError('CONTENT_RANGE_INVALID');
        const written = put(bytes);
        hash.update(bytes);
        await written;
        buffered.reuse(bytes);
      }
      if (left > 0) throw new OciError('CONTENT_RANGE_INVALID');
    } catch (cause) {
      void part?.abort(cause).catch(() => undefined);
      if (cause instanceof OciError) throw cause;
      await parts.finish();
      throw cause;
    } finally {
      buffered.close();
    }
  }
}

function placeIn(
  row: UploadRow | undefined,
  reserved: { readonly after: number; readonly part_size: number | null } | undefined,
  length: number,
): Place | undefined {
  if (reserved === undefined || row?.key == null || row.multipart === null) return undefined;
  const partSize = reserved.part_size ?? length;
  return {
    key: row.key,
    uploadId: row.multipart,
    first: reserved.after - Math.ceil(length / partSize),
    partSize,
  };
}

function lost(): OciError {
  return new OciError('UPLOAD_UNKNOWN', { message: 'the parts of the upload are gone: start the upload again' });
}
