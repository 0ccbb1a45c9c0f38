/**
 * Fetches a blob from an upstream once, into a handout, and has it stored from there in one piece. A run that was
 * killed has its parts: the upstream sends only the rest, and the store is given all of it again.
 */
import { blobPieces } from '../oci-client/blob-download.ts';
import { ContentError } from '../oci-client/content-error.ts';
import type { Repository } from '../oci-client/repository.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { organizationOf, type RepositoryName } from '../oci/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { digestMismatch } from '../stores/bucket.ts';
import { Hash } from '../stores/uploads/blob-writer.ts';
import type { Cursor, Handout } from './handout.ts';

export interface BlobFetchOptions {
  readonly digest: Digest;
  readonly handout: Handout;
  /** The repository at the upstream. */
  readonly source: Repository;
  /** The upstream's answer, if it has begun to send the blob. */
  readonly begun: Response | undefined;
  /** Aborts the requests of `source`. */
  readonly abort: AbortController;
  readonly registry: Registry;
  /** The repository here. */
  readonly repository: RepositoryName;
  /** Is told how many bytes are in parts. */
  readonly onLanded: (bytes: number) => void;
}

/**
 * Fetches the blob, and returns what became of it. Over the organization's quota it is not kept, but readers get it.
 * @returns the refusal of the store; undefined if the blob is stored
 * @throws the first failure: of the upstream, of the store, or ContentError for wrong bytes
 */
export async function bringBlob(options: BlobFetchOptions): Promise<OciError | undefined> {
  const { digest, handout, source, begun, abort, onLanded } = options;
  const { size } = handout;
  let failure: { readonly cause: unknown } | undefined;
  const orStop = (cause: unknown): undefined => {
    failure ??= { cause };
    handout.fail(cause);
    abort.abort(cause);
  };
  const pump = async (): Promise<void> => {
    const pieces = blobPieces(source, { digest, size }, handout.end, size, begun);
    for await (const piece of pieces) await handout.write(piece);
  };
  const [refusal] = await Promise.all([
    keep(options).catch(orStop),
    pump().catch(orStop),
    handout.land(onLanded).catch(orStop),
  ]);
  if (failure !== undefined) throw failure.cause;
  return refusal;
}

async function keep(options: BlobFetchOptions): Promise<OciError | undefined> {
  const { digest, handout } = options;
  const pin = handout.pin(handout.end);
  try {
    await store(options, pin);
    return undefined;
  } catch (error) {
    if (!(error instanceof OciError) || error.kind !== 'QUOTA_EXCEEDED') throw asContentError(error, digest);
    await requireDigest(handout.read(0, handout.size, pin), digest).catch((wrong: unknown) => {
      throw asContentError(wrong, digest);
    });
    return error;
  }
}

/** Has the blob stored as a push has. @throws the failure that came first: of reading it, or of the store */
async function store({ digest, handout, registry, repository }: BlobFetchOptions, pin: Cursor): Promise<void> {
  const { size: length } = handout;
  if (length === 0) return registry.putBlob(repository, digest, undefined);
  const { readable: stream, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  let failure: { readonly cause: unknown } | undefined;
  const orAbort = (cause: unknown): void => {
    failure ??= { cause };
    void writer.abort(cause).catch(() => undefined);
  };
  const pass = async (): Promise<void> => {
    for await (const piece of handout.read(0, length, pin)) await writer.write(piece);
    await writer.close();
  };
  const stored = registry.putBlob(repository, digest, { stream, length, owner: organizationOf(repository) });
  await Promise.all([pass().catch(orAbort), stored.catch(orAbort)]);
  if (failure !== undefined) throw failure.cause;
}

/** @throws OciError DIGEST_INVALID */
async function requireDigest(pieces: AsyncIterable<Uint8Array>, digest: Digest): Promise<void> {
  const hash = new Hash(algorithmOf(digest));
  for await (const piece of pieces) await hash.update(piece as Uint8Array<ArrayBuffer>);
  if ((await hash.digest()) !== digest) throw digestMismatch(digest);
}

function asContentError(error: unknown, digest: Digest): unknown {
  const isWrong = error instanceof OciError && error.kind === 'DIGEST_INVALID';
  return isWrong ? new ContentError(`the upstream sent other bytes than those of ${digest}`) : error;
}
