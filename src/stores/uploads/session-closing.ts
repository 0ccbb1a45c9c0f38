/**
 * Closes upload sessions. Every way compares the digest before the commit (invariant 4), and a refused request leaves
 * the session where it was (invariant 7). A refused PUT with a digest of another algorithm seals the session all the
 * same: later chunks are objects, not parts.
 *
 * If D1 fails during a commit, the object stays, because the transaction may have happened.
 */
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { commitObjectOfSession, commitObjectOfUpload, selectLocation } from '../blob-commit.ts';
import type { BlobCommit } from '../blob-rows.ts';
import { digestMismatch } from '../bucket.ts';
import type { BoundStatement } from '../database.ts';
import type { Store } from '../store.ts';
import type { BlobAssembler } from './blob-assembler.ts';
import type { BlobObjects } from './blob-objects.ts';
import type { BlobWriter, Body, Piece } from './blob-writer.ts';
import { type MultipartChunks, statedLength } from './multipart-chunks.ts';
import { ofOwner, type SessionOrder } from './session-order.ts';
import type { SessionOwner, UploadReference } from './upload-reference.ts';
import {
  advanceByParts,
  type ChunkRow,
  deleteParts,
  finishEmpty,
  finishJoined,
  finishUpload,
  sealUpload,
  selectChunks,
  selectObject,
  selectUpload,
  type UploadIdentity,
  type UploadRow,
} from './upload-rows.ts';

/** The tools that close a session. */
export interface ClosingTools {
  readonly store: Store;
  readonly writer: BlobWriter;
  readonly assembler: BlobAssembler;
  readonly objects: BlobObjects;
  readonly order: SessionOrder;
  readonly multipart: MultipartChunks;
}

export class SessionClosing {
  readonly #tools: ClosingTools;
  readonly #owner: SessionOwner;
  readonly #upload: UploadReference;
  readonly #blob: BlobCommit;
  readonly #id: UploadIdentity;

  constructor(tools: ClosingTools, owner: SessionOwner, upload: UploadReference, blob: BlobCommit) {
    this.#tools = tools;
    this.#owner = owner;
    this.#upload = upload;
    this.#blob = blob;
    this.#id = ofOwner(owner, upload);
  }

