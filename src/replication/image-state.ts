/** Reports how far an image has been replicated from the node that it was pushed to. */
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { composeStores } from '../registry/compose.ts';
import { type BlobOfImage, blobsOfImage, knowsWrite, outboxEntriesOfImage } from './image-state-rows.ts';
import { findManifest } from '../stores/manifests/manifest-rows.ts';
import type { Store } from '../stores/store.ts';
import {
  compareTags,
  isAlive,
  isVisible,
  type ManifestVersions,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../stores/versions.ts';
import { queueOf } from './durable-object.ts';
import { copyUpJob, type Job, outboxEntryJob } from './machine.ts';

export type State = 'pending' | 'announced' | 'settled' | 'parked' | 'superseded';

/** The state of one write. Once another write has won, every field except `version` describes the winner. */
export interface ImageState {
  /** Undefined if a deletion has won. */
  readonly digest: Digest | undefined;
  readonly state: State;
  /** The version of the write that was asked about. */
  readonly version: number;
  /** The store that made the write; undefined for an image that was asked for by digest. */
  readonly origin: string | undefined;
  readonly blobs: Amount;
  readonly bytes: Amount;
  /** The attempts of the job that has failed most often; a parked job comes first. */
  readonly attempts: number;
  readonly lastError: string | undefined;
  /** The part of the image that each store has. */
  readonly locations: readonly { readonly store: string; readonly blobs: number; readonly bytes: number }[];
}

interface Amount {
  /** The part of it that central has. */
  readonly copied: number;
  readonly total: number;
}

/** Returns whether a state stays until somebody acts. */
export function isFinal(state: State): boolean {
  return state === 'settled' || state === 'parked' || state === 'superseded';
}

/**
 * Reports the state of a write.
 * @param version the version of the write, if the caller knows it; otherwise the host's latest write is meant
 * @throws OciError MANIFEST_UNKNOWN, even for a write that the host does not know; UNAVAILABLE
 */
export async function imageState(
  config: Config,
  env: object,
  namespace: Namespace,
  repository: RepositoryName,
  reference: Reference,
  version: number | undefined,
): Promise<ImageState> {
  const [central, ...nodes] = composeStores(config, env);
  const here = nodes.find(({ name }) => name === namespace.store) ?? central;
  const [local, remote] = await Promise.all([
    findManifest(here.database, repository, reference, 'descriptor'),
    here === central ? undefined : findManifest(central.database, repository, reference, 'descriptor'),
  ]);
  const tag = mergeTags(local.tag, remote?.tag);
  const asked = version ?? local.tag?.version ?? tag?.version;
  const row = [local.manifest, remote?.manifest].find((manifest) =>
    reference.kind === 'digest' ? manifest !== undefined : manifest !== undefined && manifest.digest === tag?.digest,
  );
  const removed = Math.max(local.removed, remote?.removed ?? 0);
  const lifecycle = [local.manifest, remote?.manifest]
    .filter((manifest) => manifest?.digest === row?.digest)
    .reduce<ManifestVersions>((a, b) => mergeManifests(a, b ?? NO_MANIFEST), underRemoval(NO_MANIFEST, removed));
  const alive = reference.kind === 'tag' ? isVisible(tag, lifecycle) : isAlive(lifecycle);
  const greatest = reference.kind === 'tag' ? (tag?.version ?? 0) : lifecycle.created;
  if (row === undefined || !alive || (version !== undefined && version > greatest)) {
    if (version !== undefined && isDeletedSince(version, reference, tag, lifecycle)) {
      return deletedSince(version, tag !== undefined && removed >= tag.version ? central.name : tag?.origin);
    }
    throw new OciError('MANIFEST_UNKNOWN', { detail: { name: repository } });
  }
  const superseded = await isSuperseded(here, repository, reference, version, local.tag, tag);
  const isAtCentral = here === central || isVisible(remote?.tag, remote?.manifest ?? NO_MANIFEST);

  const tagName = reference.kind === 'tag' ? reference.tag : undefined;
  const [outboxEntries, atCentral, atHere] = await Promise.all([
    here === central ? [] : outboxEntriesOfImage(here.database, repository, row.digest, tagName),
    blobsOfImage(central.database, repository, row.digest),
    here === central ? [] : blobsOfImage(here.database, repository, row.digest),
  ]);
  const blobs = union(atCentral, atHere);
  const settled = blobs.filter((blob) => blob.stores.includes(central.name));
  const waiting = blobs.filter((blob) => !blob.stores.includes(central.name));
  const jobs = await jobsOf(config, env, here.name, outboxEntries.map(outboxEntryJob), waiting, central.name);
  const [worst] = jobs.toSorted((a, b) => Number(b.parked) - Number(a.parked) || b.attempts - a.attempts);
  // Until central knows the winner, no other host shows it. A caller that waits for this write then waits for the
  // winner.
  const isLocalWinner = tag !== undefined && local.tag !== undefined && compareTags(tag, local.tag) === 0;
  const isAnnounced = isAtCentral && !(isLocalWinner && outboxEntries.length > 0);
  const state = ((): State => {
    if (superseded && isAnnounced) return 'superseded';
    if (worst?.parked === true) return 'parked';
    if (superseded || outboxEntries.length > 0) return 'pending';
    return waiting.length > 0 ? 'announced' : 'settled';
  })();
  const names = new Set(blobs.flatMap(({ stores: all }) => all));
  return {
    digest: row.digest,
    state,
    version: asked ?? row.created,
    origin: tag?.origin,
    blobs: { copied: settled.length, total: blobs.length },
    bytes: { copied: sum(settled), total: sum(blobs) },
    attempts: worst?.attempts ?? 0,
    lastError: worst?.error,
    locations: [...names].map((store) => {
      const there = blobs.filter(({ stores: all }) => all.includes(store));
      return { store, blobs: there.length, bytes: sum(there) };
    }),
  };
}

/**
 * Returns whether another write has won over the one that was asked about. Two stores can give writes of a tag the same
 * version. In that case the host's write is meant, if it made one, and otherwise the winner.
 * @param local the tag in the host's store
 * @param winner the tag after merging the rows of all stores
 */
async function isSuperseded(
  here: Store,
  repository: RepositoryName,
  reference: Reference,
  version: number | undefined,
  local: TagVersion | undefined,
  winner: TagVersion | undefined,
): Promise<boolean> {
  if (reference.kind === 'digest' || winner === undefined) return false;
  if (version === undefined) return local !== undefined && compareTags(winner, local) > 0;
  if (winner.version !== version) return winner.version > version;
  return winner.origin !== here.name && knowsWrite(here.database, repository, reference.tag, version, here.name);
}

/** Returns whether a deletion of the tag or its manifest has won over a write. At equal versions the deletion wins. */
function isDeletedSince(
  version: number,
  reference: Reference,
  tag: TagVersion | undefined,
  { deleted }: ManifestVersions,
): boolean {
  if (reference.kind === 'digest') return deleted >= version;
  return tag !== undefined && tag.version >= version && (tag.digest === null || deleted >= version);
}

function deletedSince(version: number, origin: string | undefined): ImageState {
  const none = { copied: 0, total: 0 };
  return {
    digest: undefined,
    state: 'superseded',
    version,
    origin,
    blobs: none,
    bytes: none,
    attempts: 0,
    lastError: undefined,
    locations: [],
  };
}

/** Returns the failed jobs of an image: of its announcement, and of the copies up of its blobs from the nodes. */
async function jobsOf(
  config: Config,
  env: object,
  here: string,
  outboxEntries: readonly string[],
  waiting: readonly BlobOfImage[],
  central: string,
): Promise<Job[]> {
  const byStore = new Map<string, string[]>();
  if (outboxEntries.length > 0) byStore.set(here, [...outboxEntries]);
  for (const { digest, stores } of waiting) {
    for (const store of stores) byStore.set(store, [...(byStore.get(store) ?? []), copyUpJob(digest)]);
  }
  byStore.delete(central);
  // If a queue does not answer, the state is based on the stores alone.
  const answers = await Promise.all(
    [...byStore].map(([store, ids]) =>
      Promise.resolve(queueOf(env, config, store).jobs(ids)).catch((): readonly undefined[] => []),
    ),
  );
  return answers.flat().flatMap((job) => (job === undefined ? [] : [{ ...job }]));
}

function sum(blobs: readonly BlobOfImage[]): number {
  return blobs.reduce((total, { size }) => total + size, 0);
}

function union(a: readonly BlobOfImage[], b: readonly BlobOfImage[]): BlobOfImage[] {
  const all = new Map(a.map((blob) => [blob.digest, blob]));
  for (const blob of b) {
    const known = all.get(blob.digest);
    all.set(blob.digest, { ...blob, stores: [...new Set([...(known?.stores ?? []), ...blob.stores])] });
  }
  return [...all.values()];
}
