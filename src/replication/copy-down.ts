/** Copies blobs and images down into a node's store, after a remote read at the node or in advance of one. */
import { HOUR } from '../durations.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { readHeads, readManifests } from '../stores/manifests/manifest-records.ts';
import { findBlob, localLocation } from '../stores/blob-rows.ts';
import { keepCopiedDown, linkCopiedDown, removeCopiedDownLink } from './copy-rows.ts';
import { findManifest, recordPulls } from '../stores/manifests/manifest-rows.ts';
import { mergeRows } from '../stores/merge.ts';
import type { Store } from '../stores/store.ts';
import { leaveTagsToCentral, leaveToCentral } from '../stores/organizations/usage-rows.ts';
import { isAlive, isVisible } from '../stores/versions.ts';
import { PermanentError } from './machine.ts';
import type { Pair } from './pair.ts';
import type { CopyDown } from './queue-state.ts';
import { dropProgress, OutOfTime, type ProgressKeeper, transfer } from './transfer.ts';

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
  if (!again) await node.database.batch([removeCopiedDownLink(repository, digest, at)]);
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
        // Try the next location. If all fail, report an error that a later attempt can overcome, if there is one.
        if (failure === undefined || failure instanceof PermanentError) failure = error;
      }
    }
    throw failure ?? new OciError('UNAVAILABLE', { message: 'no location of the blob can be read: try again' });
  }
}

/**
 * Copies an image's rows down into a node's store, with central's versions and without outbox entries.
 * @returns the image's digest and the blobs that it needs; undefined if central does not have the image
 */
export async function copyImageDown(
  { node, central, now }: Pair,
  repository: RepositoryName,
  reference: Reference,
): Promise<{ readonly digest: Digest; readonly blobs: readonly Digest[] } | undefined> {
  const { tag, manifest } = await findManifest(central.database, repository, reference, 'descriptor');
  const alive = manifest !== undefined && (reference.kind === 'tag' ? isVisible(tag, manifest) : isAlive(manifest));
  if (!alive) return undefined;
  const blobs = new Set<Digest>();
  const seen = new Set<Digest>();
  let level: readonly Digest[] = [manifest.digest];
  while (level.length > 0) {
    for (const digest of level) seen.add(digest);
    const heads = await readHeads(
      central.database,
      level.map((digest) => ({ repository, digest })),
    );
    const whole = await readManifests(central.database, node.name, heads);
    await node.database.batch([
      ...mergeRows({ tags: [], lifecycles: [], ...whole }, now()),
      ...leaveToCentral(whole.manifests),
    ]);
    // Somebody wants the image here, so it must not be the first to be evicted, however old it is.
    await recordPulls(node.database, repository, level, Math.floor(now() / HOUR) * HOUR);
    for (const { digest } of whole.blobs) blobs.add(digest);
    const children = whole.manifests.flatMap(({ references }) => references.filter(({ kind }) => kind === 'child'));
    level = [...new Set(children.map(({ digest }) => digest))].filter((digest) => !seen.has(digest));
  }
  if (reference.kind === 'tag' && tag !== undefined) {
    const row = { ...tag, repository, name: reference.tag };
    const merged = mergeRows({ tags: [row], lifecycles: [], manifests: [], blobs: [] }, now());
    await node.database.batch([...merged, ...leaveTagsToCentral([row])]);
  }
  return { digest: manifest.digest, blobs: [...blobs] };
}
