/** Operations of maintenance on a store that {@link fillAsAdversary} has filled. */
import type { RepositoryName } from '../../src/oci/reference.ts';
import * as audit from '../../src/stores/organizations/audit-rows.ts';
import * as collection from '../../src/maintenance/collection/collection-rows.ts';
import * as release from '../../src/maintenance/collection/release-rows.ts';
import * as deleteQueue from '../../src/maintenance/collection/delete-queue-rows.ts';
import * as stored from '../../src/maintenance/eviction/stored-bytes-rows.ts';
import * as evictions from '../../src/maintenance/eviction/eviction-rows.ts';
import * as applied from '../../src/replication/apply-changes.ts';
import { expiredUploads } from '../../src/maintenance/expired-uploads.ts';
import { largestOrganizations } from '../../src/maintenance/largest-organizations.ts';
import { measureRepositories } from '../../src/maintenance/largest-repositories.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { documentsOfHour } from '../../src/maintenance/documents-of-hour.ts';
import * as unpulled from '../../src/maintenance/unpulled-image-rows.ts';
import { usageOfDay } from '../../src/maintenance/usage-of-day.ts';
import * as maintenance from '../../src/maintenance/task-rows.ts';
import * as outboxEntries from '../../src/stores/outbox-rows.ts';
import * as named from '../../src/maintenance/integrity/named-keys.ts';
import * as orphans from '../../src/maintenance/integrity/orphan-rows.ts';
import * as repairs from '../../src/maintenance/integrity/repair-rows.ts';
import * as retired from '../../src/replication/retired-rows.ts';
import * as scrub from '../../src/maintenance/integrity/scrub-rows.ts';
import type { Store } from '../../src/stores/store.ts';
import * as tombstones from '../../src/maintenance/collection/tombstone-rows.ts';
import { BIG, COMMON, digest, LAYER, MALLORY, NOW, TAG, TAGGED, TOP, UNNEEDED } from './adversary.ts';
import { contentDigest, imageOf } from './fixture.ts';
import { openRun } from './maintenance.ts';
import type { Operation } from './rows-read.ts';

const START = { version: 0, repository: '', key: '' };

