/**
 * Walks a store's links, then its locations, by digest. Each slice looks at a page of rows, and removes the
 * unreferenced ones.
 */
import { deleteUnreferencedLinks, linksAfter, locationsAfter, type StoredLocation } from './collection-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { Slice } from '../round.ts';

/** Rows that one slice looks at. */
const ROWS = 1000;

type Position = readonly [phase: 'links' | 'locations', digest: string, name: string, stopped?: string];

/**
 * Does one slice of the walk.
 * @param position the position that the last slice returned: JSON of the phase, the digest, the repository or store,
 *   and the work that an earlier slice of the round could not do; '' at the start
 * @param remove removes unreferenced locations. It returns the work that it could not do, null if it did everything, or
 *   undefined if there was nothing to do. Slices report that work until one of them succeeds or the next round begins
 */
export async function removeUnreferenced(
  { database }: Store,
  position: string,
  now: number,
  remove: (unreferenced: readonly StoredLocation[]) => Promise<string | null | undefined>,
): Promise<Slice> {
  const [phase, digest, name, before] = (position === '' ? ['links', '', ''] : JSON.parse(position)) as Position;
  if (phase === 'links') {
    const links = await linksAfter(database, { digest, repository: name }, ROWS, now);
    const unreferenced = links.filter((link) => link.unreferenced === 1);
    if (unreferenced.length > 0) await database.batch([deleteUnreferencedLinks(unreferenced, now)]);
    const last = links.at(-1);
    const next =
      links.length < ROWS || last === undefined ? ['locations', '', ''] : ['links', last.digest, last.repository];
    return { position: JSON.stringify(next) };
  }
  const locations = await locationsAfter(database, { digest, store: name }, ROWS, now);
  const unreferenced = locations.filter((location) => location.unreferenced === 1);
  const failure = unreferenced.length === 0 ? undefined : await remove(unreferenced);
  const stopped = failure === undefined ? before : (failure ?? undefined);
  const last = locations.at(-1);
  const more = locations.length === ROWS && last !== undefined;
  const next: Position | undefined = more
    ? ['locations', last.digest, last.store, ...(stopped === undefined ? ([] as const) : ([stopped] as const))]
    : undefined;
  return { position: next && JSON.stringify(next), stopped };
}
