/**
 * Copies an object from one bucket to another. Invariant 4: an object's bytes are checked before they count as a blob.
 * A small object is copied in one `put` with R2's digest check. A large object is read once and written in parts,
 * several of which are under way at once, with its progress kept. R2 does not check the digest of such an object, so
 * its bytes are hashed while they pass. The state of the native hash cannot be saved: if another run continues the
 * copy, the object is read back and hashed at the end.
 */
import { MINUTE } from '../durations.ts';
import { logLine } from '../log.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { Hash } from '../stores/uploads/blob-writer.ts';
import { type Bucket, CHANGE_MILLISECONDS, isLostUpload, type MultipartUpload } from '../stores/bucket.ts';
import { within } from '../stores/deadline.ts';
import { PartsInFlight } from '../stores/parts-in-flight.ts';
import { OutOfTime, PermanentError } from './machine.ts';
import type { Progress } from './queue-state.ts';
import { SourceReader } from './source-reader.ts';

/** The most bytes of an object that is copied in one piece. A failure can cost as much as this. */
export const WHOLE_BYTES = 64 * 1024 * 1024;

/**
 * Bytes of a part, as in uploads. R2 requires parts of at least 5 MiB, all equal except the last, and at most 10,000 of
 * them. Other work gets a turn between parts. If everything shares one thread, as in the simulators, an announcement
 * waits for one part at most.
 */
export const PART_BYTES = 8 * 1024 * 1024;

/** The bytes that are read back and hashed before other work gets a turn. */
const READ_BACK_BYTES = 16 * 1024 * 1024;

/** The longest that copying an object in one piece may take: as long as a run of the queue. */
const WHOLE_MILLISECONDS = 5 * MINUTE;

