/** Turns what stores know about a reference or a blob into the answer that a client gets. */
import { logFailure } from '../log.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { type BlobRows, type CheckedLocationRow, type LocationRow, localLocation } from '../stores/blob-rows.ts';
import type { ByteRange } from '../stores/bucket.ts';
import type { Unlinked } from '../stores/deletion/deletions.ts';
import { type ManifestRow, SMALL_DOCUMENT_BYTES } from '../stores/manifests/manifest-rows.ts';
import type { Store } from '../stores/store.ts';
import { type ManifestVersions, isAlive, isVisible, type TagVersion } from '../stores/versions.ts';
import { NotPublic, type ReadAccess } from './access.ts';
import type { MakeRoom, ManifestDescriptor, Page } from './registry.ts';

/** @throws NotPublic if the access depends on the repository being public and it is not */
export function requirePublic(access: ReadAccess, isPublic: boolean): void {
  if (access.condition === 'if-public' && !isPublic) throw new NotPublic();
}

/** Returns whether a reference resolves, given its tag and its manifest. */
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

/** Returns what was found; undefined if the registry has no such thing. */
export async function ifKnown<Found>(found: Promise<Found>): Promise<Found | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isUnknown(error)) return undefined;
    throw error;
  }
}

/** Returns whether an error says that a registry has no such thing. */
export function isUnknown(error: unknown): boolean {
  return error instanceof OciError && ['BLOB_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN'].includes(error.kind);
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
 * Returns the document of a manifest that a store has found. A large document is read separately, once there is room
 * for it in memory.
 * @param contents the document, in parts, if it is small
 * @param read reads the whole document, in parts
 * @returns undefined if the document has been deleted since
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

/**
 * Cuts a page from the items of a list.
 * @param found at least one item more than `limit`, if there are that many
 */
export function pageOf<Item>(found: readonly Item[], limit: number, key: (item: Item) => string): Page<Item> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, last: found.length > limit && last !== undefined ? key(last) : undefined };
}

export type StoreOf = (name: string) => Store | undefined;

/** A location whose object has been opened. */
interface Opened {
  readonly location: LocationRow;
  readonly content: ReadableStream<Uint8Array>;
}

/**
 * Opens the nearest location that still has its object. It skips a location if its object is gone or its store does not
 * answer.
 * @param locations nearest first
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

/** Asks each store that was tried for its current location of a blob, and returns those with a different key. */
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

/**
 * Returns whether any location still has its object. An answer that promises bytes in another store needs this check.
 */
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
 * Returns the locations from which a blob can be read. If every location is damaged, it returns those that have been
 * repaired since.
 * @throws OciError UNAVAILABLE, with a line in the log, if none has been repaired
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

/**
 * Returns the error for a blob whose bytes cannot be read, and logs why.
 * @param locations the locations that were tried: each becomes a line in the log
 */
export function bytesUnreachable(
  digest: Digest,
  locations: readonly (Pick<CheckedLocationRow, 'store' | 'key'> & Partial<CheckedLocationRow>)[],
): OciError {
  for (const { store, key, damage } of locations) {
    logFailure({ unreadable: digest, store, key, problem: damage ?? 'the object cannot be read at the moment' });
  }
  return new OciError('UNAVAILABLE', {
    message: 'the bytes of this blob cannot be reached at the moment: try again',
    detail: { digest },
    headers: { 'Retry-After': '5' },
  });
}
