/** Judges whether a request continues an upload session where the session ends; if it does not, says why. */
import { OciError } from '../../oci/errors.ts';
import { noRoomFor } from '../blob-commit.ts';
import type { Database } from '../database.ts';
import { uploadsExceeded } from '../organizations/organization-limits.ts';
import { isQuotaExceeded } from '../organizations/usage-rows.ts';
import type { SessionOwner, UploadReference } from './upload-reference.ts';
import { chunksExceeded } from './chunk-limit.ts';
import { selectUpload, type UploadIdentity, type UploadRow } from './upload-rows.ts';
import { ChunkOutOfOrder, type UploadProgress } from './upload-session.ts';

/** Returns the identity of a session's row. */
export function ofOwner({ repository }: SessionOwner, { id, expiresAt }: UploadReference): UploadIdentity {
  return { id, repository, expiresAt };
}

export class SessionOrder {
  readonly #database: Database;
  readonly #blobs: number;
  readonly #progress: (owner: SessionOwner, upload: UploadReference) => Promise<UploadProgress>;

  /**
   * @param blobs the limit of blobs
   * @param progress returns how far a session is, with the reference to continue it
   */
  constructor(
    database: Database,
    blobs: number,
    progress: (owner: SessionOwner, upload: UploadReference) => Promise<UploadProgress>,
  ) {
    this.#database = database;
    this.#blobs = blobs;
    this.#progress = progress;
  }

  /** Refuses a request that is out of order, by the session's row, before anything reads the body. */
  async require(
    owner: SessionOwner,
    upload: UploadReference,
    row: UploadRow | undefined,
    start: number,
  ): Promise<void> {
    if ((row !== undefined && row.state !== 'open') || (row?.size ?? 0) !== start || start !== upload.offset) {
      throw await this.refusal(owner, upload, row);
    }
  }

  /** Returns the session's row; undefined before the first chunk, and some time after the session has ended. */
  async row(owner: SessionOwner, upload: UploadReference): Promise<UploadRow | undefined> {
    const { session } = await this.#database.batch({ session: selectUpload(ofOwner(owner, upload)) }, { again: true });
    return session[0];
  }

  /**
   * Returns the error for a write that did not take the session: the session has moved on, or there is no room. If
   * neither is true any more, the error says that the write can be tried again. That happens after another request has
   * sealed the session's parts.
   * @param size bytes of the chunks, or of the whole blob
   * @param chunks the number of chunks that it would have added; 0 if it is the whole blob
   */
  async notTaken(
    owner: SessionOwner,
    upload: UploadReference,
    row: UploadRow | undefined,
    size: number,
    chunks = 0,
  ): Promise<OciError> {
    const isInOrder = row === undefined ? upload.offset === 0 : row.state === 'open' && row.size === upload.offset;
    if (!isInOrder) return this.refusal(owner, upload, row);
    const { repository } = owner;
    const database = this.#database;
    const isWhole = chunks === 0;
    const exceeded = isWhole
      ? undefined
      : ((row && (await chunksExceeded(database, upload.id, chunks))) ??
        (await uploadsExceeded(database, repository, row === undefined, this.#blobs)));
    if (exceeded !== undefined) return exceeded;
    // The bytes that the session has are counted already.
    const added = isWhole ? size - upload.offset : size;
    if (await isQuotaExceeded(database, repository, added))
      return noRoomFor(database, repository, isWhole ? 'blob' : 'chunk', size);
    return new OciError('UNAVAILABLE', { headers: { 'Retry-After': '2' } });
  }

  /** Returns the error for a request that is out of order. */
  async refusal(owner: SessionOwner, upload: UploadReference, row: UploadRow | undefined): Promise<OciError> {
    const isOpen = row === undefined ? upload.offset === 0 : row.state === 'open';
    if (!isOpen) return new OciError('UPLOAD_UNKNOWN');
    return new ChunkOutOfOrder(await this.#progress(owner, { ...upload, offset: row?.size ?? 0 }));
  }
}