export interface Transfer {
  /** The name under which the progress is kept: the blob and the direction. */
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
 * Copies an object, and checks that the bytes have the digest. The progress is kept until the caller has written a row
 * for the new object, so that a failure before that does not lose the object.
 * @param mayGoOn called between parts
 * @returns the key of the new object
 * @throws PermanentError if the bytes do not have the digest; OutOfTime; Gone; OciError UNAVAILABLE
 */
export async function transfer(object: Transfer, keeper: ProgressKeeper, mayGoOn: () => boolean): Promise<string> {
  try {
    return object.size <= WHOLE_BYTES
      ? await transferWhole(object, keeper)
      : await transferParts(object, keeper, mayGoOn);
  } catch (error) {
    if (error instanceof PermanentError || isLostUpload(error)) keeper.forgetProgress(object.name);
    // Any other error is R2's. It is not the object's fault, and may not happen the next time.
    const isKnown =
      error instanceof OciError ||
      error instanceof OutOfTime ||
      error instanceof PermanentError ||
      error instanceof Gone;
    throw isKnown || isLostUpload(error) ? error : new OciError('UNAVAILABLE', { cause: error });
  }
}

async function transferWhole({ name, from, key, to, digest }: Transfer, keeper: ProgressKeeper): Promise<string> {
  const copy = keeper.progress(name)?.key ?? to.newKey();
  // An object that an earlier attempt has left is complete, and R2 has checked it.
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

async function transferParts(object: Transfer, keeper: ProgressKeeper, mayGoOn: () => boolean): Promise<string> {
  const { name, to, digest, size } = object;
  const kept = keeper.progress(name);
  const copy = kept?.key ?? to.newKey();
  const uploadId = kept?.uploadId ?? (await to.createMultipartUpload(copy)).uploadId;
  const parts = new PartsDone(kept?.parts ?? [], (done) => {
    keeper.setProgress(name, { key: copy, uploadId, parts: done });
  });
  const upload = to.resumeMultipartUpload(copy, uploadId);
  const hash = parts.count === 0 ? new Hash(algorithmOf(digest)) : undefined;
  const isContinued = hash === undefined;
  try {
    await passParts(object, upload, parts, hash, mayGoOn);
    if (!isContinued && (await hash.digest()) !== digest) throw wrongBytes(digest);
  } catch (error) {
    if (error instanceof PermanentError) await upload.abort().catch(() => undefined);
    hash?.abandon(error);
    throw error;
  }
  if (!isContinued || !(await to.exists(copy))) await upload.complete([...parts.done]);
  if (!isContinued || (await readBack(to, copy, digest, size)) === digest) return copy;
  await to.delete([copy]).catch(() => undefined);
  throw wrongBytes(digest);
}

interface DonePart {
  readonly partNumber: number;
  readonly etag: string;
}

/** The parts that R2 has, up to the first that it lacks. Parts may be answered in another order than they were sent. */
class PartsDone {
  readonly #done: DonePart[];
  readonly #ahead = new Map<number, DonePart>();
  readonly #save: (done: readonly DonePart[]) => void;

  /** @param save stores the parts, now and whenever there are more */
  constructor(done: readonly DonePart[], save: (done: readonly DonePart[]) => void) {
    this.#done = [...done];
    this.#save = save;
    save(done);
  }

  get done(): readonly DonePart[] {
    return this.#done;
  }

  get count(): number {
    return this.#done.length;
  }

  add({ partNumber, etag }: R2UploadedPart): void {
    this.#ahead.set(partNumber, { partNumber, etag });
    const before = this.count;
    for (let next = this.#ahead.get(before + 1); next !== undefined; next = this.#ahead.get(this.count + 1)) {
      this.#done.push(next);
      this.#ahead.delete(next.partNumber);
    }
    if (this.count > before) this.#save([...this.#done]);
  }
}

/** Reads what is left of an object once, and passes it on in parts. When it returns or throws, no part is under way. */
async function passParts(
  { from, key, digest, size }: Transfer,
  upload: MultipartUpload,
  done: PartsDone,
  hash: Hash | undefined,
  mayGoOn: () => boolean,
): Promise<void> {
  const count = Math.ceil(size / PART_BYTES);
  const first = done.count + 1;
  if (first > count) return;
  const parts = new PartsInFlight(
    {
      uploadPart: async (number, body, handedOver) => {
        const part = await upload.uploadPart(number, body, handedOver);
        done.add(part);
        logLine({ copying: digest, key, part: number, of: count });
        return part;
      },
    },
    first,
  );
  const offset = (first - 1) * PART_BYTES;
  const source = await SourceReader.open(from, key, { digest, offset, size });
  if (source === undefined) throw new Gone();
  let writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  try {
    for (let number = first; number <= count; number++) {
      if (!mayGoOn()) throw new OutOfTime('the copy continues in the next run');
      let left = Math.min(PART_BYTES, size - (number - 1) * PART_BYTES);
      writer = await parts.start(left);
      while (left > 0) {
        const bytes = await source.read(left);
        await Promise.all([hash?.update(bytes), within(CHANGE_MILLISECONDS, writer.write(bytes))]);
        left -= bytes.byteLength;
      }
      await within(CHANGE_MILLISECONDS, writer.close());
      await yieldToOthers();
    }
  } catch (error) {
    void writer?.abort(error).catch(() => undefined);
    source.cancel(error);
    // The failure of a part is the cause of what its writer reports.
    const failure = await parts.finish().then(
      () => error,
      (cause: unknown) => cause,
    );
    throw source.failed || error instanceof OutOfTime ? error : failure;
  } finally {
    source.close();
  }
  await parts.finish();
}

/** Reads an object back, and returns the digest of its bytes. */
async function readBack(bucket: Bucket, key: string, digest: Digest, size: number): Promise<Digest> {
  const hash = new Hash(algorithmOf(digest));
  try {
    for (let offset = 0; offset < size; offset += READ_BACK_BYTES) {
      const content = await bucket.get(key, { offset, length: Math.min(READ_BACK_BYTES, size - offset) });
      if (content === undefined) throw new Gone();
      await within(CHANGE_MILLISECONDS, hash.updateFrom(content));
      await yieldToOthers();
    }
    return await hash.digest();
  } catch (error) {
    hash.abandon(error);
    throw error;
  }
}

/** Lets requests and timers run. If everything shares one thread, a copy without a pause would keep them waiting. */
async function yieldToOthers(): Promise<void> {
  await new Promise((done) => setTimeout(done));
}

/**
 * Forgets a copy's progress, and deletes what it has left behind.
 * @param inUse the key of the location's object. If the copy wrote that object, it is kept.
 */
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

/** Thrown if the object that a location names does not exist. */
export class Gone extends Error {
  override readonly name = 'Gone';
  constructor() {
    super('the object that the location names is gone');
  }
}

function wrongBytes(digest: Digest): PermanentError {
  return new PermanentError(`the object of ${digest} has other bytes: it is not copied`);
}
