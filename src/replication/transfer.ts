/**
 * Copying an object from one bucket to another. Invariant 4: nothing counts as a blob's bytes before they were checked.
 * Small objects go through one `put` with R2's digest check. Large ones go in parts, with progress kept, and are read
 * back through a hash at the end: R2 does not check those.
 */
import { MINUTE } from '../durations.ts';
import { logLine } from '../log.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { Hash } from '../stores/uploads/blob-writer.ts';
import { type Bucket, CHANGE_MILLISECONDS } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import { PermanentError } from './machine.ts';
import type { Progress } from './queue-state.ts';

/** Bytes up to which an object is copied in one piece: what a failure can cost. */
export const WHOLE_BYTES = 64 * 1024 * 1024;

/**
 * Bytes of a part, the same as of those that uploads write. R2 wants at least 5 MiB, all equal but the last, and at
 * most 10,000. Between parts everybody else has a turn: where one thread does everything, as in the simulators, a part
 * is what an announcement can have to wait for.
 */
export const PART_BYTES = 8 * 1024 * 1024;

/** Bytes that are read back at once, to be hashed, before everybody else has a turn. */
const READ_BACK_BYTES = 16 * 1024 * 1024;

/** How long one object may take that is copied in one piece: as long as a run of the queue. */
const WHOLE_MILLISECONDS = 5 * MINUTE;

/** There was not enough time: the rest is for the next run. */
export class OutOfTime extends Error {
  override readonly name = 'OutOfTime';
}

export interface Transfer {
  /** Names the copy, for its progress: the blob, and where it goes. */
  readonly name: string;
  readonly from: Bucket;
  readonly key: string;
  readonly to: Bucket;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface ProgressKeeper {
  progress(copy: string): Progress | undefined;
  setProgress(copy: string, progress: Progress): void;
  forgetProgress(copy: string): void;
}

/**
 * Answers the key of the new object, whose bytes have the digest. Its progress is kept until the caller has written a
 * row for it: a failure on the way there finds the object again.
 * @param mayGoOn asked between parts
 * @throws PermanentError where they do not, OutOfTime, OciError UNAVAILABLE
 */
export async function transfer(object: Transfer, keeper: ProgressKeeper, mayGoOn: () => boolean): Promise<string> {
  try {
    return object.size <= WHOLE_BYTES
      ? await transferWhole(object, keeper)
      : await transferParts(object, keeper, mayGoOn);
  } catch (error) {
    if (error instanceof PermanentError || isLostUpload(error)) keeper.forgetProgress(object.name);
    // What R2 says otherwise may be different the next time, and is no fault of this object.
    const local =
      error instanceof OciError ||
      error instanceof OutOfTime ||
      error instanceof PermanentError ||
      error instanceof Gone;
    throw local || isLostUpload(error) ? error : new OciError('UNAVAILABLE', { cause: error });
  }
}

async function transferWhole({ name, from, key, to, digest }: Transfer, keeper: ProgressKeeper): Promise<string> {
  const copy = keeper.progress(name)?.key ?? to.newKey();
  // R2 has checked what an earlier attempt has left.
  if (keeper.progress(name) !== undefined && (await to.exists(copy))) return copy;
  const content = await from.get(key);
  if (content === undefined) throw new Gone();
  keeper.setProgress(name, { key: copy, parts: [] });
  try {
    await within(WHOLE_MILLISECONDS, to.put(copy, content, digest));
    return copy;
  } catch (error) {
    throw error instanceof OciError && error.kind === 'DIGEST_INVALID' ? wrongBytes(digest) : error;
  }
}

async function transferParts(
  { name, from, key, to, digest, size }: Transfer,
  keeper: ProgressKeeper,
  mayGoOn: () => boolean,
): Promise<string> {
  const kept = keeper.progress(name);
  const copy = kept?.key ?? to.newKey();
  const uploadId = kept?.uploadId ?? (await to.createMultipartUpload(copy)).uploadId;
  const parts = [...(kept?.parts ?? [])];
  keeper.setProgress(name, { key: copy, uploadId, parts });
  const upload = to.resumeMultipartUpload(copy, uploadId);
  const count = Math.ceil(size / PART_BYTES);
  for (let number = parts.length + 1; number <= count; number++) {
    if (!mayGoOn()) throw new OutOfTime('the copy goes on in the next run');
    const offset = (number - 1) * PART_BYTES;
    const content = await from.get(key, { offset, length: Math.min(PART_BYTES, size - offset) });
    if (content === undefined) throw new Gone();
    const { partNumber, etag } = await upload.uploadPart(number, content);
    parts.push({ partNumber, etag });
    keeper.setProgress(name, { key: copy, uploadId, parts });
    logLine({ copying: digest, key: copy, part: number, of: count });
    await othersTurn();
  }
  if (!(await to.exists(copy))) await upload.complete(parts);
  if ((await readBack(to, copy, digest, size)) === digest) return copy;
  await to.delete([copy]).catch(() => undefined);
  throw wrongBytes(digest);
}

/** The digest of what was written. */
async function readBack(bucket: Bucket, key: string, digest: Digest, size: number): Promise<Digest> {
  const hash = new Hash(algorithmOf(digest));
  try {
    for (let offset = 0; offset < size; offset += READ_BACK_BYTES) {
      const content = await bucket.get(key, { offset, length: Math.min(READ_BACK_BYTES, size - offset) });
      if (content === undefined) throw new Gone();
      await within(CHANGE_MILLISECONDS, hash.updateFrom(content));
      await othersTurn();
    }
    return await hash.digest();
  } catch (error) {
    hash.abandon(error);
    throw error;
  }
}

/**
 * Bytes that go from one bucket to another without a pause leave requests and timers waiting where all share a thread.
 */
async function othersTurn(): Promise<void> {
  await new Promise((done) => setTimeout(done));
}

/** Deletes what a copy has left that nobody needs any more, unless it is the object that is in use. */
export async function dropProgress(
  name: string,
  to: Bucket,
  inUse: string | undefined,
  keeper: ProgressKeeper,
): Promise<void> {
  const kept = keeper.progress(name);
  if (kept === undefined) return;
  if (kept.uploadId !== undefined)
    await to
      .resumeMultipartUpload(kept.key, kept.uploadId)
      .abort()
      .catch(() => undefined);
  if (kept.key !== inUse) await to.delete([kept.key]);
  keeper.forgetProgress(name);
}

/** R2's errors for a multipart upload that does not exist (any more), or whose parts are not what was said. */
function isLostUpload(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025|10048)\)/.test(`${error.message} ${String(error.cause)}`);
}

/** A location's object is not there. */
export class Gone extends Error {
  override readonly name = 'Gone';
  constructor() {
    super('the object that the location names is gone');
  }
}

function wrongBytes(digest: Digest): PermanentError {
  return new PermanentError(`the object that is said to be ${digest} has other bytes: it is not copied`);
}
