/** Going over a store's links, then its locations, by digest: a slice looks at so many rows and hands over what nobody needs. */
import { deleteUnusedLinks, linksAfter, locationsAfter, type StoredLocation } from '../stores/collection-rows.ts';
import type { Store } from '../stores/store.ts';
import type { Slice } from './round.ts';

const ROWS = 1000;

type Phase = 'links' | 'locations';

/**
 * One slice.
 * @param position as the last slice gave it: JSON of the phase, the digest, and the repository or store; '' for the start
 * @param remove what to do with locations that nobody needs; may say what it could not do
 */
export async function removeUnused(
  { database }: Store,
  position: string,
  now: number,
  remove: (unused: readonly StoredLocation[]) => Promise<string | undefined>,
): Promise<Slice> {
  const [phase, digest, name] = (position === '' ? ['links', '', ''] : JSON.parse(position)) as [Phase, string, string];
  if (phase === 'links') {
    const links = await linksAfter(database, { digest, repository: name }, ROWS, now);
    const unused = links.filter((link) => link.unused === 1);
    if (unused.length > 0) await database.batch([deleteUnusedLinks(unused, now)]);
    const last = links.at(-1);
    const next = links.length < ROWS || last === undefined ? ['locations', '', ''] : ['links', last.digest, last.repository];
    return { position: JSON.stringify(next) };
  }
  const locations = await locationsAfter(database, { digest, store: name }, ROWS, now);
  const unused = locations.filter((location) => location.unused === 1);
  const stopped = unused.length === 0 ? undefined : await remove(unused);
  const last = locations.at(-1);
  const more = locations.length === ROWS && last !== undefined;
  return { position: more ? JSON.stringify(['locations', last.digest, last.store]) : undefined, stopped };
}
