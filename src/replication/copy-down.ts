/** Copies blobs and images down into a node's store, after a remote read at the node or in advance of one. */
import { HOUR } from '../durations.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { LEVELS_BELOW } from '../stores/manifests/listed-manifests.ts';
import {
  CHUNK_MANIFESTS,
  chunksOf,
  type ManifestHeadRecord,
  readHeads,
  readManifests,
} from '../stores/manifests/manifest-records.ts';
import { findBlob, localLocation } from '../stores/blob-rows.ts';
import { removeNewLink } from '../stores/promised-links.ts';
import { keepCopiedDown, linkCopiedDown } from './copy-rows.ts';
import { findManifest, recordPulls } from '../stores/manifests/manifest-rows.ts';
import { mergeRows } from '../stores/merge.ts';
import type { Store } from '../stores/store.ts';
import { leaveToCentral } from '../stores/organizations/usage-rows.ts';
import { isAlive, isVisible } from '../stores/versions.ts';
import { OutOfTime, PermanentError } from './machine.ts';
import type { Pair } from './pair.ts';
import type { CopyDown } from './queue-state.ts';
import { dropProgress, type ProgressKeeper, transfer } from './transfer.ts';

/**
 * Copies one blob down. Returns how many bytes were copied: 0 if the node has the blob already, or central lacks it.
 */
export async function copyBlobDown(
  { node, central, now }: Pair,
  { repository, digest }: CopyDown,
  storeOf: (name: string) => Store | undefined,
  keeper: ProgressKeeper,
  mayGoOn: () => boolean,
): Promise<number> {
  const name = `down ${digest}`;
  const local = await findBlob(node.database, repository, digest, node.name);
  const [near] = local.locations;
  if (local.linked && near !== undefined) {
    await dropProgress(name, node.bucket, near.key, keeper);
    return 0;
  }
  const remote = await findBlob(central.database, repository, digest, central.name, local.linked);
  if (remote.locations.length === 0) return 0;
  const there = await localLocation(node.database, digest, node.name);
  const here = there?.damage === null ? there : undefined;
  const at = now();
  let copied = 0;
  let kept = here === undefined || local.linked ? here?.key : await linkCopiedDown(node, repository, digest, at);
  if (kept === undefined) {
    const { key, size } = await fromNearest(remote.locations);
    copied = size;
    // Once a row names the object, a collection may delete both at any time, so no later attempt may reuse the object.
    keeper.forgetProgress(name);
    // The lease is over at once, because no client was promised this blob. A manifest keeps it, and central has it too.
    kept = await keepCopiedDown(node, repository, { digest, key, size }, at, at, !local.linked);
    if (kept !== key) await node.bucket.delete([key]);
  } else await dropProgress(name, node.bucket, kept, keeper);
  // Check again whether the blob is linked at central. If it was unlinked in the meantime, the node may have applied
  // that entry of the change log before this link existed.
  const again = local.linked || (await findBlob(central.database, repository, digest, central.name)).linked;
  if (!again) await node.database.batch([removeNewLink(repository, digest, at)]);
  return copied;

  async function fromNearest(locations: typeof remote.locations): Promise<{ key: string; size: number }> {
    let failure: unknown;
    for (const location of locations) {
      const from = storeOf(location.store)?.bucket;
      if (from === undefined || location.store === node.name) continue;
      try {
        const object = { name, from, key: location.key, to: node.bucket, digest, size: location.size };
        return { key: await transfer(object, keeper, mayGoOn), size: location.size };
      } catch (error) {
        if (error instanceof OutOfTime) throw error;
        // Try the next location. If all fail, prefer an error that is not permanent, so that the copy is retried.
        if (failure === undefined || failure instanceof PermanentError) failure = error;
      }
    }
    throw failure ?? new OciError('UNAVAILABLE', { message: 'no location of the blob can be read: try again' });
  }
}

/**
 * The limits on how much of an image is copied down in advance. An image may be an index of indexes, with gigabytes of
 * manifests and millions of references, and a request for it costs its sender nothing. A pull still finds what is left
 * out.
 */
export const COPIED_DOWN_AT_MOST = {
  levels: LEVELS_BELOW,
  manifests: 1000,
  /** Bytes of manifests. */
  bytes: 32 * 1024 * 1024,
  /** References of manifests. The chunk that exceeds this is still copied. */
  references: 25_000,
} as const;