/** Returns the operations by name, in the order in which they must run. */
export function maintenanceOf(central: Store, node: Store): [string, Operation][] {
  const { database } = central;
  const task = {
    task: 'collect',
    position: '',
    round_started_at: 0,
    round_ended_at: null,
    last_slice_at: 0,
    next_at: 0,
    slices: 0,
    stopped: null,
  };
  const dead = async () => tombstones.manifestDeletions(database, START, Number.MAX_SAFE_INTEGER, 10);
  return [
    [
      'save a task',
      () =>
        database.batch([
          maintenance.saveTask(task),
          maintenance.saveStop(task),
          maintenance.wakeTask('collect'),
          maintenance.countMaintenance('x', 1),
        ]),
    ],
    ['a task', () => maintenance.taskState(database, 'collect')],
    ['tasks', () => maintenance.taskStates(database)],
    ['counters', () => maintenance.maintenanceCounters(database)],
    ['links', () => collection.linksAfter(database, { digest: '', repository: '' }, 100, NOW)],
    [
      'unreferenced links',
      () =>
        database.batch([
          collection.deleteUnreferencedLinks(
            [
              { digest: COMMON, repository: BIG },
              { digest: digest('e', 8), repository: BIG },
            ],
            NOW,
          ),
        ]),
    ],
    ['locations', () => collection.locationsAfter(database, { digest: '', store: '' }, 100, NOW)],
    [
      'unreferenced blobs',
      () =>
        database.batch(
          collection.collectBlobs(
            'central',
            [{ digest: COMMON }, { digest: UNNEEDED }, { digest: digest('e', 10) }],
            NOW,
          ),
        ),
    ],
    ['mark as releasing', () => release.markReleasing(node, [COMMON, UNNEEDED, digest('e', 13)], 'token', NOW)],
    ['release', () => release.release(central, 'node1', [COMMON, UNNEEDED, digest('e', 13)], true, NOW, NOW)],
    [
      'remove released',
      () => release.removeReleased(node, [COMMON, digest('e', 13)], [digest('e', 13)], 'token', NOW, NOW),
    ],
    ['due objects', () => deleteQueue.dueObjects(database, NOW, 10)],
    [
      'forget objects',
      () => database.batch([deleteQueue.forgetQueuedObjects([{ delete_after: 1, key: 'blobs/x1', size: 10 }])]),
    ],
    ['stored bytes', () => stored.storedBytes(central)],
    ['count stored bytes', () => stored.countStoredBytes(central)],
    ['stop counting stored bytes', () => stored.stopCountingStoredBytes(central)],
    ['least used', () => evictions.leastUsed(database, { used_at: -1, repository: '', digest: '' }, 20)],
    ['unsettled', () => evictions.unsettledAmong(central, [COMMON])],
    [
      'evict',
      async () => {
        const pushed = await imageOf(COMMON, [await contentDigest(LAYER)]);
        const roots = [pushed.digest, TAGGED, digest('a', 3999)].map((of) => ({ repository: BIG, digest: of }));
        for (const image of await evictions.imagesAt(node, roots, 1_000_000))
          await evictions.evictImage(database, image, NOW, '');
      },
    ],
    [
      'evict a large index',
      async () => {
        const [image] = await evictions.imagesAt(node, [{ repository: BIG, digest: TOP }], 20_000);
        if (image !== undefined) await evictions.evictImage(database, image, NOW, '');
      },
    ],
    [
      'the largest organizations',
      () => goRound(openRun({ central, nodes: [node], now: () => NOW }), largestOrganizations, central),
    ],
    [
      'the bytes of repositories',
      () => goRound(openRun({ central, nodes: [node], now: () => NOW }), measureRepositories, central),
    ],
    [
      'documents of an hour',
      () => goRound(openRun({ central, nodes: [node], now: () => NOW }), documentsOfHour, central),
    ],
    ['the use of a day', () => goRound(openRun({ central, nodes: [node], now: () => NOW }), usageOfDay, central)],
    ['images after', () => unpulled.imagesAfter(database, MALLORY, 'hub', undefined, 20)],
    ['listed by an index', () => unpulled.listedBy(database, { repository: BIG, digest: TOP }, 20)],
    ['needed among', () => unpulled.neededAmong(database, [{ repository: BIG, digest: digest('a', 3999) }], 0)],
    ['expired uploads', () => goRound(openRun({ central, nodes: [node], now: () => NOW }), expiredUploads, central)],
    ['orphans', () => orphans.orphansBetween(database, { after: '', to: 'blobs/o00010' }, 10)],
    [
      'new orphans',
      () =>
        database.batch([
          orphans.insertOrphans([{ key: 'blobs/1', size: 5 }], NOW),
          orphans.setOrphanDigest('blobs/1', 'sha256', COMMON),
          orphans.setOrphanDigest('blobs/1', 'sha512', COMMON),
        ]),
    ],
    ['candidates', () => orphans.candidates(database, 0, undefined, 10)],
    ['adopt an orphan', () => orphans.adoptOrphan(central, digest('e', 15), undefined, 'blobs/o00001', NOW, NOW)],
    [
      'adopt one for a damaged location',
      () => orphans.adoptOrphan(central, digest('d', 1), 'blobs/d1', 'blobs/o00002', NOW, NOW),
    ],
    ['delete orphans', () => orphans.beginDeleting(database, ['blobs/o00003'], NOW)],
    ['forget orphans', () => database.batch(orphans.forgetOrphans(['blobs/o00003']))],
    ['save repairs', () => repairs.saveRepairProgress(database, COMMON, '{}')],
    ['repairs', () => repairs.repairProgress(database, COMMON)],
    ['forget repairs', () => repairs.saveRepairProgress(database, COMMON, undefined)],
    ['is a store known', () => retired.isKnownStore(database, 'node1')],
    ['known stores', () => retired.knownStores(database)],
    [
      'forget a slice',
      () => retired.forgetStoreSlice(central, 'node1', '', { now: NOW, lost: false, forgetsStore: true }),
    ],
    [
      'forget the last slice',
      () => retired.forgetStoreSlice(central, 'node9', '~', { now: NOW, lost: false, forgetsStore: true }),
    ],
    ['sound locations', () => scrub.soundLocations(database, 'central', '', 10)],
    ['sound locations among', () => scrub.soundAmong(database, 'central', [COMMON])],
    ['named locations', () => named.namedLocations(database, 'central', { after: '', to: '' }, '')],
    [
      'other keys',
      async () => {
        for (const table of ['uploads', 'upload_chunks', 'delete_queue'] as const)
          await named.otherKeys(database, table, undefined);
      },
    ],
    [
      'damage',
      () =>
        database.batch([
          scrub.markDamaged([{ digest: COMMON, key: 'x' }], 'central', 'missing'),
          scrub.repairLocation(digest('d', 2), 'central', 'blobs/d2', { key: 'k', size: 1 }),
        ]),
    ],
    ['damage for people', () => scrub.damageShown(database, 10)],
    ['damaged locations', () => scrub.damagedLocations(database, { digest: '', store: '' }, 10)],
    ['wanted blobs', () => scrub.wantedBlobs(central, { digest: '', repository: '' }, 100)],
    ['wanted blobs of many', () => scrub.wantedBlobs(central, { digest: UNNEEDED, repository: 'mallory/a' }, 100)],
    [
      'add a wanted location',
      () =>
        database.batch([scrub.addWantedLocation({ digest: digest('e', 17), key: 'w', size: 1 }, 'node9', NOW, NOW)]),
    ],
    ['dead tags', () => tombstones.tagTombstones(database, START, Number.MAX_SAFE_INTEGER, 10)],
    [
      'forget tags',
      async () => {
        const dead10 = await tombstones.tagTombstones(database, START, Number.MAX_SAFE_INTEGER, 10);
        await database.batch(
          tombstones.forgetTags([...dead10, { repository: BIG, name: TAG, version: 1 }], ['other1'], 1e15),
        );
        await tombstones.knownTags(database, dead10);
      },
    ],
    [
      'hidden tags',
      async () =>
        database.batch(
          tombstones.deleteHiddenTags(
            [...(await dead()), { repository: BIG, digest: TAGGED, deleted: 1_000_000 }],
            'central',
            true,
            NOW,
          ),
        ),
    ],
    ['strip', async () => database.batch(tombstones.stripDeleted(await dead()))],
    [
      'forget deletions',
      async () =>
        database.batch(
          tombstones.forgetDeletions(
            [...(await dead()), { repository: BIG, digest: TAGGED, deleted: 1_000_000 }],
            ['other1'],
            1e15,
          ),
        ),
    ],
    ['known deletions', async () => tombstones.knownDeletions(database, await dead())],
    [
      'empty repositories',
      () => database.batch([tombstones.forgetEmptyRepositories(['mallory/00009' as RepositoryName, BIG])]),
    ],
    ['old audit', () => audit.deleteOldAudit(database, NOW, 10)],
    ['announce everything', () => outboxEntries.announceAll(database, NOW)],
    ['a snapshot', () => applied.takeSnapshot(database, node, NOW)],
  ];
}
