/**
 * Compares a blob's object with its digest, one part after the other. Between two parts, the state of the hash is text
 * that another run can go on from. The bytes are hashed twice before they count as wrong, since the first reading may
 * have been corrupted in transit.
 */
import { type ResumableHash, restoreHash, startHash } from '../../hashing/resumable-hash.ts';
import { logFailure } from '../../log.ts';
import { type Algorithm, algorithmOf, type Digest } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { type Bucket, CHANGE_MILLISECONDS, unavailable } from '../../stores/bucket.ts';
import { within } from '../../stores/deadline.ts';
import { BodyReader } from '../../stores/uploads/body-reader.ts';
import { Hash } from '../../stores/uploads/blob-writer.ts';
import type { Location } from './scrub-rows.ts';

/** The most bytes of a part: a run that is killed loses one part. An object that fits one part is hashed natively. */
export const PART_BYTES = 256 * 1024 * 1024;

/** The buffer through which a part is read. */
const BUFFER_BYTES = 128 * 1024;

/** An object of which a part is still to be read. */
export interface Reading {
  readonly key: string;
  /** The version of the object. If the object is replaced, it is read from the start. */
  readonly etag: string;
  /** Where the next part begins, in bytes. */
  readonly offset: number;
  /** The state of the hash, as `ResumableHash.save` returns it. */
  readonly hash: string;
  /** Whole readings that gave bytes of another digest. */
  readonly mismatches: number;
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
  const { offset = 0, mismatches = 0 } = reading ?? {};
  // An empty object has no range.
  const range = blob.size === 0 ? undefined : { offset, length: partBytes };
  const found = await bucket.getPart(key, range, reading?.etag);
  if (found === undefined) return 'missing';
  const { etag, size, body } = found;
  if (body === undefined) return readPart(bucket, blob, undefined, partBytes);
  const algorithm = algorithmOf(digest);
  let actual: Digest;
  if (offset === 0 && size <= partBytes) {
    actual = await hashWhole(algorithm, body);
  } else {
    const hash = reading === undefined ? startHash(algorithm) : restoreHash(reading.hash);
    const end = Math.min(offset + partBytes, size);
    if (offset + (await addTo(hash, body)) !== end)
      throw unavailable(new Error(`the object of ${digest} has ended early`));
    if (end < size) return { key, etag, offset: end, hash: hash.save(), mismatches };
    actual = hash.digest();
  }
  if (actual === digest) return 'sound';
  if (mismatches === 0) return { key, etag, offset: 0, hash: startHash(algorithm).save(), mismatches: 1 };
  logFailure({ damaged: digest, key, actual });
  return 'wrong bytes';
}

function hashWhole(algorithm: Algorithm, body: ReadableStream<Uint8Array>): Promise<Digest> {
  return within(CHANGE_MILLISECONDS, Hash.of(algorithm, body)).catch((cause: unknown) => {
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
