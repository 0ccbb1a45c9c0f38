/** Removals of repositories and organizations in a store that {@link fillAsAdversary} has filled, slice by slice. */
import { env } from 'cloudflare:workers';
import type { OrganizationName, RepositoryName } from '../../src/oci/reference.ts';
import type { Database } from '../../src/stores/database.ts';
import { clearOrganization } from '../../src/stores/deletion/deletions.ts';
import { forgetRemoval, knownRemovals, removalsAfter } from '../../src/maintenance/collection/forgotten-removals.ts';
import { knownRepository, mergeRemoval, removedBefore, removedUntil } from '../../src/stores/deletion/removals.ts';
import { sweepSlice, unsweptRemovals } from '../../src/stores/deletion/sweep-rows.ts';
import { BIG, COMMON, NOW } from './adversary.ts';
import { bytesOf, type Fixture, imageOf, pushBlob, pushImage } from './fixture.ts';
import { type Operation, refused } from './rows-read.ts';

const SMALL = 'mallory/00003' as RepositoryName;
const OTHER = 'org9' as OrganizationName;
/** A version later than any in the store. */
const LATEST = Number.MAX_SAFE_INTEGER - 1;

/** Slices of the sweep of the large repository, enough to reach every table. */
const SLICES = 40;

/** Returns the operations. @param lists operations to repeat in the middle of a sweep */
export function removing(
  fixture: Fixture,
  database: Database,
  lists: readonly [string, Operation][],
): [string, Operation][] {
  const { registry } = fixture;
  const midway = lists.map(([name, operation]): [string, Operation] => [`during the sweep: ${name}`, operation]);
  return [
    ['remove a repository', () => registry.deleteRepository(SMALL)],
    [
      'sweep it',
      async () => {
        while (await sweepSlice(database, SMALL));
      },
    ],
    ['remove the large repository', () => registry.deleteRepository(BIG)],
    [
      'slices of its sweep',
      async () => {
        for (let slice = 0; slice < SLICES; slice++) await sweepSlice(database, BIG);
      },
    ],
    [
      'push to it during the sweep',
      async () => {
        await env.DB_CENTRAL.prepare('UPDATE organizations SET quota_bytes = NULL').run();
        await pushImage(fixture, await imageOf(await pushBlob(fixture, bytesOf(700, 20), BIG), []), ['again'], BIG);
      },
    ],
    ...midway,
    ['delete a blob that hidden manifests name', () => registry.deleteBlob(BIG, COMMON).catch(refused)],
    ['remove an organization', () => database.batch(clearOrganization(OTHER, NOW))],
    [
      'merge the removal of an organization',
      () => database.batch(mergeRemoval({ name: OTHER, version: LATEST - 1 }, NOW)),
    ],
    ['merge the removal of a repository', () => database.batch(mergeRemoval({ name: BIG, version: LATEST - 1 }, NOW))],
    [
      'sweep an organization',
      async () => {
        while (await sweepSlice(database, OTHER));
      },
    ],
    ['unswept removals', () => unsweptRemovals(database, '', 10)],
    ['removal of a repository', () => removedUntil(database, BIG)],
    ['version of that removal', () => removedBefore(database, BIG)],
    ['a known repository', () => knownRepository(database, BIG)],
    ['known removals', () => knownRemovals(database, [BIG, SMALL])],
    [
      'forget a removal',
      async () => {
        const removals = await removalsAfter(database, '', 10, LATEST, LATEST, []);
        for (const removal of removals.filter(({ due }) => due === 1)) await forgetRemoval(database, removal);
      },
    ],
    ['forget a removal under way', () => forgetRemoval(database, { name: BIG, version: 1, position: '', due: 1 })],
  ];
}