  /**
   * Closes a session that has no bytes yet, by a request with the whole blob. A session without a row gets none.
   */
  async whole(body: Body | undefined): Promise<void> {
    const { assembler, order } = this.#tools;
    const { digest } = this.#blob;
    const { key, size } = await assembler.fromBody(body, digest).catch(async (refusal: unknown) => {
      // A body that does not match the digest may be the end of the blob, sent to a URL from before the last chunk.
      if (refusal instanceof OciError && refusal.kind === 'DIGEST_INVALID')
        await order.require(this.#owner, this.#upload, await this.#row(), this.#upload.offset);
      throw refusal;
    });
    if (await this.#tools.objects.commit(this.#blob, key, size, this.#id)) return;
    const writeId = crypto.randomUUID();
    const take = finishEmpty(this.#id, writeId, { size, digest, now: this.#blob.lease.now });
    await this.#commit({ take, writeId, key, size, isFresh: true });
  }

  /**
   * Closes a session that has all its bytes. The common case, after one PATCH, compares digests and commits in one
   * round trip. A multipart upload takes one more, after R2 has made an object of its parts.
   */
  async received(): Promise<void> {
    const { objects, multipart } = this.#tools;
    const { row, isTaken, chunks, location, object } = await this.#finish(false);
    if (isTaken) return this.#settle(location, object, []);
    if (mayBeFinished(this.#upload, row, this.#blob.digest)) return objects.promiseAgain(this.#blob);
    if (row?.state !== 'open' || row.size !== this.#upload.offset)
      throw await this.#tools.order.refusal(this.#owner, this.#upload, row);
    if (row.digest !== this.#blob.digest) {
      if (row.digest !== null && algorithmOf(row.digest) === algorithmOf(this.#blob.digest))
        throw digestMismatch(this.#blob.digest);
      return this.#joined(undefined);
    }
    await multipart.complete(row, chunks);
    const after = await this.#finish(true);
    if (after.isTaken) return this.#settle(after.location, after.object, []);
    if (mayBeFinished(this.#upload, after.row, this.#blob.digest)) return objects.promiseAgain(this.#blob);
    // If the session was cancelled meanwhile, the cancellation may have run before the upload was complete, so its
    // object may still be there.
    if (row.key !== null && after.row?.state === 'cancelled') objects.discard([row.key]);
    throw await this.#tools.order.refusal(this.#owner, this.#upload, after.row);
  }

  /** Closes a session with the rest of its bytes. */
  async rest(body: Body): Promise<void> {
    const { store, multipart, order } = this.#tools;
    const { offset, algorithm } = this.#upload;
    const { digest } = this.#blob;
    const length = statedLength(body);
    // A body with a stated length of 0 may still have bytes. Then it is refused.
    if (length === undefined || length === 0) return this.#streamed(body);
    const { row, place } = await multipart.reserve(this.#id, offset, length);
    if (mayBeFinished(this.#upload, row, digest)) return this.#tools.objects.promiseAgain(this.#blob);
    // An earlier attempt has brought these bytes, and failed before the blob was committed.
    if (row?.state === 'open' && row.digest === digest && row.size === offset + length)
      return this.#at(row.size).received();
    await order.require(this.#owner, this.#upload, row, offset);
    if (row === undefined || place === undefined || algorithmOf(digest) !== algorithm)
      return body.length === undefined ? this.#streamed(body) : this.#joined(body);
    const written = await multipart.write(body, length, place, row, algorithm);
    if (written.digest !== digest) throw digestMismatch(digest);
    const writeId = crypto.randomUUID();
    const { taken } = await store.database.batch(
      { take: advanceByParts(this.#id, writeId, written, true), taken: selectUpload(this.#id) },
      { again: ({ taken: found }) => found[0]?.write_id === writeId },
    );
    const [now] = taken;
    if (now?.write_id !== writeId && !mayBeFinished(this.#upload, now, digest))
      throw await order.notTaken(this.#owner, this.#upload, now, written.to);
    await this.#at(written.to).received();
  }

  /** Returns the closing of the same session when it has `offset` bytes. */
  #at(offset: number): SessionClosing {
    return new SessionClosing(this.#tools, this.#owner, { ...this.#upload, offset }, this.#blob);
  }

  /** Closes a session with a body of unknown length, which may turn out to be empty. */
  async #streamed(body: Body): Promise<void> {
    const { writer, objects, order } = this.#tools;
    const row = await this.#row();
    if (mayBeFinished(this.#upload, row, this.#blob.digest)) return objects.promiseAgain(this.#blob);
    await order.require(this.#owner, this.#upload, row, this.#upload.offset);
    const tail = await writer.write(body, algorithmOf(this.#blob.digest));
    if (tail.size === 0) return this.received();
    try {
      await this.#joined(undefined, tail.pieces);
    } finally {
      objects.discard(tail.pieces.map(({ key }) => key));
    }
  }

  async #row(): Promise<UploadRow | undefined> {
    return this.#tools.order.row(this.#owner, this.#upload);
  }

  /**
   * Finishes the session with its own object, if that has the digest.
   * @param isComplete whether a multipart upload counts as an object; if not, it is made ready to be completed
   */
  async #finish(isComplete: boolean) {
    const { store } = this.#tools;
    const { offset } = this.#upload;
    const { digest, lease } = this.#blob;
    const writeId = crypto.randomUUID();
    const end = { size: offset, digest, store: store.name, isComplete, now: lease.now };
    const { session, ...rest } = await store.database.batch(
      {
        seal: isComplete ? [] : [sealUpload(this.#id, offset, digest)],
        finish: finishUpload(this.#id, writeId, end),
        commit: commitObjectOfSession(this.#blob, this.#id, writeId),
        parts: deleteParts(this.#id, writeId),
        session: selectUpload(this.#id),
        chunks: selectChunks(this.#id.id),
        object: selectObject(this.#id),
        location: selectLocation(this.#blob),
      },
      { again: true },
    );
    const [row] = session;
    return { row, isTaken: row?.write_id === writeId, ...rest };
  }

  /** Decides between the session's object and the one that the store has, once the blob is committed. */
  async #settle(
    location: readonly { key: string }[],
    object: readonly { key: string; multipart: string | null }[],
    chunks: readonly ChunkRow[],
  ): Promise<void> {
    const { objects } = this.#tools;
    const kept = location[0]?.key;
    const [leftover] = object;
    if (leftover === undefined) {
      if (kept !== undefined) await objects.adopt(this.#blob, kept, kept);
      return;
    }
    if (kept !== undefined && (await objects.adopt(this.#blob, kept, leftover.key, this.#id))) return;
    objects.discardSession(this.#id, leftover, chunks);
  }

  /**
   * Handles all other cases: chunks that are objects of their own, or another algorithm. The bytes are read once and
   * checked on the way.
   */
  async #joined(body: Body | undefined, tail: readonly Piece[] = []): Promise<void> {
    const { store, objects, assembler, multipart } = this.#tools;
    const { offset } = this.#upload;
    const { digest, lease } = this.#blob;
    const { session, chunks } = await store.database.batch(
      { seal: sealUpload(this.#id, offset), session: selectUpload(this.#id), chunks: selectChunks(this.#id.id) },
      { again: true },
    );
    const [row] = session;
    if (mayBeFinished(this.#upload, row, digest)) return objects.promiseAgain(this.#blob);
    if (row?.state !== 'open' || row.size !== offset)
      throw await this.#tools.order.refusal(this.#owner, this.#upload, row);
    await multipart.complete(row, chunks);
    const others = chunks.flatMap(({ key, start, size }) => (key === null ? [] : { key, start, size }));
    const first = row.key === null ? [] : [{ key: row.key, size: others[0]?.start ?? row.size }];
    const pieces = [...first, ...others, ...tail];
    const size = offset + tail.reduce((sum, piece) => sum + piece.size, 0) + (body?.length ?? 0);
    const own = pieces.length === 1 && body === undefined && tail.length === 0 ? row.key : null;
    if (own !== null) await assembler.verify(own, digest, size);
    const key = own ?? (await assembler.join(pieces, body, size, digest));
    const writeId = crypto.randomUUID();
    const finish = { size: offset, digest, whole: size, own: own === null ? undefined : store.name, now: lease.now };
    const take = finishJoined(this.#id, writeId, finish);
    await this.#commit({ take, writeId, key, size, isFresh: own === null });
  }

  /**
   * Commits an object as the session's blob. `isFresh` says that this request wrote the object, so nobody else can use
   * it; otherwise it is the session's own.
   */
  async #commit(write: {
    readonly take: BoundStatement;
    readonly writeId: string;
    readonly key: string;
    readonly size: number;
    readonly isFresh: boolean;
  }): Promise<void> {
    const { store, objects, order } = this.#tools;
    const { session, location, object, chunks } = await store.database.batch(
      {
        take: write.take,
        commit: commitObjectOfUpload(this.#blob, write.key, write.size, this.#id, write.writeId),
        session: selectUpload(this.#id),
        location: selectLocation(this.#blob),
        object: selectObject(this.#id),
        chunks: selectChunks(this.#id.id),
      },
      { again: ({ session: found }) => found[0]?.write_id === write.writeId },
    );
    const [row] = session;
    if (row?.write_id !== write.writeId) {
      if (write.isFresh) objects.discard([write.key]);
      if (mayBeFinished(this.#upload, row, this.#blob.digest)) return objects.promiseAgain(this.#blob);
      throw await order.notTaken(this.#owner, this.#upload, row, write.size);
    }
    if (!write.isFresh) return this.#settle(location, object, chunks);
    const kept = location[0]?.key;
    if (kept === undefined || !(await objects.adopt(this.#blob, kept, write.key))) objects.discard([write.key]);
    objects.discardSession(this.#id, object[0], chunks);
  }
}

/** Tells whether a session has become this blob, or has no row any more, so that only the blob itself can tell. */
export function mayBeFinished({ offset }: UploadReference, row: UploadRow | undefined, digest: Digest): boolean {
  return row === undefined ? offset > 0 : row.state === 'finished' && row.digest === digest;
}
