/** Lists of images in one store. A node lists its own store by default, because that is what it serves from nearby. */
import type { Reference } from '../../oci/reference.ts';
import { VERSIONS_PER_MILLISECOND } from '../../stores/clock.ts';
import type { Database } from '../../stores/database.ts';
import {
  findImages,
  findInRepositories,
  type FoundImageRow,
  type ImagePage,
  type ImagePosition,
  type ImageRow,
  inOrder,
  listImages,
  type NamedVersion,
} from './list-rows.ts';
import type { ListableRepositories } from '../access.ts';
import type { ListedImage, Page, PageRequest, WantedImages } from '../registry.ts';

/** The most repositories that one page searches for a tag or digest. */
const MAX_WALKED = 1000;

/** Returns a page of the images in one store. */
export async function pageOfImages(
  database: Database,
  repositories: ListableRepositories,
  withUntagged: boolean,
  page: PageRequest,
): Promise<Page<ListedImage>> {
  return pageMadeOf(await rowsOfImages(database, repositories, withUntagged, page), page);
}

/** Reads the rows of a page. */
export function rowsOfImages(
  database: Database,
  repositories: ListableRepositories,
  withUntagged: boolean,
  { limit, after }: PageRequest,
): Promise<ImagePage> {
  // One row more than asked for tells whether another page follows.
  return listImages(database, repositories, positionOf(after), limit + 1, withUntagged);
}

/**
 * Merges the rows of two stores, read from the same position, as if they were from one. Each store has read as many
 * rows as the page holds, so no row of the page is missing. If both stores have a tag, the later write is shown.
 */
export function mergeImagePages(local: ImagePage, remote: ImagePage, { limit }: PageRequest): ImagePage {
  const tagged = new Map(remote.tagged.map((row) => [`${row.repository}:${row.tag}`, row]));
  for (const row of local.tagged) {
    const key = `${row.repository}:${row.tag}`;
    const other = tagged.get(key);
    if (other === undefined || other.version < row.version) tagged.set(key, row);
  }
  const untagged = new Map(remote.untagged.map((row) => [keyOf(row), row]));
  for (const row of local.untagged) {
    const other = untagged.get(keyOf(row));
    // The image is untagged only if neither store has a tag for it, or an index that lists it.
    untagged.set(keyOf(row), { ...(other ?? row), shown: row.shown && (other?.shown ?? true) });
  }
  return {
    tagged: inOrder([...tagged.values()], ({ tag }) => tag).slice(0, limit + 1),
    untagged: inOrder([...untagged.values()], ({ digest }) => digest).slice(0, limit + 1),
  };
}

/** Makes a page from the rows of one store, or from those that {@link mergeImagePages} has merged. */
export function pageMadeOf(found: ImagePage, { limit }: PageRequest): Page<ListedImage> {
  const tagged = found.tagged.slice(0, limit);
  const images = new Map<string, ListedImage>();
  for (const { tag, version, shown, ...row } of tagged) {
    if (!shown) continue;
    const key = keyOf(row);
    const image = images.get(key) ?? imageOf(row, []);
    images.set(key, { ...image, tags: [...image.tags, ...tagsOf([{ name: tag, version }])] });
  }
  const lastTag = tagged.at(-1);
  if (found.tagged.length > limit) {
    return { items: [...images.values()], last: lastTag && `${lastTag.repository}:${lastTag.tag}` };
  }
  const looked = found.untagged.slice(0, limit - tagged.length);
  const untagged = looked.filter(({ shown }) => shown).map((row) => imageOf(row, []));
  const items = [...images.values(), ...untagged];
  if (found.untagged.length <= looked.length) return { items, last: undefined };
  const lastDigest = looked.at(-1);
  return {
    items,
    last: lastDigest === undefined ? UNTAGGED : `${UNTAGGED}${lastDigest.repository}@${lastDigest.digest}`,
  };
}

/** Returns a page of the images in one store that have a given tag or digest. */
export async function pageOfImagesOf(
  database: Database,
  repositories: ListableRepositories,
  reference: Reference,
  { limit, after }: PageRequest,
): Promise<Page<ListedImage>> {
  const found = await findInRepositories(database, repositories, reference, after, Math.min(limit, MAX_WALKED));
  return { items: found.images.map(foundImage), last: found.last };
}

/**
 * Returns the images in the order in which they were asked for; undefined for one that does not exist or may not be
 * seen.
 */
export async function imagesAmong(database: Database, wanted: WantedImages): Promise<(ListedImage | undefined)[]> {
  if (wanted.length === 0) return [];
  const rows = await findImages(
    database,
    wanted.map(({ access, reference }) => ({
      repository: access.repository,
      reference,
      granted: access.condition === 'granted',
    })),
  );
  const found = new Map(rows.map((row) => [row.asked, foundImage(row)]));
  return wanted.map((_, i) => found.get(i));
}

/** Removes duplicates and missing images. */
export function distinctImages(images: readonly (ListedImage | undefined)[]): ListedImage[] {
  return [...new Map(images.flatMap((image) => (image === undefined ? [] : [[keyOf(image), image]]))).values()];
}

/**
 * The position before the first untagged image, and the prefix of all positions among them, `@<repository>@<digest>`.
 * Positions among tagged images have the form `<repository>:<tag>`.
 */
export const UNTAGGED = '@';

function positionOf(after: string): ImagePosition {
  const part = after.startsWith(UNTAGGED) ? 'untagged' : 'tagged';
  const rest = part === 'untagged' ? after.slice(UNTAGGED.length) : after;
  const end = rest.indexOf(part === 'untagged' ? '@' : ':');
  return end < 0
    ? { part, repository: rest, key: '' }
    : { part, repository: rest.slice(0, end), key: rest.slice(end + 1) };
}

function keyOf({ repository, digest }: Pick<ListedImage, 'repository' | 'digest'>): string {
  return `${repository}@${digest}`;
}

function imageOf({ repository, digest, created, size, kind }: ImageRow, tags: readonly NamedVersion[]): ListedImage {
  return { repository, digest, tags: tagsOf(tags), createdAt: millisecondsOf(created), size, kind };
}

function foundImage(row: FoundImageRow): ListedImage {
  return imageOf(row, row.tags);
}

function tagsOf(tags: readonly NamedVersion[]): ListedImage['tags'] {
  return tags.map(({ name, version }) => ({ name, pushedAt: millisecondsOf(version) }));
}

function millisecondsOf(version: number): number {
  return Math.floor(version / VERSIONS_PER_MILLISECOND);
}
