/** Fetches a blob from an upstream once: into the parts of a handout, from which it is stored like a push. */
import { transferBlob, type Transfer } from '../import/blob-transfer.ts';
import { SliceOver } from '../import/slice.ts';
import { blobPieces, streamOf } from '../oci-client/blob-download.ts';
import { ContentError } from '../oci-client/content-error.ts';
import type { Content } from '../oci-client/content.ts';
import type { Repository } from '../oci-client/repository.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { digestMismatch } from '../stores/bucket.ts';
import { Hash } from '../stores/uploads/blob-writer.ts';
import type { Handout } from './handout.ts';

export interface BlobFetchOptions {
  readonly digest: Digest;
  readonly handout: Handout;
  /** The repository at the upstream. */
  readonly source: Repository;
  /** Aborts the requests of `source`. */
  readonly abort: AbortController;
  readonly transfer: Omit<Transfer, 'onBytes'>;
  /** Waits for an invocation of its own, when the one under way has done its share. */
  readonly nextTurn: () => Promise<void>;
  /** Is told how many bytes are in parts. */
  readonly onLanded: (bytes: number) => void;
}

/**
 * Fetches the blob, and returns what became of it. Over the organization's quota it is not kept, but readers get it.
 * @returns the refusal of the store; undefined if the blob is stored
 * @throws the first failure: of the upstream, of the store, or ContentError for wrong bytes
 */
export async function bringBlob(options: BlobFetchOptions): Promise<OciError | undefined> {
  const { digest, handout, source, abort, onLanded } = options;
  const { size } = handout;
  let failure: { readonly cause: unknown } | undefined;
  const orStop = (cause: unknown): undefined => {
    failure ??= { cause };
    handout.fail(cause);
    abort.abort(cause);
  };
  const pump = async (): Promise<void> => {
    for await (const piece of blobPieces(source, { digest, size }, handout.end, size)) await handout.write(piece);
  };
  const [refusal] = await Promise.all([
    keep(options).catch(orStop),
    pump().catch(orStop),
    handout.land(onLanded).catch(orStop),
  ]);
  if (failure !== undefined) throw failure.cause;
  return refusal;
}

async function keep({ digest, handout, transfer, nextTurn }: BlobFetchOptions): Promise<OciError | undefined> {
  const { size } = handout;
  const pin = handout.pin(handout.end);
  const content: Content = { digest, size, open: (start, end) => streamOf(handout.read(start, end, pin)) };
  for (;;) {
    try {
      await transferBlob(content, { ...transfer, onBytes: () => undefined });
      return undefined;
    } catch (error) {
      if (error instanceof SliceOver) await nextTurn();
      else if (!(error instanceof OciError)) throw error;
      else if (error.kind === 'QUOTA_EXCEEDED') {
        await requireDigest(handout.read(0, size, pin), digest).catch(asContentError);
        return error;
      } else asContentError(error);
    }
  }

  function asContentError(error: unknown): never {
    if (!(error instanceof OciError) || error.kind !== 'DIGEST_INVALID') throw error;
    throw new ContentError(`the upstream sent other bytes than those of ${digest}`);
  }
}

/** @throws OciError DIGEST_INVALID */
async function requireDigest(pieces: AsyncIterable<Uint8Array>, digest: Digest): Promise<void> {
  const hash = new Hash(algorithmOf(digest));
  for await (const piece of pieces) await hash.update(piece as Uint8Array<ArrayBuffer>);
  if ((await hash.digest()) !== digest) throw digestMismatch(digest);
}
