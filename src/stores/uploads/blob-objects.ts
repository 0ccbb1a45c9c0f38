/**
 * Decides which object is a blob's, if the store has one already and an upload has written another. The object that is
 * not used is deleted after the response.
 */
import { OciError } from '../../oci/errors.ts';
import {
  type BlobCommit,
  countAgain,
  renewLease,
  replaceLocation,
  selectLinked,
  selectLocation,
} from '../blob-rows.ts';
import { unavailable } from '../bucket.ts';
import type { Store } from '../store.ts';
import type { Piece } from './blob-writer.ts';
import { deleteChunks, deleteChunkThatBecameBlob } from './upload-rows.ts';

export class BlobObjects {
  readonly #store: Store;
  readonly #defer: (work: Promise<unknown>) => void;

  constructor(store: Store, defer: (work: Promise<unknown>) => void) {
    this.#store = store;
    this.#defer = defer;
  }

  /** Finishes an upload whose only chunk is a blob that the store had already. */
  async settleDuplicate(upload: string, blob: BlobCommit, kept: string | undefined, key: string): Promise<void> {
    if (kept !== undefined && (await this.adopt(blob, kept, key, upload))) return;
    this.discardChunks(upload, [{ start: 0, size: 0, key }]);
  }

  /**
   * Decides which object is the blob's: the one that the store has (`kept`) or the one that was just written (`key`).
   * The store's stays unless it is gone; then the new one replaces it, and is no longer a chunk of `upload`. Returns
   * whether the new object is the blob's.
   * R2 is asked for the object even if it is the new one. So the time that an upload takes does not reveal whether
   * another tenant has the blob.
   * @throws OciError UNAVAILABLE if R2 has lost the new object
   */
  async adopt(blob: BlobCommit, kept: string, key: string, upload = ''): Promise<boolean> {
    if (await this.#store.bucket.exists(kept)) return kept === key;
    if (kept === key) throw unavailable(new Error('R2 has lost what was just written'));
    const { location } = await this.#store.database.batch(
      {
        replace: replaceLocation(blob, kept, key, upload),
        promote: deleteChunkThatBecameBlob(upload, blob.digest, blob.store),
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

  /** Deletes the objects first and their rows after. If it is interrupted, the session's expiry repeats it. */
  discardChunks(id: string, chunks: readonly Piece[]): void {
    if (chunks.length === 0) return;
    const work = async (): Promise<void> => {
      await this.#store.bucket.delete(chunks.map(({ key }) => key));
      await this.#store.database.batch([deleteChunks(id)], { again: true });
    };
    this.#defer(work());
  }
}
