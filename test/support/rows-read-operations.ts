/** Every operation on a store, to be run on one that {@link fillAsAdversary} has filled. */
import { env } from 'cloudflare:workers';
import { type RepositoryName, type Tag } from '../../src/oci/reference.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { auditBefore } from '../../src/stores/organizations/audit-page-rows.ts';
import * as audit from '../../src/stores/organizations/audit-rows.ts';
import * as blobs from '../../src/stores/blob-rows.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { Database } from '../../src/stores/database.ts';
import * as deletions from '../../src/stores/deletion/deletions.ts';
import * as lists from '../../src/registry/images/list-rows.ts';
import * as repositories from '../../src/registry/images/repository-rows.ts';
import * as images from '../../src/replication/image-state-rows.ts';
import { lookUpVersions } from '../../src/stores/list-rows.ts';
import { recordPulls } from '../../src/stores/manifests/manifest-rows.ts';
import * as mounts from '../../src/stores/mount-rows.ts';
import * as promised from '../../src/stores/promised-links.ts';
import * as pins from '../../src/maintenance/eviction/pin-rows.ts';
import { findShown } from '../../src/stores/deletion/shown.ts';
import { openStore } from '../../src/stores/store.ts';
import { sharedBlobs } from '../../src/stores/manifests/shared-blobs.ts';
import { documentsByHour } from '../../src/stores/manifests/documents-by-hour-rows.ts';
import { latestPushes } from '../../src/stores/manifests/latest-pushes.ts';
import * as history from '../../src/stores/manifests/tag-history.ts';
import { tagsOfManifest } from '../../src/stores/manifests/tags-above.ts';
import {
  BIG,
  COMMON,
  COMMON_BYTES,
  digest,
  MALLORY,
  NOW,
  SHARING,
  SUBJECT_OF_MANY,
  TAG,
  TAGGED,
  TOP,
  UNNEEDED,
} from './adversary.ts';
import { bytesOf, type Fixture, granted, GRACE, imageOf, openFixture, pushBlob, pushImage } from './fixture.ts';
import { type Operation, type Reading, recordReads, refused } from './rows-read.ts';
import { maintenanceOf } from './rows-read-maintenance.ts';
import { removing } from './rows-read-removals.ts';
import { replication } from './rows-read-replication.ts';
import { control } from './rows-read-control.ts';
import { pushesAndPulls } from './rows-read-pushes.ts';

const LEASE = blobs.leaseTimes(NOW, GRACE);
const SMALL = 'mallory/small' as RepositoryName;
const ALL = { ranges: [{ from: '', to: '~' }], publicWithin: { from: '', to: '~' } };
const PAGE = { limit: 10, after: '' };
const tag = (name: string) => name as Tag;
/** A filter of the audit log that no entry matches, and where a page starts. */
const RARE = { by: 'nobody', action: '', from: 0 } as const;
const LATEST = { at: NOW, id: 0 };
const KEPT = { entries: 1000, since: 0 };

/** Returns the operations by name, in the order in which they must run. */
export async function operations(readings: Reading[]): Promise<ReadonlyMap<string, Operation>> {
  const d1 = recordReads(env.DB_CENTRAL, readings);
  const database = new Database(d1);
  const central = openStore('central', d1, env.BLOBS_CENTRAL);
  const node = { ...central, name: 'node1' as typeof central.name };
  const fixture = await openFixture({ database: d1, announces: true });
  return new Map<string, Operation>([
    ...pushesAndPulls(fixture, database),
    ...listing(fixture, database),
    ...control(database, new ControlData(database)),
    ...replication(central, node),
    ...maintenanceOf(central, node),
    ...deleting(fixture, database),
    ...removing(fixture, database, listing(fixture, database)),
  ]);
}

