/** Every operation on a store, to be run on one that {@link fillAsAdversary} has filled. */
import { env } from 'cloudflare:workers';
import type { Digest } from '../../src/oci/digest.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import * as records from '../../src/stores/manifests/manifest-records.ts';
import * as announcements from '../../src/replication/announcement-rows.ts';
import * as audit from '../../src/stores/organizations/audit-rows.ts';
import * as blobs from '../../src/stores/blob-rows.ts';
import { raiseClockTo, selectClock } from '../../src/stores/clock.ts';
import * as collection from '../../src/maintenance/collection/collection-rows.ts';
import * as release from '../../src/maintenance/collection/release-rows.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import * as copies from '../../src/replication/copy-rows.ts';
import { Database } from '../../src/stores/database.ts';
import * as deletions from '../../src/stores/deletion/deletions.ts';
import * as deleteQueue from '../../src/maintenance/collection/delete-queue-rows.ts';
import * as evictions from '../../src/maintenance/eviction/eviction-rows.ts';
import * as changeLog from '../../src/stores/change-log-rows.ts';
import * as applied from '../../src/replication/apply-changes.ts';
import { healthOf } from '../../src/stores/health.ts';
import * as lists from '../../src/registry/images/list-rows.ts';
import * as images from '../../src/replication/image-state-rows.ts';
import { lookUpVersions } from '../../src/stores/list-rows.ts';
import { expiredUploads } from '../../src/maintenance/expired-uploads.ts';
import { goRound } from '../../src/maintenance/round.ts';
import * as maintenance from '../../src/maintenance/task-rows.ts';
import { recordPulls } from '../../src/stores/manifests/manifest-rows.ts';
import * as outboxEntries from '../../src/stores/outbox-rows.ts';
import { mergeRows } from '../../src/stores/merge.ts';
import * as mounts from '../../src/stores/mount-rows.ts';
import * as orphans from '../../src/maintenance/integrity/orphan-rows.ts';
import * as pins from '../../src/maintenance/eviction/pin-rows.ts';
import * as repairs from '../../src/maintenance/integrity/repair-rows.ts';
import { countRefusedLogin } from '../../src/stores/organizations/refused-login-rows.ts';
import * as retired from '../../src/replication/retired-rows.ts';
import { findShown } from '../../src/stores/deletion/shown.ts';
import * as scrub from '../../src/maintenance/integrity/scrub-rows.ts';
import { openStore } from '../../src/stores/store.ts';
import * as history from '../../src/stores/manifests/tag-history.ts';
import { tagsOfManifest } from '../../src/stores/manifests/tags-above.ts';
import * as tombstones from '../../src/maintenance/collection/tombstone-rows.ts';
import { MAX_CHUNKS } from '../../src/stores/uploads/upload-rows.ts';
import * as usage from '../../src/stores/organizations/usage-rows.ts';
import * as shown from '../../src/stores/organizations/usage-shown.ts';
import * as limits from '../../src/stores/organizations/organization-limits.ts';
import {
  BIG,
  COMMON,
  COMMON_BYTES,
  digest,
  MALLORY,
  SUBJECT_OF_MANY,
  TAG,
  TAGGED,
  TOP,
  UNNEEDED,
} from './adversary.ts';
import {
  bodyOf,
  bytesOf,
  type Fixture,
  contentDigest,
  granted,
  GRACE,
  imageOf,
  ofLength,
  indexOf,
  openFixture,
  pushBlob,
  pushImage,
  session,
  SUBJECT,
} from './fixture.ts';
import { openRun } from './maintenance.ts';
import { type Operation, type Reading, recordReads } from './rows-read.ts';
import { removing } from './rows-read-removals.ts';

const NOW = Date.UTC(2026, 0, 2);
const LEASE = blobs.leaseTimes(NOW, GRACE);
const SMALL = 'mallory/small' as RepositoryName;
const ALL = { ranges: [{ from: '', to: '~' }], publicWithin: { from: '', to: '~' } };
const PAGE = { limit: 10, after: '' };
const START = { version: 0, repository: '', key: '' };
const tag = (name: string) => name as Tag;
const organization = (name: string) => name as OrganizationName;

