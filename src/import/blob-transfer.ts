/**
 * Brings the bytes of one blob from an upstream into the store, through the operations of a push. A large blob goes
 * through an upload session in chunks, so that a run that is killed loses one chunk at most.
 *
 * Bytes pass in pieces, within the isolate's budget, and the store checks the digest.
 */
import { piecesOf } from '../oci-client/answer.ts';
import type { Content } from '../oci-client/content.ts';
import { algorithmOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { organizationOf, type RepositoryName } from '../oci/reference.ts';
import type { Body, PresentedSession, Registry } from '../registry/registry.ts';

/** The largest blob that comes in one piece. It is lost if the run is killed. */
const WHOLE_BYTES = 64 * 1024 ** 2;
/** Each is a part of a multipart upload. */
const CHUNK_BYTES = 32 * 1024 ** 2;

export interface UploadRecord {
  read(): string | undefined;
  /** @param reference undefined once the upload has ended */
  write(reference: string | undefined): void;
}

export interface Transfer {
  readonly registry: Registry;
  readonly repository: RepositoryName;
  /** The owner of the upload session. */
  readonly subject: string;
  readonly record: UploadRecord;
  readonly onBytes: (bytes: number) => void;
  /** Called between two chunks. It may throw, which ends the transfer there. */
  readonly mayGoOn: () => void;
}

/** @throws OciError as a push does, or the failure of the content */
export async function transferBlob(content: Content, transfer: Transfer): Promise<void> {
  const { registry, repository } = transfer;
  const { digest, size } = content;
  if (size > WHOLE_BYTES) return transferInChunks(content, transfer);
  if (size === 0) return registry.putBlob(repository, digest, undefined);
  await passing(content, 0, size, transfer, (body) => registry.putBlob(repository, digest, body));
}

async function transferInChunks(content: Content, transfer: Transfer): Promise<void> {
  const { registry, repository, subject, record, mayGoOn } = transfer;
  const { digest, size } = content;
  const begun = record.read();
  const sessionOf = (reference: string): PresentedSession => ({ repository, subject, reference });
  try {
    let progress =
      begun === undefined
        ? await registry.openUpload(repository, subject, algorithmOf(digest))
        : await registry.uploadProgress(sessionOf(begun));
    while (progress.size < size) {
      mayGoOn();
      const [start, end] = [progress.size, Math.min(progress.size + CHUNK_BYTES, size)];
      const session = sessionOf(progress.reference);
      progress = await passing(content, start, end, transfer, (body) => registry.appendChunk(session, start, body));
      record.write(progress.reference);
    }
    await registry.finishUpload(sessionOf(progress.reference), digest, undefined, undefined);
  } catch (error) {
    // A session that is lost, or that holds other bytes, is useless. The next attempt starts from the beginning.
    if (error instanceof OciError && SESSION_IS_LOST.has(error.kind)) record.write(undefined);
    throw error;
  }
  record.write(undefined);
}

const SESSION_IS_LOST: ReadonlySet<string> = new Set([
  'UPLOAD_UNKNOWN',
  'CHUNK_OUT_OF_ORDER',
  'DIGEST_INVALID',
  'TOO_MANY_CHUNKS',
]);

/**
 * Gives a part of the content to an operation as its body.
 * @throws the failure that came first: of the content, or of the operation
 */
async function passing<Result>(
  content: Content,
  start: number,
  end: number,
  { repository, onBytes }: Transfer,
  take: (body: Body) => Promise<Result>,
): Promise<Result> {
  const { readable, writable } = new FixedLengthStream(end - start);
  const writer = writable.getWriter();
  let failure: { readonly cause: unknown } | undefined;
  const fail = (cause: unknown): void => {
    failure ??= { cause };
    void writer.abort(cause).catch(() => undefined);
  };
  const pump = async (): Promise<void> => {
    let at = start;
    for await (const piece of piecesOf(content.open(start, end))) {
      await writer.write(piece);
      at += piece.byteLength;
      onBytes(at);
    }
    await writer.close();
  };
  const body = { stream: readable, length: end - start, owner: organizationOf(repository) };
  const taking = take(body);
  const [, taken] = await Promise.allSettled([pump().catch(fail), taking.catch(fail)]);
  if (failure !== undefined) throw failure.cause;
  return (taken as PromiseFulfilledResult<Result>).value;
}