function listing({ registry }: Fixture, database: Database): [string, Operation][] {
  const asked = [{ access: granted(BIG), reference: { kind: 'digest', digest: TAGGED } as const }];
  return [
    ['tags', () => registry.listTags(granted(BIG), PAGE)],
    ['referrers', () => registry.listReferrers(granted(BIG), SUBJECT_OF_MANY, undefined, PAGE)],
    ['referrers of a type', () => registry.listReferrers(granted(BIG), SUBJECT_OF_MANY, 'a/1', PAGE)],
    ['the catalog', () => registry.listRepositories({ ranges: [{ from: 'm', to: 'n' }], withPublic: true }, PAGE)],
    ['images', () => lists.listImages(database, ALL, { part: 'tagged', repository: '', key: '' }, 10, true)],
    [
      'images without a tag',
      () => lists.listImages(database, ALL, { part: 'untagged', repository: BIG, key: '' }, 10, true),
    ],
    ['images by digest', () => registry.findImages(asked)],
    ['images of a digest', () => lists.findInRepositories(database, ALL, { kind: 'digest', digest: TAGGED }, '', 10)],
    ['images of a tag', () => lists.findInRepositories(database, ALL, { kind: 'tag', tag: TAG }, 'mallory/b', 10)],
    ['versions', () => lookUpVersions(database, BIG, [TAG, tag('c00001')], [TAGGED, digest('0', 1)])],
    ['history', () => history.historyOfTag(database, BIG, TAG, { version: 50_000, origin: '~' }, KEPT, 10)],
    ['one write of a tag', () => history.writeOfTag(database, BIG, TAG, { version: 1005, origin: 'central' })],
    ['tags with a history', () => history.tagsWithHistory(database, { repository: '', name: '' }, 10)],
    ['trim histories', () => history.trimHistories(database, [{ repository: BIG, name: TAG }], KEPT, 10)],
    ['a write of a tag', () => images.knowsWrite(database, BIG, TAG, 1005, 'central')],
    ['blobs of an image', () => images.blobsOfImage(database, BIG, TOP)],
    ['outbox entries of an image', () => images.outboxEntriesOfImage(database, BIG, TOP, TAG)],
    ['latest pushes', () => latestPushes(database, ALL.ranges, 10)],
    ['documents by the hour', () => documentsByHour(database, NOW, 2160)],
    ['shared blobs', () => sharedBlobs(database, BIG, SHARING, ALL.ranges)],
    ['pulls', () => recordPulls(database, BIG, [TAGGED, TOP], NOW)],
    ['links among blobs', () => blobs.linkedAmong(database, BIG, [COMMON, digest('e', 5)])],
    [
      'blobs with a promise',
      () => {
        const wanted = [{ digest: COMMON, linkedElsewhere: true }];
        return blobs.findBlobsAndPromise(database, BIG, wanted, 'central', LEASE, DEFAULT_LIMITS);
      },
    ],
    ['a public blob', () => blobs.findBlobAndPromise(database, BIG, COMMON, 'central', LEASE, { onlyIfPublic: true })],
    ['a blob', () => blobs.findBlob(database, BIG, COMMON, 'central')],
    ['a location', () => blobs.localLocation(database, COMMON, 'central')],
    ['where to mount from', () => mounts.findMountSource(database, UNNEEDED, [{ from: 'bob/', to: 'bob0' }])],
    [
      'a mount from elsewhere',
      () => promised.linkFromElsewhere(database, SMALL, { digest: digest('9', 3), size: 5 }, NOW, NOW, DEFAULT_LIMITS),
    ],
    ['the greatest version', () => database.batch([history.selectGreatestTagVersion(BIG, [TAGGED])])],
    [
      'a blob counts again',
      () => {
        const blob = {
          repository: BIG,
          digest: digest('e', 2),
          store: 'central',
          lease: LEASE,
          limits: DEFAULT_LIMITS,
        };
        return database.batch([blobs.countAgain(blob)]);
      },
    ],
    [
      'a link until',
      () =>
        database.batch(promised.linkUntil(BIG, { digest: COMMON, size: COMMON_BYTES.byteLength }, NOW, NOW + GRACE)),
    ],
    [
      'an entry of the audit log',
      () =>
        database.batch([
          audit.audit(
            'delete blob',
            { organization: MALLORY, repository: BIG, key: '' },
            { subject: 'id5', host: '' },
            NOW,
          ),
        ]),
    ],
    [
      'a prefetch in the audit log',
      () =>
        database.batch(
          [NOW, NOW + 1].map((now) =>
            audit.auditPrefetch(
              { organization: MALLORY, repository: BIG, key: TAG },
              { subject: 'id5', host: '' },
              now,
            ),
          ),
        ),
    ],
    [
      'repositories by push',
      () => repositories.repositoriesByPush(database, MALLORY, { pushedAt: NOW, name: BIG }, 10),
    ],
    ['public repositories of a range', () => repositories.publicWithin(database, ALL.publicWithin, 'mallory/', 10)],
    ['repositories with their tags', () => repositories.repositoriesNamed(database, [BIG, SMALL])],
    ['last pulls of repositories', () => repositories.lastPulls(database, [BIG, SMALL])],
    ['audit', () => auditBefore(database, undefined, RARE, LATEST, 10)],
    ['audit of an organization', () => auditBefore(database, MALLORY, RARE, LATEST, 10)],
    ['pin', () => pins.pin(database, BIG, TAG, NOW)],
    ['pinned', () => pins.pinnedAt(database, BIG, TAG)],
    ['unpin', () => pins.unpin(database, BIG, TAG, NOW)],
  ];
}

function deleting(fixture: Fixture, database: Database): [string, Operation][] {
  const { registry } = fixture;
  return [
    ['push beyond the quota', () => pushBlob(fixture, bytesOf(600, 5000), BIG).catch(refused)],
    ['delete a blob that dead manifests name', () => registry.deleteBlob(BIG, COMMON).catch(refused)],
    ['delete a blob elsewhere', () => registry.deleteBlob('mallory/00002' as RepositoryName, COMMON).catch(refused)],
    ['delete a blob that only dead manifests name', () => registry.deleteBlob(BIG, UNNEEDED).catch(refused)],
    ['link it again', () => database.batch(promised.linkUntil(BIG, { digest: UNNEEDED, size: 5 }, NOW, NOW))],
    ['use of a blob', () => deletions.blobUse(database, BIG, COMMON)],
    ['delete a tag', () => registry.deleteTag(BIG, TAG)],
    ['delete a manifest below a tag', () => registry.deleteManifest(BIG, TAGGED).catch(refused)],
    ['delete the tag above it', () => registry.deleteTag(BIG, tag('top'))],
    ['tags above a manifest', () => tagsOfManifest(database, BIG, TAGGED)],
    ['shown tag', () => findShown(database, BIG, { kind: 'tag', tag: tag('d00001') })],
    ['delete a manifest of many tags', () => registry.deleteManifest(BIG, TAGGED)],
    [
      'push that manifest again',
      async () => {
        await env.DB_CENTRAL.prepare('UPDATE organizations SET quota_bytes = NULL').run();
        await pushImage(fixture, { ...(await imageOf(COMMON, [])), digest: TAGGED }, [], BIG);
      },
    ],
    ['delete the large index', () => registry.deleteManifest(BIG, TOP).catch(refused)],
  ];
}