const LAYER = bytesOf(500, 60);
const CONTEXT = { origin: 'central', announces: false, now: NOW };
const KEPT = { entries: 1000, since: 0 };

/** Ignores a refusal: the statements that led to it have run. */
const refused = () => undefined;

/** Returns the operations by name, in the order in which they must run. */
export async function operations(readings: Reading[]): Promise<ReadonlyMap<string, Operation>> {
  const d1 = recordReads(env.DB_CENTRAL, readings);
  const database = new Database(d1);
  const central = openStore('central', d1, env.BLOBS_CENTRAL);
  const node = { ...central, name: 'node1' as typeof central.name };
  const fixture = await openFixture({ database: d1, announces: true });
  return new Map<string, Operation>([
    ...pushesAndPulls(fixture),
    ...listing(fixture, database),
    ...control(database, new ControlData(database)),
    ...replication(central, node),
    ...maintenanceOf(central, node),
    ...deleting(fixture, database),
    ...removing(fixture, database, listing(fixture, database)),
  ]);
}

function pushesAndPulls(fixture: Fixture): [string, Operation][] {
  const { registry } = fixture;
  const layer = LAYER;
  const byTag = (name: string) => ({ kind: 'tag', tag: tag(name) }) as const;
  const byDigest = (of: Digest) => ({ kind: 'digest', digest: of }) as const;
  const large = Array.from({ length: 4000 }, (_, i) => digest('c', i));
  const closed = { at: '' };
  return [
    ['push a blob that many have', () => pushBlob(fixture, COMMON_BYTES, BIG)],
    ['push that blob again', () => pushBlob(fixture, COMMON_BYTES, BIG)],
    ['HEAD of that blob', () => registry.resolveBlob(granted(BIG), COMMON, true)],
    ['GET of that blob', () => registry.getBlob(granted(BIG), COMMON)],
    [
      'a session of chunks',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.uploadProgress(session(one, BIG));
        const two = await registry.appendChunk(session(one, BIG), undefined, bodyOf(layer));
        const both = Uint8Array.from([...layer, ...layer]);
        await registry.finishUpload(session(two, BIG), await contentDigest(both), undefined, undefined);
        await registry.finishUpload(session(two, BIG), await contentDigest(both), undefined, undefined);
      },
    ],
    [
      'a session of one chunk',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.finishUpload(session(one, BIG), await contentDigest(layer), undefined, undefined);
        closed.at = one.reference;
      },
    ],
    [
      'the same bytes in another session, whose object is lost',
      async () => {
        await env.DB_CENTRAL.prepare("UPDATE locations SET key = 'blobs/lost' WHERE digest = ?1")
          .bind(await contentDigest(layer))
          .run();
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await registry.finishUpload(session(one, BIG), await contentDigest(layer), undefined, undefined);
      },
    ],
    [
      'a session that is cancelled',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        await registry.cancelUpload(
          session(await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer)), BIG),
        );
      },
    ],
    [
      'a session of the most chunks',
      async () => {
        const open = await registry.openUpload(BIG, SUBJECT, 'sha256');
        const one = await registry.appendChunk(session(open, BIG), undefined, bodyOf(layer));
        await env.DB_CENTRAL.prepare(
          `WITH RECURSIVE n (i) AS (SELECT -1 UNION ALL SELECT i - 1 FROM n WHERE i > 1 - ${MAX_CHUNKS})
          INSERT INTO upload_chunks SELECT u.id, i, 0, 'blobs/many' FROM (
            SELECT id FROM uploads WHERE repository = '${BIG}' AND state = 'open' AND size = ${layer.byteLength}
            LIMIT 1) AS u CROSS JOIN n`,
        ).run();
        await registry.appendChunk(session(one, BIG), undefined, bodyOf(layer)).catch(refused);
        await registry.finishUpload(session(one, BIG), COMMON, undefined, undefined).catch(refused);
        await registry.cancelUpload(session(one, BIG));
      },
    ],
    ['mount from a repository', () => registry.mountBlob(SMALL, COMMON, granted('mallory/00001' as RepositoryName))],
    [
      'mount from anywhere',
      () =>
        registry.mountBlob('bob/x' as RepositoryName, COMMON, {
          ranges: [{ from: 'bob/', to: 'bob0' }],
          withPublic: true,
        }),
    ],
    [
      'mount of a blob that only others have',
      () => registry.mountBlob('bob/x' as RepositoryName, UNNEEDED, { ranges: [], withPublic: true }),
    ],
    [
      'mount of a blob that nobody has',
      () => registry.mountBlob('bob/x' as RepositoryName, digest('9', 9), { ranges: [], withPublic: true }),
    ],
    [
      'push an image',
      async () => pushImage(fixture, await imageOf(COMMON, [await contentDigest(layer)]), [TAG, 'new'], BIG),
    ],
    ['push a large index', async () => pushImage(fixture, await indexOf(large), ['large'], BIG)],
    [
      'push an index of a large one',
      async () => pushImage(fixture, await indexOf([ofLength(TOP, 600_000), COMMON]), ['top'], BIG),
    ],
    [
      'push a referrer',
      async () =>
        pushImage(
          fixture,
          await imageOf(COMMON, [], { subject: { mediaType: 'a/b', digest: SUBJECT_OF_MANY, size: 1 } }),
          [],
          BIG,
        ),
    ],
    [
      'push a tag too many for one manifest',
      async () => pushImage(fixture, { ...(await imageOf(COMMON, [])), digest: TAGGED }, ['more'], BIG).catch(refused),
    ],
    [
      'a manifest whose blobs are not there',
      () =>
        imageOf(digest('9', 1), [digest('9', 2)])
          .then((image) => pushImage(fixture, image, [], BIG))
          .catch(refused),
    ],
    ['GET by tag', () => registry.getManifest(granted(BIG), byTag(TAG))],
    ['GET of a large index', () => registry.getManifest(granted(BIG), byTag('large'))],
    ['GET by digest', () => registry.getManifest(granted(BIG), byDigest(TAGGED))],
    ['HEAD by tag', () => registry.resolveManifest(granted(BIG), byTag('a00000')).catch(refused)],
    ['HEAD by digest', () => registry.resolveManifest(granted(BIG), byDigest(digest('0', 3))).catch(refused)],
    ['work after responses', () => fixture.settled()],
  ];
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
    ['pulls', () => recordPulls(database, BIG, [TAGGED, TOP], NOW)],
    ['links among blobs', () => blobs.linkedAmong(database, BIG, [COMMON, digest('e', 5)])],
    [
      'blobs with a promise',
      () => blobs.findBlobsAndPromise(database, BIG, [{ digest: COMMON, linkedElsewhere: true }], 'central', LEASE),
    ],
    ['a public blob', () => blobs.findBlobAndPromise(database, BIG, COMMON, 'central', LEASE, { onlyIfPublic: true })],
    ['a blob', () => blobs.findBlob(database, BIG, COMMON, 'central')],
    ['a location', () => blobs.localLocation(database, COMMON, 'central')],
    ['where to mount from', () => mounts.findMountSource(database, UNNEEDED, [{ from: 'bob/', to: 'bob0' }])],
    [
      'a mount from elsewhere',
      () => mounts.linkFromElsewhere(database, SMALL, { digest: digest('9', 3), size: 5 }, NOW, NOW),
    ],
    ['the greatest version', () => history.greatestTagVersion(database, BIG, [TAGGED])],
    [
      'a blob counts again',
      () =>
        database.batch([blobs.countAgain({ repository: BIG, digest: digest('e', 2), store: 'central', lease: LEASE })]),
    ],
    ['a link until', () => database.batch([blobs.linkUntil(BIG, COMMON, NOW, NOW + GRACE)])],
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
    ['audit', () => audit.auditBefore(database, undefined, 0, { at: 50, id: 1 }, 10)],
    ['audit of an organization', () => audit.auditBefore(database, MALLORY, 0, { at: 50, id: 1 }, 10)],
    ['pin', () => pins.pin(database, BIG, TAG, NOW)],
    ['pinned', () => pins.pinnedAt(database, BIG, TAG)],
    ['unpin', () => pins.unpin(database, BIG, TAG, NOW)],
  ];
}

