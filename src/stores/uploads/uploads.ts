/**
 * Uploads: bytes are written once, and committing is a D1 transaction, not a copy.
 *
 * | how it arrives                      | what happens                                                    |
 * |-------------------------------------|-----------------------------------------------------------------|
 * | digest known, length known          | one `put`, checked by R2 itself                                 |
 * | one PATCH, then an empty PUT        | hashed while written; the PUT compares digests and commits      |
 * | equal chunks with Content-Range     | parts of one multipart upload, hashed from chunk to chunk       |
 * | other chunks                        | an object each; the PUT joins them through one checked `put`    |
 * | hashed with another algorithm       | the object is read back once                                    |
 *
 * Invariant 4: every way to finish an upload checks the digest.
 * Invariant 7: a refused request leaves the session where it was, and one that would exceed the organization's quota
 * can be sent again once there is room.
 *
 * An object that lost a race, failed, or is a duplicate is deleted (`blob-objects.ts`). `session-closing.ts` closes
 * sessions.
 */
import { type Algorithm, type Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { type BlobCommit, leaseTimes } from '../blob-rows.ts';
import { BlobAssembler } from './blob-assembler.ts';
import { BlobObjects } from './blob-objects.ts';
import { BlobWriter, type Body } from './blob-writer.ts';
import type { BufferBudget } from './buffer-budget.ts';
import type { BoundStatement } from '../database.ts';
import type { StoreLimits } from '../organizations/limits.ts';
import type { Store } from '../store.ts';
import {
  formatUploadReference,
  parseUploadReference,
  SESSION_MILLISECONDS,
  START_MILLISECONDS,
  type SessionOwner,
  type Signer,
  type UploadReference,
} from './upload-reference.ts';
import { canBeFirstPart, MultipartChunks, statedLength } from './multipart-chunks.ts';
import { type ClosingTools, mayBeFinished, SessionClosing } from './session-closing.ts';
import { ofOwner, SessionOrder } from './session-order.ts';
import type { PresentedSession, UploadProgress } from './upload-session.ts';
import {
  advanceByParts,
  advanceUpload,
  cancelUpload,
  insertChunks,
  insertUpload,
  selectChunks,
  selectObject,
  selectUpload,
  type UploadRow,
} from './upload-rows.ts';

export interface UploadOptions {
  /** The limits of organizations. */
  readonly limits: StoreLimits;
  readonly signer: Signer;
  readonly budget: BufferBudget;
  readonly graceMilliseconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lets work continue after the response: the deletion of objects that nothing refers to. */
  readonly defer: (work: Promise<unknown>) => void;
}

/** The part of every registry that accepts bytes. They go into its own store, whatever other stores it reads. */
export class Uploads {
  readonly #options: UploadOptions;
  readonly #tools: ClosingTools;

  constructor(store: Store, options: UploadOptions) {
    this.#options = options;
    const objects = new BlobObjects(store, options.defer);
    const writer = new BlobWriter(store.bucket, options.budget);
    this.#tools = {
      store,
      writer,
      objects,
      assembler: new BlobAssembler(store.bucket, writer, (keys) => objects.discard(keys)),
      order: new SessionOrder(store.database, this.#options.limits.blobs, (owner, upload) =>
        this.#progress(owner, upload),
      ),
      multipart: new MultipartChunks(store, options.budget, options.defer),
    };
  }

  /** Opens a session. Writes nothing. */
  async openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    const expiresAt = this.#options.now() + SESSION_MILLISECONDS;
    const upload = { id: crypto.randomUUID(), offset: 0, expiresAt, algorithm };
    return this.#progress(this.#owner(repository, subject), upload);
  }

  /**
   * Stores a blob whose digest is known before its body, without a session.
   * @throws OciError DIGEST_INVALID, QUOTA_EXCEEDED
   */
  async putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    const { key, size } = await this.#tools.assembler.fromBody(body, digest);
    await this.#tools.objects.commit(this.commitOf(repository, digest), key, size);
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
    const { order, multipart } = this.#tools;
    const { owner, upload } = await this.#parse(session);
    const id = ofOwner(owner, upload);
    if (body === undefined || (upload.offset === 0 && (start ?? 0) !== 0)) {
      await order.require(owner, upload, await order.row(owner, upload), start ?? upload.offset);
      return this.#progress(owner, upload);
    }
    const length = statedLength(body);
    // A chunk that is stated to be empty may still have bytes, so it is read to its end.
    if (length === 0) {
      await order.require(owner, upload, await order.row(owner, upload), start ?? upload.offset);
      return this.#appendObjects(owner, upload, undefined, body);
    }
    // A client states the range of its first chunk only if more chunks follow. A whole layer in one PATCH goes another
    // way, in which it is hashed natively.
    const isFirstOfMany = upload.offset === 0 && start === 0 && canBeFirstPart(length);
    if (upload.offset === 0 && !isFirstOfMany) return this.#appendObjects(owner, upload, undefined, body);
    const { row, place } = isFirstOfMany
      ? await multipart.begin(id, length, this.#options.limits.blobs)
      : await multipart.reserve(id, upload.offset, length);
    if (isFirstOfMany && row === undefined) throw await order.notTaken(owner, upload, row, length, 1);
    await order.require(owner, upload, row, start ?? upload.offset);
    if (row === undefined || place === undefined || length === undefined)
      return this.#appendObjects(owner, upload, row, body);
    const written = await multipart.write(body, length, place, row, upload.algorithm);
    const writeId = crypto.randomUUID();
    const now = await this.#take(owner, upload, writeId, advanceByParts(id, writeId, written, false));
    if (now?.write_id !== writeId) throw await order.notTaken(owner, upload, now, length, 1);
    return this.#progress(owner, { ...upload, offset: written.to });
  }

  /** Appends a chunk as an object of its own, or as several. @param row the session's, if it has bytes already */
  async #appendObjects(
    owner: SessionOwner,
    upload: UploadReference,
    row: UploadRow | undefined,
    body: Body,
  ): Promise<UploadProgress> {
    const { store, writer, objects, order, multipart } = this.#tools;
    const id = ofOwner(owner, upload);
    const written = await writer.write(body, upload.algorithm);
    if (written.size === 0) {
      // An empty chunk does not take the row, so a check that it is in order has to come here.
      await order.require(owner, upload, await order.row(owner, upload), upload.offset);
      return this.#progress(owner, upload);
    }
    if (row?.multipart != null) {
      const { chunks } = await store.database.batch({ chunks: selectChunks(id.id) }, { again: true });
      await multipart.complete(row, chunks);
    }
    const size = upload.offset + written.size;
    const writeId = crypto.randomUUID();
    const [piece, ...more] = written.pieces;
    const digest = more.length === 0 ? written.digest : null;
    const first = { size, digest, key: piece?.key ?? null, objects: written.pieces.length };
    const take =
      upload.offset === 0
        ? [insertUpload(id, writeId, first, this.#options.limits.blobs), insertChunks(id, writeId, 0, more)]
        : advanceUpload(id, writeId, upload.offset, size, written.pieces);
    const now = await this.#take(owner, upload, writeId, take);
    if (now?.write_id !== writeId) {
      objects.discard(written.pieces.map(({ key }) => key));
      throw await order.notTaken(owner, upload, now, written.size, written.pieces.length);
    }
    return this.#progress(owner, { ...upload, offset: size });
  }

  /**
   * Runs statements that take a session, and returns its row afterwards. If they ran twice and the second run did not
   * take it, the first may have, and a later request may have continued from there. So the objects that were written
   * must stay.
   */
  async #take(
    owner: SessionOwner,
    upload: UploadReference,
    writeId: string,
    statements: readonly BoundStatement[],
  ): Promise<UploadRow | undefined> {
    const id = ofOwner(owner, upload);
    const { before, after } = await this.#tools.store.database.batch(
      { before: upload.offset === 0 ? [selectObject(id)] : [], take: statements, after: selectUpload(id) },
      { again: ({ after: found }) => found[0]?.write_id === writeId },
    );
    const [row] = after;
    // An object has replaced the multipart upload of a session without bytes.
    if (row?.write_id === writeId && before[0]?.multipart != null && row.key !== before[0].key)
      this.#tools.objects.abandon(before[0]);
    return row;
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
    const { order, objects } = this.#tools;
    const { owner, upload } = await this.#parse(session);
    const blob = this.commitOf(owner.repository, digest);
    if ((start ?? upload.offset) !== upload.offset || (upload.offset === 0 && body === undefined)) {
      const row = await order.row(owner, upload);
      if (mayBeFinished(upload, row, digest)) return objects.promiseAgain(blob);
      await order.require(owner, upload, row, start ?? upload.offset);
    }
    const closing = new SessionClosing(this.#tools, owner, upload, blob);
    if (upload.offset === 0) return closing.whole(body);
    return body === undefined ? closing.received() : closing.rest(body);
  }

  /**
   * Returns the progress of a session. Accepts a reference from before its last chunk. @throws OciError UPLOAD_UNKNOWN
   */
  async uploadProgress(session: PresentedSession): Promise<UploadProgress> {
    const { owner, upload } = await this.#parse(session);
    const row = await this.#tools.order.row(owner, upload);
    if (row === undefined ? upload.offset > 0 : row.state !== 'open') throw new OciError('UPLOAD_UNKNOWN');
    return this.#progress(owner, { ...upload, offset: row?.size ?? 0 });
  }

  /** @throws OciError UPLOAD_UNKNOWN */
  async cancelUpload(session: PresentedSession): Promise<void> {
    const { owner, upload } = await this.#parse(session);
    const id = ofOwner(owner, upload);
    const writeId = crypto.randomUUID();
    const { cancelled, object, chunks } = await this.#tools.store.database.batch(
      {
        cancel: cancelUpload(id, writeId, upload.offset === 0),
        cancelled: selectUpload(id),
        object: selectObject(id),
        chunks: selectChunks(id.id),
      },
      { again: true },
    );
    const [row] = cancelled;
    if (row === undefined ? upload.offset > 0 : row.write_id !== writeId) throw new OciError('UPLOAD_UNKNOWN');
    this.#tools.objects.discardSession(id, object[0], chunks);
  }

  async #progress(owner: SessionOwner, upload: UploadReference): Promise<UploadProgress> {
    const reference = await formatUploadReference(this.#options.signer, owner, upload);
    return { id: upload.id, size: upload.offset, reference };
  }

  async #parse({ repository, subject, reference }: PresentedSession) {
    const owner = this.#owner(repository, subject);
    const { signer, now } = this.#options;
    const upload = await parseUploadReference(signer, owner, reference, now());
    // Without a row, the session may have ended long ago.
    const mayBegin = now() < upload.expiresAt - SESSION_MILLISECONDS + START_MILLISECONDS;
    if (upload.offset === 0 && !mayBegin && (await this.#tools.order.row(owner, upload)) === undefined)
      throw new OciError('UPLOAD_UNKNOWN');
    return { owner, upload };
  }

  #owner(repository: RepositoryName, subject: string): SessionOwner {
    return { store: this.#tools.store.name, repository, subject };
  }

  protected commitOf(repository: RepositoryName, digest: Digest): BlobCommit {
    const lease = leaseTimes(this.#options.now(), this.#options.graceMilliseconds);
    return { repository, digest, store: this.#tools.store.name, lease, limits: this.#options.limits };
  }
}
