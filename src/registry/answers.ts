/** From what stores say of a reference or a blob to what a client is told. */
import { logFailure } from '../log.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { type BlobRows, type CheckedLocationRow, type LocationRow, localLocation } from '../stores/blob-rows.ts';
import type { Unlinked } from '../stores/deletion/deletions.ts';
import { type ManifestRow, SMALL_DOCUMENT_BYTES } from '../stores/manifests/manifest-rows.ts';
import type { Store } from '../stores/store.ts';
import { type ManifestVersions, isAlive, isVisible, type TagVersion } from '../stores/versions.ts';
import { NotPublic, type ReadAccess } from './access.ts';
import type { MakeRoom, ManifestDescriptor, Page } from './registry.ts';

/** @throws NotPublic */
export function requirePublic(access: ReadAccess, isPublic: boolean): void {
  if (access.condition === 'if-public' && !isPublic) throw new NotPublic();
}

/** Whether a reference resolves, given what is known of its tag and manifest. */
export function resolves(reference: Reference, tag: TagVersion | undefined, manifest: ManifestVersions): boolean {
  return reference.kind === 'tag' ? isVisible(tag, manifest) : isAlive(manifest);
}

export function manifestUnknown(repository: RepositoryName, reference: Reference, repositoryExists: boolean): OciError {
  if (!repositoryExists) return nameUnknown(repository);
  const wanted = reference.kind === 'tag' ? { tag: reference.tag.slice(0, 200) } : { digest: reference.digest };
  return new OciError('MANIFEST_UNKNOWN', { detail: { name: repository, ...wanted } });
}

export function nameUnknown(repository: RepositoryName): OciError {
  return new OciError('NAME_UNKNOWN', { detail: { name: repository } });
}

export function blobUnknown(repository: RepositoryName, digest: Digest): OciError {
  return new OciError('BLOB_UNKNOWN', { detail: { name: repository, digest } });
}

/** @throws OciError BLOB_UNKNOWN, BLOB_IN_USE */
export function requireUnlinked(repository: RepositoryName, digest: Digest, result: Unlinked): void {
  if (result.outcome === 'unknown') throw blobUnknown(repository, digest);
  if (result.outcome === 'referenced') throw new OciError('BLOB_IN_USE', { detail: { digest, manifest: result.by } });
}

export function missingBlobs(repository: RepositoryName, missing: readonly Digest[]): OciError {
  return new OciError('MANIFEST_BLOB_UNKNOWN', {
    entries: missing.map((blob) => ({
      message: `the manifest references ${blob}, which ${repository} does not have: push it first`,
      detail: { digest: blob },
    })),
  });
}

export function descriptorOf({ digest, mediaType, size }: ManifestRow): ManifestDescriptor {
  return { digest, mediaType, size };
}

/**
 * The document of a manifest, of which a store has told. A large one is read by itself, after there is room for it.
 * @returns undefined where it has gone meanwhile
 */
export async function textOf(
  { size }: ManifestRow,
  contents: readonly string[],
  read: () => Promise<readonly string[]>,
  makeRoom?: MakeRoom,
): Promise<string | undefined> {
  if (size <= SMALL_DOCUMENT_BYTES) return contents.join('');
  await makeRoom?.(size);
  const whole = await read();
  return whole.length === 0 ? undefined : whole.join('');
}

export function pageOf<Item>(found: readonly Item[], limit: number, key: (item: Item) => string): Page<Item> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, last: found.length > limit && last !== undefined ? key(last) : undefined };
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export type StoreOf = (name: string) => Store | undefined;

/** A location that was read from. */
export interface Opened {
  readonly location: LocationRow;
  readonly content: ReadableStream<Uint8Array>;
}

/**
 * Opens the nearest location that has its object. One whose object is gone, or whose store does not answer, is passed
 * over: another may do.
 */
export async function openNearest(
  locations: readonly LocationRow[],
  range: ByteRange | undefined,
  storeOf: StoreOf,
): Promise<Opened | undefined> {
  for (const location of locations) {
    const content = await storeOf(location.store)
      ?.bucket.get(location.key, range)
      .catch(() => undefined);
    if (content !== undefined) return { location, content };
  }
  return undefined;
}

/** Where stores say by now, each of itself, that they have a blob under another key than was tried. */
export async function movedLocations(
  tried: readonly LocationRow[],
  digest: Digest,
  storeOf: StoreOf,
): Promise<LocationRow[]> {
  const asked = tried.map(async ({ store, key }) => {
    const database = storeOf(store)?.database;
    const found = database && (await localLocation(database, digest, store).catch(() => undefined));
    return found === undefined || found.key === key || found.damage !== null ? [] : [found];
  });
  return (await Promise.all(asked)).flat();
}

/** Whether any location has its object, for an answer that promises bytes which lie elsewhere. */
export async function isReachable(locations: readonly LocationRow[], storeOf: StoreOf): Promise<boolean> {
  for (const { store, key } of locations) {
    if (
      await storeOf(store)
        ?.bucket.exists(key)
        .catch(() => false)
    )
      return true;
  }
  return false;
}

/**
 * Where a blob can be read. Of one whose every location is damaged, where it has been repaired meanwhile.
 * @throws OciError UNAVAILABLE, with a line in the log, while nothing is repaired
 */
export async function readableLocations(
  { locations, damaged }: Pick<BlobRows, 'locations' | 'damaged'>,
  digest: Digest,
  storeOf: StoreOf,
): Promise<readonly LocationRow[]> {
  if (locations.length > 0 || damaged.length === 0) return locations;
  const moved = await movedLocations(damaged, digest, storeOf);
  if (moved.length === 0) throw bytesUnreachable(digest, damaged);
  return moved;
}

/** @param locations those that were tried: the log says what of the blob is where */
export function bytesUnreachable(
  digest: Digest,
  locations: readonly (Pick<CheckedLocationRow, 'store' | 'key'> & Partial<CheckedLocationRow>)[],
): OciError {
  for (const { store, key, damage } of locations) {
    logFailure({ unreadable: digest, store, key, problem: damage ?? 'the object cannot be read now' });
  }
  return new OciError('UNAVAILABLE', {
    message: 'the bytes of this blob cannot be reached now: try again',
    detail: { digest },
    headers: { 'Retry-After': '5' },
  });
}