function control(database: Database, data: ControlData): [string, Operation][] {
  const credential = {
    id: 'new',
    kind: 'organization',
    organization: MALLORY,
    name: 'new',
    rights: '[]',
    repositories: '[]',
    secret_hash: 'x',
    created_at: NOW,
    expires_at: null,
    registries: null,
  } as const;
  const repository = 'mallory/00005' as RepositoryName;
  return [
    [
      'a refused login',
      () =>
        database.batch([
          countRefusedLogin({ user: 'c00998', organization: 'x', address: 'a', host: 'h', count: 1 }, NOW),
        ]),
    ],
    ['applied at', () => data.appliedAt('node1')],
    ['log in', () => data.credentialBySecret('hash5')],
    ['credentials', () => data.credentials(MALLORY, '', 10)],
    ['add a credential', () => data.addCredential(credential)],
    ['record its use', () => data.recordUse('new', NOW)],
    ['remove that credential', () => data.removeCredential('new', NOW)],
    ['an organization', () => data.organization(MALLORY)],
    ['its state', () => data.organizationState(MALLORY)],
    ['organizations', () => data.organizations('', 10)],
    ['add an unknown organization', () => data.addUnknownOrganization(organization('eve'), NOW)],
    ['add one whose name is free again', () => data.addOrganization(organization('a00005'), NOW, NOW)],
    ['remove that organization', () => data.removeOrganization(organization('a00005'), NOW)],
    ['repositories', () => data.repositories([{ from: `${MALLORY}/`, to: `${MALLORY}0` }], '', 10)],
    ['add a repository', () => data.addRepository('mallory/zzz' as RepositoryName, NOW)],
    ['a repository', () => data.repository(repository)],
    ['make it private', () => data.setPublic(repository, false, NOW)],
    ['make it public', () => data.setPublic(repository, true, NOW)],
    ['public repositories', () => data.publicAmong([repository, BIG])],
    ['a quota', () => data.setQuota(MALLORY, 1_000_000_000, NOW)],
    ['usage', () => shown.usageAtCentral(database, MALLORY)],
    ['usage at a node', () => shown.usageAmong(database, [MALLORY])],
    ['a credential by name', () => data.credential(MALLORY, 'c00005')],
    ['a secret among some', () => data.knowsSecretAmong(['x', 'hash7'])],
    [
      'limits on another manifest',
      () => limits.limitExceeded(database, BIG, limits.addition(digest('9', 9), 5, [TAG])),
    ],
    ['limits on another upload', () => limits.uploadsExceeded(database, BIG)],
    ['most usage', () => shown.mostUsage(database, 10)],
    ['a full quota', () => data.setQuota(MALLORY, 1, NOW)],
  ];
}