export interface CopiedImage {
  readonly digest: Digest;
  /** The blobs that it needs. */
  readonly blobs: readonly Digest[];
  /** False if a part is left to pulls, because the image is larger than {@link COPIED_DOWN_AT_MOST}. */
  readonly isComplete: boolean;
}

/**
 * Copies an image's rows down into a node's store, with central's versions and without outbox entries.
 * @returns undefined if central does not have the image
 */
export async function copyImageDown(
  pair: Pair,
  repository: RepositoryName,
  reference: Reference,
): Promise<CopiedImage | undefined> {
  const { node, central, now } = pair;
  const { tag, manifest } = await findManifest(central.database, repository, reference, 'descriptor');
  const alive = manifest !== undefined && (reference.kind === 'tag' ? isVisible(tag, manifest) : isAlive(manifest));
  if (!alive) return undefined;
  const copy = new ImageCopy(pair, repository);
  const isComplete = await copy.run(manifest.digest);
  if (reference.kind === 'tag' && tag !== undefined) {
    const row = { ...tag, repository, name: reference.tag };
    const merged = mergeRows({ tags: [row], lifecycles: [], manifests: [], blobs: [] }, now());
    await node.database.batch([...merged, ...leaveToCentral([], [row])]);
  }
  return { digest: manifest.digest, blobs: [...copy.blobs], isComplete };
}

/** Copies the manifests of an image, level by level and in chunks, until {@link COPIED_DOWN_AT_MOST}. */
class ImageCopy {
  readonly #pair: Pair;
  readonly #repository: RepositoryName;
  readonly #seen = new Set<Digest>();
  readonly #left = { ...COPIED_DOWN_AT_MOST };
  /** The blobs of the manifests that were copied. */
  readonly blobs = new Set<Digest>();

  constructor(pair: Pair, repository: RepositoryName) {
    this.#pair = pair;
    this.#repository = repository;
  }

  /** Returns whether all manifests of the image were copied. */
  async run(image: Digest): Promise<boolean> {
    let level: readonly Digest[] = [image];
    for (let depth = 0; depth <= COPIED_DOWN_AT_MOST.levels && level.length > 0; depth++) {
      const below: Digest[] = [];
      for (let i = 0; i < level.length; i += CHUNK_MANIFESTS) {
        for (const chunk of chunksOf(await this.#heads(level.slice(i, i + CHUNK_MANIFESTS)))) {
          if (!this.#hasRoomFor(chunk)) return false;
          below.push(...(await this.#copy(chunk)));
        }
      }
      level = below;
    }
    return level.length === 0;
  }

  #heads(digests: readonly Digest[]): Promise<ManifestHeadRecord[]> {
    const wanted = digests.map((digest) => ({ repository: this.#repository, digest }));
    return readHeads(this.#pair.central.database, wanted);
  }

  #hasRoomFor(chunk: readonly ManifestHeadRecord[]): boolean {
    const { manifests, bytes, references } = this.#left;
    return chunk.length <= manifests && bytesIn(chunk) <= bytes && references > 0;
  }

  /** Copies one chunk of manifests. Returns the manifests that these list, each only once for the whole image. */
  async #copy(chunk: readonly ManifestHeadRecord[]): Promise<Digest[]> {
    const { node, central, now } = this.#pair;
    const whole = await readManifests(central.database, node.name, chunk);
    await node.database.batch([
      ...mergeRows({ tags: [], lifecycles: [], ...whole }, now()),
      ...leaveToCentral(whole.manifests, []),
    ]);
    // Somebody wants the image here, so it must not be the first to be evicted, however old it is.
    const digests = chunk.map(({ digest }) => digest);
    await recordPulls(node.database, this.#repository, digests, Math.floor(now() / HOUR) * HOUR);
    for (const { digest } of whole.blobs) this.blobs.add(digest);
    const descriptors = whole.manifests.flatMap((manifest) => manifest.descriptors);
    this.#left.manifests -= chunk.length;
    this.#left.bytes -= bytesIn(chunk);
    this.#left.references -= descriptors.length;
    const children = descriptors.filter(({ kind, digest }) => kind === 'child' && !this.#seen.has(digest));
    const below = new Set(children.map(({ digest }) => digest));
    for (const digest of [...digests, ...below]) this.#seen.add(digest);
    return [...below];
  }
}

function bytesIn(manifests: readonly ManifestHeadRecord[]): number {
  return manifests.reduce((sum, { size }) => sum + size, 0);
}
