/**
 * Fetches a blob from an upstream once, into a handout, and stores it from there in one piece. A killed run leaves its
 * parts. The next run asks the upstream for the rest only, and gives the store the whole blob again.
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
import type { Handout } from './handout.ts';

/** Storing a blob waits for its readers at most so long. It would take the processor that they need. */
const SERVED_MILLISECONDS = 1000;

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
 * Fetches the blob and stores it. A blob that exceeds the organization's quota goes to its readers, but is not kept.
 * @returns the refusal of the store; undefined if the blob is stored
 * @throws the first failure: of the upstream, of the store, or ContentError for wrong bytes
 */
export async function bringBlob(options: BlobFetchOptions): Promise<OciError | undefined> {
  const { digest, handout, source, begun, abort, onLanded } = options;
  const { size } = handout;
  let failure: { readonly cause: unknown } | undefined;
  const orStop = (cause: unknown): undefined => {
    failure ??= { cause: asContentError(cause, digest) };
    handout.fail(cause);
    abort.abort(cause);
  };
  const orThrow = (): void => {
    if (failure !== undefined) throw failure.cause;
  };
  const pump = async (): Promise<void> => {
    const pieces = blobPieces(source, { digest, size }, handout.end, size, begun);
    for await (const piece of pieces) await handout.write(piece);
  };
  const landing = handout.land(onLanded).catch(orStop);
  const keep = handout.hasParts ? keepParts(options, landing.then(orThrow)) : keepWhole(options);
  const [refusal] = await Promise.all([keep.catch(orStop), pump().catch(orStop), landing]);
  orThrow();
  return refusal;
}

/** Stores a blob while it arrives. The store checks its digest. */
async function keepWhole(options: BlobFetchOptions): Promise<OciError | undefined> {
  const { digest, handout } = options;
  const pin = handout.pin(0);
  const refusal = await store(options, (writable) => writeAll(handout.read(0, handout.size, pin), writable));
  if (refusal !== undefined) await requireDigest(handout.read(0, handout.size, pin), digest);
  return refusal;
}

/**
 * Checks the digest while a blob arrives, because its readers wait for nothing else. Stores the blob from its parts
 * afterwards, because two writes at once would slow it down.
 */
async function keepParts(options: BlobFetchOptions, landed: Promise<void>): Promise<OciError | undefined> {
  const { digest, handout } = options;
  landed.catch(() => undefined);
  await requireDigest(handout.read(0, handout.size, handout.pin(0)), digest);
  handout.finish(undefined);
  await landed;
  await handout.served(SERVED_MILLISECONDS);
  // The event loop sends the last bytes meanwhile. While objects are copied, it may not reach the network for seconds.
  await new Promise((done) => setTimeout(done, 1));
  return store(options, (writable, signal) => handout.copy(0, handout.size, writable, signal));
}

/** Returns the refusal of a blob that exceeds the organization's quota. @throws any other failure */
function refusalIn(error: unknown): OciError {
  if (error instanceof OciError && error.kind === 'QUOTA_EXCEEDED') return error;
  throw error;
}

/**
 * Stores the blob by the operation of a push.
 * @param write writes its bytes, and closes
 * @returns the refusal of a blob that exceeds the organization's quota; undefined if the blob is stored
 * @throws any other first failure, of the read or of the store
 */
async function store(
  { digest, handout, registry, repository }: BlobFetchOptions,
  write: (writable: WritableStream<Uint8Array>, signal: AbortSignal) => Promise<void>,
): Promise<OciError | undefined> {
  const { size: length } = handout;
  if (length === 0) return registry.putBlob(repository, digest, undefined).then(() => undefined, refusalIn);
  const { readable: stream, writable } = new FixedLengthStream(length);
  const stop = new AbortController();
  let failure: { readonly cause: unknown } | undefined;
  const written = write(writable, stop.signal).catch((cause: unknown) => {
    failure ??= { cause };
    void writable.abort(cause).catch(() => undefined);
  });
  const stored = registry.putBlob(repository, digest, { stream, length, owner: organizationOf(repository) });
  await stored.catch((cause: unknown) => {
    failure ??= { cause };
    stop.abort(cause);
    // The writer must not wait any longer for its bytes to be read.
    void stream.cancel(cause).catch(() => undefined);
  });
  await written;
  return failure && refusalIn(failure.cause);
}

async function writeAll(pieces: AsyncIterable<Uint8Array>, writable: WritableStream<Uint8Array>): Promise<void> {
  const writer = writable.getWriter();
  try {
    for await (const piece of pieces) await writer.write(piece);
    await writer.close();
  } finally {
    writer.releaseLock();
  }
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
