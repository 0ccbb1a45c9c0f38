/**
 * Copying an object from one bucket to another. Invariant 4: nothing counts as a blob's bytes before they were checked.
 * Small objects go through one `put` with R2's digest check. Large ones go in parts, with progress kept, and are read
 * once through a hash at the end: R2 does not check those.
 */
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { Hash } from '../stores/blob-writer.ts';
import type { Bucket } from '../stores/bucket.ts';
import { Hopeless } from './machine.ts';
import type { Progress } from './queue-state.ts';

/** Bytes up to which an object is copied in one piece: what a failure can cost. */
export const WHOLE_BYTES = 64 * 1024 * 1024;

/** Bytes of a part. R2 wants at least 5 MiB, all equal but the last, and at most 10,000. */
export const PART_BYTES = 32 * 1024 * 1024;

/** There was not enough time: the rest is for the next run. */
export class OutOfTime extends Error {
  override readonly name = 'OutOfTime';
}

export interface Transfer {
  readonly from: Bucket;
  readonly key: string;
  readonly to: Bucket;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface ProgressKeeper {
  progress(digest: Digest): Progress | undefined;
  setProgress(digest: Digest, progress: Progress): void;
  forgetProgress(digest: Digest): void;
}

/**
 * Answers the key of the new object, whose bytes have the digest.
 * @param mayGoOn asked between parts
 * @throws Hopeless where they do not, OutOfTime, OciError UNAVAILABLE
 */
export async function transfer(object: Transfer, keeper: ProgressKeeper, mayGoOn: () => boolean): Promise<string> {
  return object.size <= WHOLE_BYTES ? transferWhole(object) : transferParts(object, keeper, mayGoOn);
}

async function transferWhole({ from, key, to, digest }: Transfer): Promise<string> {
  const content = await from.get(key);
  if (content === undefined) throw gone();
  const copy = to.newKey();
  try {
    await to.put(copy, content, digest);
    return copy;
  } catch (error) {
    // One that failed may be there all the same.
    await to.delete([copy]).catch(() => undefined);
    throw error instanceof OciError && error.kind === 'DIGEST_INVALID' ? wrongBytes(digest) : error;
  }
}

async function transferParts(
  { from, key, to, digest, size }: Transfer,
  keeper: ProgressKeeper,
  mayGoOn: () => boolean,
): Promise<string> {
  const kept = keeper.progress(digest);
  const copy = kept?.key ?? to.newKey();
  const uploadId = kept?.uploadId ?? (await to.createMultipartUpload(copy)).uploadId;
  const parts = [...(kept?.parts ?? [])];
  keeper.setProgress(digest, { key: copy, uploadId, parts });
  const upload = to.resumeMultipartUpload(copy, uploadId);
  const count = Math.ceil(size / PART_BYTES);
  try {
    for (let number = parts.length + 1; number <= count; number++) {
      if (!mayGoOn()) throw new OutOfTime('the copy goes on in the next run');
      const offset = (number - 1) * PART_BYTES;
      const content = await from.get(key, { offset, length: Math.min(PART_BYTES, size - offset) });
      if (content === undefined) throw gone();
      const { partNumber, etag } = await upload.uploadPart(number, content);
      parts.push({ partNumber, etag });
      keeper.setProgress(digest, { key: copy, uploadId, parts });
      console.log(JSON.stringify({ copying: digest, key: copy, part: number, of: count }));
    }
    if (!(await to.exists(copy))) await upload.complete(parts);
  } catch (error) {
    if (isLostUpload(error)) keeper.forgetProgress(digest);
    throw error;
  }
  const written = await to.get(copy);
  const actual = written === undefined ? undefined : await Hash.of(algorithmOf(digest), written);
  keeper.forgetProgress(digest);
  if (actual === digest) return copy;
  await to.delete([copy]).catch(() => undefined);
  throw wrongBytes(digest);
}

/** R2's errors for a multipart upload that does not exist (any more), or whose parts are not what was said. */
function isLostUpload(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025|10048)\)/.test(`${error.message} ${String(error.cause)}`);
}

function gone(): Error {
  return new Error('the object that the location names is gone');
}

function wrongBytes(digest: Digest): Hopeless {
  return new Hopeless(`the object that is said to be ${digest} has other bytes: it is not copied`);
}