type Named = ReturnType<typeof openStore>;

function replication(central: Named, node: Named): [string, Operation][] {
  const { database } = central;
  const blob = { digest: COMMON, key: 'blobs/n', size: 50 };
  const waiting: outboxEntries.OutboxEntry[] = [
    { kind: 'tag', repository: BIG, key: TAG, version: 1, written_at: 1 },
    { kind: 'manifest', repository: BIG, key: TOP, version: 1, written_at: 1 },
    { kind: 'manifest', repository: BIG, key: digest('f', 3), version: 1, written_at: 1 },
  ];
  const announced = async (): Promise<void> => {
    const { tags } = await announcements.readToAnnounce(database, waiting);
    const heads = await records.readHeads(
      database,
      [TAGGED, digest('b', 1)].map((of) => ({ repository: BIG, digest: of })),
    );
    const whole = await records.readManifests(database, 'central', heads);
    const sent = {
      store: 'node1',
      tags,
      ...whole,
      blobs: [{ repository: BIG, digest: COMMON, manifest: TAGGED, key: 'blobs/y', size: 50 }],
    };
    await announcements.announceTo(central, sent, NOW, NOW);
  };
  const lifecycles = [
    { repository: BIG, digest: digest('0', 7), created: 5_000_000, deleted: 0, mediaType: 'a/b' as MediaType },
    { repository: BIG, digest: digest('b', 7), created: 0, deleted: 5_000_000 },
  ];
  const large = {
    repository: BIG,
    digest: digest('8', 1),
    created: 1,
    deleted: 0,
    mediaType: 'a/b' as MediaType,
    artifactType: '',
    typed: '',
    typedOtherwise: '',
    subject: null,
    size: 5,
    references: [],
    contents: ['x'.repeat(600_000)],
  };
  const entries: changeLog.ChangeLogEntry[] = [
    { position: 1, recorded_at: NOW, kind: 'tag', name: BIG, key: tag('d00001'), version: 5_000_000 },
    { position: 2, recorded_at: NOW, kind: 'manifest', name: BIG, key: digest('b', 9), version: 5_000_000 },
    { position: 3, recorded_at: NOW, kind: 'link', name: BIG, key: COMMON, version: 0 },
    { position: 4, recorded_at: NOW, kind: 'repository', name: 'mallory/00006' as RepositoryName, version: 5_000_000 },
    { position: 5, recorded_at: NOW, kind: 'visibility', name: 'mallory/00007', row: null },
    { position: 6, recorded_at: NOW, kind: 'visibility', name: 'mallory/00007', row: '{}' },
    { position: 7, recorded_at: NOW, kind: 'organization', name: 'org7', row: null },
    { position: 8, recorded_at: NOW, kind: 'organization', name: 'org8', row: '{"name":"org8","created_at":1}' },
    { position: 9, recorded_at: NOW, kind: 'credential', name: 'id7', row: null },
    {
      position: 10,
      recorded_at: NOW,
      kind: 'credential',
      name: 'id8',
      row: JSON.stringify({
        id: 'id8',
        kind: 'organization',
        organization: 'org9',
        name: 'x',
        rights: '[]',
        repositories: '[]',
        secret_hash: 'h8',
        created_at: 1,
      }),
    },
  ];
  return [
    ['announce', announced],
    ['merge', () => database.batch(mergeRows({ tags: [], lifecycles, manifests: [large], blobs: [] }, NOW))],
    [
      'leave tags to central',
      () => database.batch(usage.leaveTagsToCentral([{ repository: BIG, name: TAG, digest: TAGGED }])),
    ],
    [
      'leave to central',
      () => database.batch(usage.leaveToCentral([{ repository: BIG, digest: TOP, created: 1, deleted: 0 }])),
    ],
    [
      'apply usage',
      () =>
        database.batch(
          usage.applyUsage('node1', undefined, [
            { organization: MALLORY, bytes: 1, manifests: 1, tags: 1, changed: 5 },
          ]),
        ),
    ],
    ['outbox', () => outboxEntries.outboxEntriesAfter(database, undefined, 10)],
    ['delete outbox entries', () => database.batch([outboxEntries.deleteOutboxEntries(waiting)])],
    ['the oldest outbox entry', () => outboxEntries.oldestOutboxEntry(database)],
    ['the least version', () => outboxEntries.leastVersion(database)],
    ['how many wait', () => outboxEntries.outboxDepth(database)],
    ['copies up', () => copies.copiesUpFrom(database, 'node1', '', 100, [COMMON])],
    ['count blobs that only a node has', () => copies.onlyAt(central, 'node1')],
    ['list blobs that only a node has', () => copies.listOnlyAt(central, 'node1', ['node2'], '', 10)],
    ['settle', () => copies.settle(central, 'node1', blob, NOW, NOW)],
    ['settled already', () => copies.alreadySettled(central, 'node1', COMMON)],
    ['keep a blob copied down', () => copies.keepCopiedDown(node, SMALL, blob, NOW, NOW, true)],
    ['link a blob copied down', () => copies.linkCopiedDown(node, SMALL, COMMON, NOW)],
    ['unlink a blob copied down', () => database.batch([copies.removeCopiedDownLink(BIG, COMMON, NOW)])],
    [
      'the change log',
      () => changeLog.readChangeLog(database, 'node1', { position: 0, usageChanged: undefined }, 10, NOW),
    ],
    ['positions in the change log', () => changeLog.storePositions(database)],
    ['start of the change log', () => changeLog.startOfChangeLog(database)],
    ['end of the change log', () => changeLog.endOfChangeLog(database)],
    ['apply the change log', () => database.batch(applied.applyChangeLog('node1', 'central', 0, entries, NOW))],
    ['change log state', () => applied.changeLogStateOf(database, 'node1')],
    ['delete applied entries', () => changeLog.deleteAppliedEntries(database, ['other1'], NOW, 10)],
    ['the clock', () => database.batch([selectClock()])],
    ['raise the clock', () => raiseClockTo(database, NOW * 1000, NOW)],
    ['health', () => healthOf(central)],
    ['probe', () => database.probe()],
  ];
}

