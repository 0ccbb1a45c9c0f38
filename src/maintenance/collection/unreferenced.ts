/**
 * Going over a store's links, then its locations, by digest: a slice looks at so many rows and hands over what nobody
 * needs.
 */
import { deleteUnreferencedLinks, linksAfter, locationsAfter, type StoredLocation } from './collection-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { Slice } from '../round.ts';

const ROWS = 1000;

type Position = readonly [phase: 'links' | 'locations', digest: string, name: string, stopped?: string];

/**
 * One slice.
 * @param position as the last slice gave it: JSON of the phase, the digest, the repository or store, and what an
 *   earlier slice of the round could not do; '' for the start
 * @param remove what to do with locations that nobody needs; says what it could not do, null where it did all, and
 *   undefined where there was nothing to do. What could not be done is said until it can be, or the next round begins
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
  const said = unreferenced.length === 0 ? undefined : await remove(unreferenced);
  const stopped = said === undefined ? before : (said ?? undefined);
  const last = locations.at(-1);
  const more = locations.length === ROWS && last !== undefined;
  const next: Position | undefined = more
    ? ['locations', last.digest, last.store, ...(stopped === undefined ? ([] as const) : ([stopped] as const))]
    : undefined;
  return { position: next && JSON.stringify(next), stopped };
}
