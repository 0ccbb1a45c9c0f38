/** Lists of images over one store: at a node its own, which is what lies near. */
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
import type { ListableRepositories, ReadAccess } from '../access.ts';
import type { ListedImage, Page, PageRequest } from '../registry.ts';

/** Most repositories that one page looks through for a tag or digest. */
const MAX_WALKED = 1000;

export async function pageOfImages(
  database: Database,
  repositories: ListableRepositories,
  withUntagged: boolean,
  page: PageRequest,
): Promise<Page<ListedImage>> {
  return pageMadeOf(await rowsOfImages(database, repositories, withUntagged, page), page);
}

/** What a page is made of. */
export function rowsOfImages(
  database: Database,
  repositories: ListableRepositories,
  withUntagged: boolean,
  { limit, after }: PageRequest,
): Promise<ImagePage> {
  // One more than asked for: it says whether a page follows.
  return listImages(database, repositories, positionOf(after), limit + 1, withUntagged);
}

/**
 * Rows of two stores from one position on, as rows of one. What is before the last of the page is in its store's rows,
 * since these are as many as the page has. Of two writes of a tag the later is shown.
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
    // It has a tag, or an index that it is part of, where either store knows of one.
    untagged.set(keyOf(row), { ...(other ?? row), shown: row.shown && (other?.shown ?? true) });
  }
  return {
    tagged: inOrder([...tagged.values()], ({ tag }) => tag).slice(0, limit + 1),
    untagged: inOrder([...untagged.values()], ({ digest }) => digest).slice(0, limit + 1),
  };
}

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

export async function pageOfImagesOf(
  database: Database,
  repositories: ListableRepositories,
  reference: Reference,
  { limit, after }: PageRequest,
): Promise<Page<ListedImage>> {
  const found = await findInRepositories(database, repositories, reference, after, Math.min(limit, MAX_WALKED));
  return { items: found.images.map(foundImage), last: found.last };
}

export type WantedImages = readonly { readonly access: ReadAccess; readonly reference: Reference }[];

/** In the order in which they are asked for; undefined for one that is not there, or not to be seen. */
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

/** Each image once. */
export function distinctImages(images: readonly (ListedImage | undefined)[]): ListedImage[] {
  return [...new Map(images.flatMap((image) => (image === undefined ? [] : [[keyOf(image), image]]))).values()];
}

/** Where a page starts: `<repository>:<tag>`, or, once there are no more of those, `@<repository>@<digest>`. */
const UNTAGGED = '@';

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