function maintenanceOf(central: Named, node: Named): [string, Operation][] {
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
    [
      'copies up without a location',
      () => database.batch([collection.forgetCopiesUp([{ digest: digest('e', 11), store: 'node1' }])]),
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
    ['stored bytes', () => evictions.storedBytes(database, 'central')],
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
    ['expired uploads', () => goRound(openRun({ central, nodes: [node], now: () => NOW }), expiredUploads, central)],
    ['orphans', () => orphans.orphansBetween(database, '', 'blobs/o00010')],
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
    ['forget orphans', () => database.batch([orphans.forgetOrphans(['blobs/o00003'])])],
    ['save repairs', () => repairs.saveRepairProgress(database, COMMON, '{}')],
    ['repairs', () => repairs.repairProgress(database, COMMON)],
    ['forget repairs', () => repairs.saveRepairProgress(database, COMMON, undefined)],
    ['is a store known', () => retired.isKnownStore(database, 'node1')],
    ['known stores', () => retired.knownStores(database)],
    ['forget a slice', () => retired.forgetStoreSlice(central, 'node1', '', { now: NOW, lost: false })],
    ['forget the last slice', () => retired.forgetStoreSlice(central, 'node1', '~', { now: NOW, lost: false })],
    ['sound locations', () => scrub.soundLocations(database, 'central', '', 10)],
    ['sound locations among', () => scrub.soundAmong(database, 'central', [COMMON])],
    ['named keys', () => Array.fromAsync(scrub.namedKeys(database, 'central', '', ''))],
    ['other keys', () => scrub.otherKeys(database, '', 'blobs/u1')],
    [
      'damage',
      () =>
        database.batch([
          scrub.markDamaged([{ digest: COMMON, key: 'x' }], 'central', 'missing'),
          scrub.repairLocation(digest('d', 2), 'central', 'blobs/d2', { key: 'k', size: 1 }),
        ]),
    ],
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

function deleting(fixture: Fixture, database: Database): [string, Operation][] {
  const { registry } = fixture;
  return [
    ['push beyond the quota', () => pushBlob(fixture, bytesOf(600, 5000), BIG).catch(refused)],
    ['delete a blob that dead manifests name', () => registry.deleteBlob(BIG, COMMON).catch(refused)],
    ['delete a blob elsewhere', () => registry.deleteBlob('mallory/00002' as RepositoryName, COMMON).catch(refused)],
    ['delete a blob that only dead manifests name', () => registry.deleteBlob(BIG, UNNEEDED).catch(refused)],
    ['link it again', () => database.batch([blobs.linkUntil(BIG, UNNEEDED, NOW, NOW)])],
    ['use of a blob', () => deletions.blobUse(database, BIG, COMMON)],
    ['delete a tag', () => registry.deleteTag(BIG, TAG)],
    ['delete a manifest below a tag', () => registry.deleteManifest(BIG, TAGGED).catch(refused)],
    ['delete the tag above it', () => registry.deleteTag(BIG, tag('top'))],
    ['tags above a manifest', () => tagsOfManifest(database, BIG, TAGGED)],
    ['shown tag', () => findShown(database, BIG, { kind: 'tag', tag: tag('d00001') })],
    ['delete manifests', () => deletions.deleteManifests(database, CONTEXT, BIG, [digest('b', 20), digest('0', 20)])],
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
