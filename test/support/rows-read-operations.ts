/** Every operation on a store, to be run on one that {@link fillAsAdversary} has filled. */
import { env } from 'cloudflare:workers';
import type { Digest } from '../../src/oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../src/oci/reference.ts';
import * as audit from '../../src/stores/organizations/audit-rows.ts';
import * as blobs from '../../src/stores/blob-rows.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { Database } from '../../src/stores/database.ts';
import * as deletions from '../../src/stores/deletion/deletions.ts';
import * as lists from '../../src/registry/images/list-rows.ts';
import * as images from '../../src/replication/image-state-rows.ts';
import { lookUpVersions } from '../../src/stores/list-rows.ts';
import { keysOfBlobs } from '../../src/stores/manifests/blob-keys.ts';
import { recordPulls } from '../../src/stores/manifests/manifest-rows.ts';
import * as mounts from '../../src/stores/mount-rows.ts';
import * as promised from '../../src/stores/promised-links.ts';
import * as pins from '../../src/maintenance/eviction/pin-rows.ts';
import { countRefusedLogin } from '../../src/stores/organizations/refused-login-rows.ts';
import { findShown } from '../../src/stores/deletion/shown.ts';
import { openStore } from '../../src/stores/store.ts';
import * as history from '../../src/stores/manifests/tag-history.ts';
import { tagsOfManifest } from '../../src/stores/manifests/tags-above.ts';
import { MIN_PART_BYTES } from '../../src/stores/bucket.ts';
import { MAX_CHUNKS } from '../../src/stores/uploads/upload-rows.ts';
import { largestRepositories } from '../../src/stores/organizations/largest-repositories-rows.ts';
import { usageByDay } from '../../src/stores/organizations/usage-by-day-rows.ts';
import * as shown from '../../src/stores/organizations/usage-shown.ts';
import { isQuotaExceeded } from '../../src/stores/organizations/usage-rows.ts';
import * as limits from '../../src/stores/organizations/organization-limits.ts';
import {
  BIG,
  COMMON,
  COMMON_BYTES,
  digest,
  LAYER,
  MALLORY,
  NOW,
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
import { type Operation, type Reading, recordReads } from './rows-read.ts';
import { maintenanceOf } from './rows-read-maintenance.ts';
import { removing } from './rows-read-removals.ts';
import { replication } from './rows-read-replication.ts';

const LEASE = blobs.leaseTimes(NOW, GRACE);
const SMALL = 'mallory/small' as RepositoryName;
const ALL = { ranges: [{ from: '', to: '~' }], publicWithin: { from: '', to: '~' } };
const PAGE = { limit: 10, after: '' };
const tag = (name: string) => name as Tag;
const organization = (name: string) => name as OrganizationName;

/** A manifest of many layers. */
const LAYERED = digest('7', 1);

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
    ...pushesAndPulls(fixture, database),
    ...listing(fixture, database),
    ...control(database, new ControlData(database)),
    ...replication(central, node),
    ...maintenanceOf(central, node),
    ...deleting(fixture, database),
    ...removing(fixture, database, listing(fixture, database)),
  ]);
}

function pushesAndPulls(fixture: Fixture, database: Database): [string, Operation][] {
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
      'a session of parts',
      async () => {
        const [open, part] = [await registry.openUpload(BIG, SUBJECT, 'sha256'), bytesOf(701, MIN_PART_BYTES)];
        const one = await registry.appendChunk(session(open, BIG), 0, bodyOf(part));
        await registry.finishUpload(session(one, BIG), await contentDigest(part), undefined, undefined);
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
          `WITH RECURSIVE n (i) AS (SELECT -1 UNION ALL SELECT i - 1 FROM n WHERE i > - ${MAX_CHUNKS})
          INSERT INTO upload_chunks (upload, start, size, key) SELECT u.id, i, 0, 'blobs/many' FROM (
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
    [
      "the keys of an image's blobs",
      async () => {
        await keysOfBlobs(database, BIG, byTag('new'), 'central');
        await env.DB_CENTRAL.prepare(
          `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version,
             last_pull, descriptors)
           SELECT '${BIG}', '${LAYERED}', 'm', '', 600000, 1000, 0, 0,
             json_group_array(json_object('kind', 'layer', 'digest', value, 'size', 50)) FROM json_each(?1)`,
        )
          .bind(JSON.stringify(large))
          .run();
        await keysOfBlobs(database, BIG, byDigest(LAYERED), 'central');
      },
    ],
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
    [
      'trim histories',
      () => history.trimHistories(database, organizationOf(BIG), [{ repository: BIG, name: TAG }], KEPT, 10),
    ],
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
      () => promised.linkFromElsewhere(database, SMALL, { digest: digest('9', 3), size: 5 }, NOW, NOW),
    ],
    ['the greatest version', () => database.batch([history.selectGreatestTagVersion(BIG, [TAGGED])])],
    [
      'a blob counts again',
      () =>
        database.batch([blobs.countAgain({ repository: BIG, digest: digest('e', 2), store: 'central', lease: LEASE })]),
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
    ['usage by repository', () => largestRepositories(database, MALLORY)],
    ['usage by the day', () => usageByDay(database, MALLORY, NOW)],
    ['usage at a node', () => shown.usageAmong(database, [MALLORY])],
    ['a credential by name', () => data.credential(MALLORY, 'c00005')],
    ['a secret among some', () => data.knowsSecretAmong(['x', 'hash7'])],
    [
      'limits on another manifest',
      () => limits.limitExceeded(database, BIG, limits.addition(digest('9', 9), 5, [TAG])),
    ],
    ['limits on another upload', () => limits.uploadsExceeded(database, BIG)],
    ['whether a quota has room', () => isQuotaExceeded(database, BIG, 5)],
    ['most usage', () => shown.mostUsage(database)],
    ['a full quota', () => data.setQuota(MALLORY, 1, NOW)],
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
