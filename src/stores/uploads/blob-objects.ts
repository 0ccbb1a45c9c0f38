/**
 * Decides which object is a blob's, if the store has one already and an upload has written another. The object that is
 * not used is deleted after the response.
 */
import { logFailure } from '../../log.ts';
import { OciError } from '../../oci/errors.ts';
import {
  commitObject,
  refusalOf,
  replaceLocation,
  selectLinked,
  selectLocation,
  selectRefused,
} from '../blob-commit.ts';
import { type BlobCommit, countAgain, renewLease } from '../blob-rows.ts';
import { type Bucket, isLostUpload, type MultipartUpload, unavailable } from '../bucket.ts';
import type { Store } from '../store.ts';
import {
  type ChunkRow,
  forgetObjects,
  promoteLeftover,
  selectUpload,
  type SessionObject,
  type UploadIdentity,
} from './upload-rows.ts';

export class BlobObjects {
  readonly #store: Store;
  readonly #defer: (work: Promise<unknown>) => void;

  constructor(store: Store, defer: (work: Promise<unknown>) => void) {
    this.#store = store;
    this.#defer = defer;
  }

  /**
   * Commits a freshly written object as a blob, unless the session has a row.
   * @returns false if the session has a row; then nothing is written
   * @throws OciError QUOTA_EXCEEDED
   */
  async commit(blob: BlobCommit, key: string, size: number, upload?: UploadIdentity): Promise<boolean> {
    const { refused, session, location } = await this.#store.database.batch(
      {
        refused: selectRefused(blob, size),
        session: upload === undefined ? [] : [selectUpload(upload)],
        commit: commitObject(blob, key, size, upload),
        location: selectLocation(blob),
      },
      // If a second run is refused, only the first knows whether the object is the blob's now.
      { again: (found) => found.refused.length === 0 && found.session.length === 0 },
    );
    if (session.length > 0) return false;
    if (refused.length > 0) {
      this.discard([key]);
      throw await refusalOf(this.#store.database, blob, size);
    }
    const kept = location[0]?.key ?? key;
    if (!(await this.adopt(blob, kept, key))) this.discard([key]);
    return true;
  }

  /**
   * Decides which object is the blob's: the one that the store has (`kept`) or the one that was just written (`key`).
   * The store's stays unless it is gone; then the new one replaces it. Returns whether the new object is the blob's.
   * It asks R2 for the object even if that is the new one. So the time that an upload takes does not reveal whether
   * another tenant has the blob.
   * @param upload the finished session whose object the new one is, if any
   * @throws OciError UNAVAILABLE if R2 has lost the new object
   */
  async adopt(blob: BlobCommit, kept: string, key: string, upload?: UploadIdentity): Promise<boolean> {
    if (await this.#store.bucket.exists(kept)) return kept === key;
    if (kept === key) throw unavailable(new Error('R2 has lost an object that was just written'));
    const { location } = await this.#store.database.batch(
      {
        replace: replaceLocation(blob, kept, key, upload),
        promote: upload === undefined ? [] : promoteLeftover(upload, blob.store),
        location: selectLocation(blob),
      },
      { again: true },
    );
    return location[0]?.key === key;
  }

  /**
   * Promises the blob of a finished session again. If the blob is gone, the client has to start again.
   * @throws OciError UPLOAD_UNKNOWN
   */
  async promiseAgain(blob: BlobCommit): Promise<void> {
    const { linked, location } = await this.#store.database.batch(
      {
        count: countAgain(blob),
        renew: renewLease(blob),
        linked: selectLinked(blob),
        location: selectLocation(blob),
      },
      { again: true },
    );
    const key = location[0]?.key;
    if (linked.length === 0 || key === undefined || !(await this.#store.bucket.exists(key)))
      throw new OciError('UPLOAD_UNKNOWN');
  }

  discard(keys: readonly string[]): void {
    if (keys.length > 0) this.#defer(this.#store.bucket.delete(keys));
  }

  /** Aborts a multipart upload that a session no longer needs. */
  abandon({ key, multipart }: SessionObject): void {
    if (multipart !== null) this.#defer(abort(this.#store.bucket.resumeMultipartUpload(key, multipart)));
  }

  /**
   * Deletes the objects and rows of an ended session. The objects go first and their rows after, so if this is
   * interrupted, the session's expiry repeats it.
   */
  discardSession(upload: UploadIdentity, object: SessionObject | undefined, chunks: readonly ChunkRow[]): void {
    if (object === undefined && chunks.length === 0) return;
    const work = async (): Promise<void> => {
      await deleteObjects(this.#store.bucket, object, chunks);
      await this.#store.database.batch(forgetObjects(upload, object), { again: true });
    };
    this.#defer(work());
  }
}

/**
 * Deletes the objects of a session that has ended, and aborts its multipart upload. If that fails, R2 ends the upload
 * by itself after seven days, so the session need not stay for it.
 */
export async function deleteObjects(
  bucket: Bucket,
  object: SessionObject | undefined,
  chunks: readonly ChunkRow[],
): Promise<void> {
  if (object?.multipart != null) {
    const upload = bucket.resumeMultipartUpload(object.key, object.multipart);
    await abort(upload).catch((cause: unknown) => logFailure({ key: object.key, error: String(cause) }));
  }
  await bucket.delete([...(object === undefined ? [] : [object.key]), ...chunks.flatMap(({ key }) => key ?? [])]);
}

/** Aborts a multipart upload. One that R2 does not know is complete, or has been aborted before. */
async function abort(upload: Pick<MultipartUpload, 'abort'>): Promise<void> {
  await upload.abort().catch((cause: unknown) => {
    if (!isLostUpload(cause)) throw cause;
  });
}
