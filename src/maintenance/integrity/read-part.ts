/**
 * Compares a blob's object with its digest, one part after the other. Between two parts, the state of the hash is text
 * from which another run can continue. The bytes are hashed twice before they count as wrong, since the first reading
 * may have been corrupted in transit.
 */
import { type ResumableHash, restoreHash, startHash } from '../../hashing/resumable-hash.ts';
import { logFailure } from '../../log.ts';
import { type Algorithm, algorithmOf, type Digest } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { type Bucket, unavailable } from '../../stores/bucket.ts';
import { BodyReader } from '../../stores/uploads/body-reader.ts';
import { Hash } from '../../stores/uploads/blob-writer.ts';
import type { Location } from './scrub-rows.ts';

/** The most bytes of a part: a run that is killed loses one part. An object that fits one part is hashed natively. */
export const PART_BYTES = 256 * 1024 * 1024;

/** The buffer through which a part is read. */
const BUFFER_BYTES = 128 * 1024;

/** An object of which a part is still to be hashed. */
export interface Hashing {
  readonly key: string;
  /** The version of the object. If the object is replaced, it is read from the start. */
  readonly etag: string;
  /** The start of the next part, in bytes. */
  readonly offset: number;
  /** The state of the hash, as `ResumableHash.save` returns it. */
  readonly hash: string;
}

/** An object that was hashed to its end. */
interface Hashed {
  readonly etag: string;
  readonly digest: Digest;
}

/** A blob whose object is still being compared with its digest. */
export interface Reading extends Hashing {
  /** Whole readings that gave bytes of another digest. */
  readonly mismatches: number;
}

/**
 * Hashes the next part of an object.
 * @param begun what the last call returned for this object; undefined to start
 * @returns how to go on, or the digest; undefined if the object is gone
 * @throws OciError UNAVAILABLE if the object cannot be read now
 */
export async function hashPart(
  bucket: Bucket,
  object: { readonly key: string; readonly size: number },
  algorithm: Algorithm,
  begun: Hashing | undefined,
  partBytes: number,
): Promise<Hashing | Hashed | undefined> {
  const { key } = object;
  const { offset = 0 } = begun ?? {};
  // An empty object has no range.
  const range = object.size === 0 ? undefined : { offset, length: partBytes };
  const found = await bucket.getPart(key, range, begun?.etag);
  if (found === undefined) return undefined;
  const { etag, size, body } = found;
  if (body === undefined) return hashPart(bucket, object, algorithm, undefined, partBytes);
  if (offset === 0 && size <= partBytes) return { etag, digest: await hashWhole(algorithm, body, size) };
  const hash = begun === undefined ? startHash(algorithm) : restoreHash(begun.hash);
  const end = Math.min(offset + partBytes, size);
  if (offset + (await addTo(hash, body)) !== end) throw unavailable(new Error(`the object ${key} has ended early`));
  return end < size ? { key, etag, offset: end, hash: hash.save() } : { etag, digest: hash.digest() };
}

/**
 * Reads the next part of a blob's object.
 * @param reading what the last call returned for this object; undefined to start
 * @returns how to go on, or what is now known of the object
 * @throws OciError UNAVAILABLE if the object cannot be read now, which does not tell whether it is damaged
 */
export async function readPart(
  bucket: Bucket,
  blob: Location,
  reading: Reading | undefined,
  partBytes: number,
): Promise<Reading | 'sound' | Damage> {
  const { digest, key } = blob;
  const algorithm = algorithmOf(digest);
  const read = await hashPart(bucket, blob, algorithm, reading, partBytes);
  if (read === undefined) return 'missing';
  const { etag } = read;
  const mismatches = reading?.etag === etag ? reading.mismatches : 0;
  if (!('digest' in read)) return { ...read, mismatches };
  if (read.digest === digest) return 'sound';
  if (mismatches === 0) return { key, etag, offset: 0, hash: startHash(algorithm).save(), mismatches: 1 };
  logFailure({ damaged: digest, key, actual: read.digest });
  return 'wrong bytes';
}

function hashWhole(algorithm: Algorithm, body: ReadableStream<Uint8Array>, size: number): Promise<Digest> {
  return Hash.of(algorithm, body, size).catch((cause: unknown) => {
    throw unavailable(cause);
  });
}

/** Hashes a part. Returns its bytes. */
async function addTo(hash: ResumableHash, body: ReadableStream<Uint8Array>): Promise<number> {
  const reader = new BodyReader(body);
  let buffer = new ArrayBuffer(BUFFER_BYTES);
  for (let bytes = 0; ;) {
    const piece = await reader.fill(buffer);
    if (piece.byteLength === 0) return bytes;
    hash.update(piece);
    bytes += piece.byteLength;
    buffer = piece.buffer;
  }
}
