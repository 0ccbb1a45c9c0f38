/**
 * Uploads: bytes are written once, and committing is a D1 transaction, not a copy.
 *
 * | how it arrives                    | what happens                                                      |
 * |-----------------------------------|-------------------------------------------------------------------|
 * | digest known, length known        | one `put`, checked by R2 itself                                   |
 * | one PATCH, then an empty PUT      | hashed while written; the PUT compares digests and commits        |
 * | several chunks                    | an object each; the PUT joins them through one checked `put`      |
 * | hashed with another algorithm     | the object is read back once                                      |
 *
 * Invariant 4: every way to finish an upload checks the digest.
 * Invariant 7: a refused request leaves the session where it was, and one that would exceed the organization's quota
 * can be sent again once there is room.
 *
 * An object that lost a race, failed, or is a duplicate is deleted (`blob-objects.ts`). If D1 fails during a commit,
 * the object stays, because the transaction may have happened.
 */
import { type Algorithm, algorithmOf, type Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import {
  type BlobCommit,
  commitObject,
  commitObjectOfUpload,
  commitSingleChunk,
  leaseTimes,
  noRoomFor,
  selectLocation,
  selectRefused,
} from '../blob-rows.ts';
import { BlobAssembler } from './blob-assembler.ts';
import { BlobObjects } from './blob-objects.ts';
import { BlobWriter, type Body } from './blob-writer.ts';
import { digestMismatch } from '../bucket.ts';
import type { BufferBudget } from './buffer-budget.ts';
import type { BoundStatement } from '../database.ts';
import type { Store } from '../store.ts';
import {
  formatUploadReference,
  parseUploadReference,
  SESSION_MILLISECONDS,
  type SessionOwner,
  type Signer,
  type UploadReference,
} from './upload-reference.ts';
import { SessionOrder } from './session-order.ts';
import type { PresentedSession, UploadProgress } from './upload-session.ts';
import {
  advanceUpload,
  cancelUpload,
  deleteChunkThatBecameBlob,
  finishUpload,
  finishUploadOfSingleChunk,
  insertChunks,
  insertUpload,
  selectChunks,
  selectUpload,
  type UploadRow,
} from './upload-rows.ts';

export interface UploadOptions {
  readonly signer: Signer;
  readonly budget: BufferBudget;
  readonly graceMilliseconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lets work continue after the response: the deletion of objects that nothing refers to. */
  readonly defer: (work: Promise<unknown>) => void;
}

/** The part of every registry that accepts bytes, into the registry's own store, whatever other stores it reads. */
export abstract class Uploads {
  readonly #store: Store;
  readonly #options: UploadOptions;
  readonly #writer: BlobWriter;
  readonly #assembler: BlobAssembler;
  readonly #objects: BlobObjects;
  readonly #order: SessionOrder;

  constructor(store: Store, options: UploadOptions) {
    this.#store = store;
    this.#options = options;
    this.#objects = new BlobObjects(store, options.defer);
    this.#order = new SessionOrder(store.database, (owner, upload) => this.#progress(owner, upload));
    this.#writer = new BlobWriter(store.bucket, options.budget);
    this.#assembler = new BlobAssembler(store.bucket, this.#writer, (keys) => this.#objects.discard(keys));
  }

  /** Opens a session. Writes nothing. */
  async openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    const expiresAt = this.#options.now() + SESSION_MILLISECONDS;
    const upload = { id: crypto.randomUUID(), offset: 0, expiresAt, algorithm };
    return this.#progress(this.#owner(repository, subject), upload);
  }

  /**
   * Stores a blob whose digest is known before its body, without a session. @throws OciError DIGEST_INVALID,
   * QUOTA_EXCEEDED
   */
  async putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    const { key, size } = await this.#assembler.fromBody(body, digest);
    const blob = this.#commitOf(repository, digest);
    const { refused, location } = await this.#store.database.batch(
      {
        refused: selectRefused(blob, size),
        commit: commitObject(blob, key, size),
        location: selectLocation(blob),
      },
      // If a second run is refused, only the first knows whether the object is the blob's now.
      { again: ({ refused: found }) => found.length === 0 },
    );
    if (refused.length > 0) {
      this.#objects.discard([key]);
      throw await noRoomFor(this.#store.database, repository, 'blob', size);
    }
    const kept = location[0]?.key ?? key;
    if (!(await this.#objects.adopt(blob, kept, key))) this.#objects.discard([key]);
  }

  /**
   * Appends a chunk.
   * @param start the offset at which the client says that the chunk starts; undefined for the end of the session
   * @throws OciError UPLOAD_UNKNOWN, CHUNK_OUT_OF_ORDER with the current range, TOO_MANY_CHUNKS, QUOTA_EXCEEDED
   */
  async appendChunk(
    session: PresentedSession,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<UploadProgress> {
    const { owner, upload } = await this.#parse(session);
    if (upload.offset > 0 || (start ?? 0) !== 0 || body === undefined) {
      await this.#order.require(owner, upload, await this.#order.row(upload), start ?? upload.offset);
    }
    if (body === undefined) return this.#progress(owner, upload);
    const written = await this.#writer.write(body, upload.algorithm);
    if (written.size === 0) {
      // An empty chunk does not take the row, so a check that it is in order has to come here.
      await this.#order.require(owner, upload, await this.#order.row(upload), upload.offset);
      return this.#progress(owner, upload);
    }
    const size = upload.offset + written.size;
    const writeId = crypto.randomUUID();
    const take =
      upload.offset === 0
        ? insertUpload(
            { ...upload, repository: owner.repository },
            { state: 'open', size, digest: written.digest, writeId },
          )
        : advanceUpload(upload.id, upload.offset, size, writeId, written.pieces.length);
    const { taken } = await this.#store.database.batch(
      {
        take,
        chunks: insertChunks(upload.id, writeId, upload.offset, written.pieces),
        taken: selectUpload(upload.id),
      },
      { again: ({ taken: found }) => isTakenBy(writeId, found) },
    );
    const [row] = taken;
    if (row?.write_id !== writeId) {
      this.#objects.discard(written.pieces.map(({ key }) => key));
      throw await this.#order.notTaken(owner, upload, row, written.size, written.pieces.length);
    }
    return this.#progress(owner, { ...upload, offset: size });
  }

  /**
   * Closes a session. The blob with `digest` is everything that the session received, followed by `body`. Closing it
   * again with the same digest succeeds, because a client that got no answer the first time tries again.
   * @throws OciError DIGEST_INVALID, UPLOAD_UNKNOWN, CHUNK_OUT_OF_ORDER, QUOTA_EXCEEDED
   */
  async finishUpload(
    session: PresentedSession,
    digest: Digest,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<void> {
    const { owner, upload } = await this.#parse(session);
    if ((start ?? upload.offset) !== upload.offset || (upload.offset === 0 && body === undefined)) {
      const row = await this.#order.row(upload);
      if (isFinished(row, digest)) return this.#objects.promiseAgain(this.#commitOf(owner.repository, digest));
      await this.#order.require(owner, upload, row, start ?? upload.offset);
    }
    if (upload.offset === 0) return this.#finishWhole(owner, upload, digest, body);
    if (body === undefined && (await this.#finishSingleChunk(owner, upload, digest))) return;
    await this.#finishJoined(owner, upload, digest, body);
  }

  /** Returns how far a session is. Accepts a reference from before its last chunk. @throws OciError UPLOAD_UNKNOWN */
  async uploadProgress(session: PresentedSession): Promise<UploadProgress> {
    const { owner, upload } = await this.#parse(session);
    const row = await this.#order.row(upload);
    if (row !== undefined && row.state !== 'open') throw new OciError('UPLOAD_UNKNOWN');
    return this.#progress(owner, { ...upload, offset: row?.size ?? 0 });
  }

  /** @throws OciError UPLOAD_UNKNOWN */
  async cancelUpload(session: PresentedSession): Promise<void> {
    const { owner, upload } = await this.#parse(session);
    const writeId = crypto.randomUUID();
    const { cancelled, chunks } = await this.#store.database.batch(
      {
        cancel: cancelUpload({ ...upload, repository: owner.repository }, writeId),
        cancelled: selectUpload(upload.id),
        chunks: selectChunks(upload.id),
      },
      { again: true },
    );
    if (cancelled[0]?.write_id !== writeId) throw new OciError('UPLOAD_UNKNOWN');
    this.#objects.discardChunks(upload.id, chunks);
  }

  async #finishWhole(
    owner: SessionOwner,
    upload: UploadReference,
    digest: Digest,
    body: Body | undefined,
  ): Promise<void> {
    const { key, size } = await this.#assembler.fromBody(body, digest).catch(async (refusal: unknown) => {
      // A body that is not the blob may be the end of it, sent to a URL from before the last chunk.
      if (refusal instanceof OciError && refusal.kind === 'DIGEST_INVALID')
        await this.#order.require(owner, upload, await this.#order.row(upload), upload.offset);
      throw refusal;
    });
    const writeId = crypto.randomUUID();
    const take = insertUpload(
      { ...upload, repository: owner.repository },
      { state: 'finished', size, digest, writeId },
    );
    await this.#commit(owner, upload, digest, { take, writeId, key, size, fresh: true });
  }

  /**
   * Handles the common case after one PATCH: compares digests and commits in one round trip. Returns whether it was
   * that case.
   */
  async #finishSingleChunk(owner: SessionOwner, upload: UploadReference, digest: Digest): Promise<boolean> {
    const writeId = crypto.randomUUID();
    const blob = this.#commitOf(owner.repository, digest);
    const { before, chunksLeft, location } = await this.#store.database.batch(
      {
        before: selectUpload(upload.id),
        finish: finishUploadOfSingleChunk(upload.id, upload.offset, digest, writeId),
        commit: commitSingleChunk(blob, upload.id, writeId),
        promote: deleteChunkThatBecameBlob(upload.id, digest, this.#store.name),
        chunksLeft: selectChunks(upload.id),
        location: selectLocation(blob),
      },
      { again: true },
    );
    const [row] = before;
    const isOurs = row?.write_id === writeId;
    if (isFinished(row, digest) && !isOurs) {
      await this.#objects.promiseAgain(blob);
      return true;
    }
    if (row === undefined || row.size !== upload.offset || (row.state !== 'open' && !isOurs))
      throw await this.#order.refusal(owner, upload, row);
    if (row.digest !== digest) {
      if (row.digest !== null && algorithmOf(row.digest) === algorithmOf(digest)) throw digestMismatch(digest);
      return false;
    }
    const [duplicate, ...more] = chunksLeft;
    if (duplicate === undefined) {
      const key = location[0]?.key;
      if (key !== undefined) await this.#objects.adopt(blob, key, key);
      return true;
    }
    if (more.length > 0 || duplicate.size !== row.size) return false;
    await this.#objects.settleDuplicate(upload.id, blob, location[0]?.key, duplicate.key);
    return true;
  }

  /**
   * Handles all other cases: several chunks, a last chunk in the PUT, or another algorithm. The bytes are read once and
   * checked on the way.
   */
  async #finishJoined(
    owner: SessionOwner,
    upload: UploadReference,
    digest: Digest,
    body: Body | undefined,
  ): Promise<void> {
    const { session, chunks } = await this.#store.database.batch(
      {
        session: selectUpload(upload.id),
        chunks: selectChunks(upload.id),
      },
      { again: true },
    );
    const [row] = session;
    if (isFinished(row, digest)) return this.#objects.promiseAgain(this.#commitOf(owner.repository, digest));
    if (row?.state !== 'open' || row.size !== upload.offset) throw await this.#order.refusal(owner, upload, row);
    const tail =
      body?.length === undefined && body !== undefined
        ? await this.#writer.write(body, algorithmOf(digest))
        : undefined;
    try {
      const pieces = [...chunks, ...(tail?.pieces ?? [])];
      const size = upload.offset + (tail?.size ?? body?.length ?? 0);
      const known = tail === undefined ? body : undefined;
      const only = pieces.length === 1 && known === undefined ? pieces[0] : undefined;
      if (only !== undefined) await this.#assembler.verify(only.key, digest, only.size);
      const key = only?.key ?? (await this.#assembler.join(pieces, known, size, digest));
      const writeId = crypto.randomUUID();
      const take = finishUpload(upload.id, upload.offset, digest, writeId, size);
      await this.#commit(owner, upload, digest, { take, writeId, key, size, fresh: only === undefined });
    } finally {
      if (tail !== undefined) this.#objects.discard(tail.pieces.map(({ key }) => key));
    }
  }

  /**
   * Commits an object as the session's blob. `fresh` says that this request wrote the object, so nobody else can use
   * it.
   */
  async #commit(
    owner: SessionOwner,
    upload: UploadReference,
    digest: Digest,
    write: {
      readonly take: BoundStatement;
      readonly writeId: string;
      readonly key: string;
      readonly size: number;
      readonly fresh: boolean;
    },
  ): Promise<void> {
    const blob = this.#commitOf(owner.repository, digest);
    const { session, location, chunksLeft } = await this.#store.database.batch(
      {
        take: write.take,
        commit: commitObjectOfUpload(blob, write.key, write.size, upload.id, write.writeId),
        promote: deleteChunkThatBecameBlob(upload.id, digest, this.#store.name),
        session: selectUpload(upload.id),
        location: selectLocation(blob),
        chunksLeft: selectChunks(upload.id),
      },
      { again: ({ session: found }) => isTakenBy(write.writeId, found) },
    );
    const [row] = session;
    if (row?.write_id !== write.writeId) {
      if (write.fresh) this.#objects.discard([write.key]);
      if (isFinished(row, digest)) return this.#objects.promiseAgain(blob);
      throw await this.#order.notTaken(owner, upload, row, write.size);
    }
    const kept = location[0]?.key;
    if (write.fresh || kept === write.key) {
      if (kept === undefined || !(await this.#objects.adopt(blob, kept, write.key))) this.#objects.discard([write.key]);
      this.#objects.discardChunks(upload.id, chunksLeft);
    } else await this.#objects.settleDuplicate(upload.id, blob, kept, write.key);
  }

  async #progress(owner: SessionOwner, upload: UploadReference): Promise<UploadProgress> {
    const reference = await formatUploadReference(this.#options.signer, owner, upload);
    return { id: upload.id, size: upload.offset, reference };
  }

  async #parse({ repository, subject, reference }: PresentedSession) {
    const owner = this.#owner(repository, subject);
    const { signer, now } = this.#options;
    return { owner, upload: await parseUploadReference(signer, owner, reference, now()) };
  }

  #owner(repository: RepositoryName, subject: string): SessionOwner {
    return { store: this.#store.name, repository, subject };
  }

  #commitOf(repository: RepositoryName, digest: Digest): BlobCommit {
    const lease = leaseTimes(this.#options.now(), this.#options.graceMilliseconds);
    return { repository, digest, store: this.#store.name, lease };
  }
}

/**
 * Tells whether a batch took the session. If it ran twice and did not, the first run may have, and a later request then
 * went on from there: the objects that were written must stay.
 */
function isTakenBy(writeId: string, [row]: readonly UploadRow[]): boolean {
  return row?.write_id === writeId;
}

/** Tells whether the session has already become this blob. */
function isFinished(row: UploadRow | undefined, digest: Digest): boolean {
  return row?.state === 'finished' && row.digest === digest;
}
