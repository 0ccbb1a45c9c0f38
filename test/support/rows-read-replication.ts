/** Operations of replication on a store that {@link fillAsAdversary} has filled. */
import { env } from 'cloudflare:workers';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import * as records from '../../src/stores/manifests/manifest-records.ts';
import * as announcements from '../../src/replication/announcement-rows.ts';
import { raiseClockTo, selectClock } from '../../src/stores/clock.ts';
import * as lacking from '../../src/replication/only-at-rows.ts';
import { notePlatforms } from '../../src/replication/tag-platforms.ts';
import { readTagsAtStore } from '../../src/replication/tag-state-rows.ts';
import * as copies from '../../src/replication/copy-rows.ts';
import * as changeLog from '../../src/stores/change-log-rows.ts';
import * as applied from '../../src/replication/apply-changes.ts';
import { missingMigrations } from '../../src/stores/applied-migrations.ts';
import { healthOf } from '../../src/stores/health.ts';
import { removeNewLink } from '../../src/stores/promised-links.ts';
import * as outboxEntries from '../../src/stores/outbox-rows.ts';
import { mergeRows } from '../../src/stores/merge.ts';
import type { Store } from '../../src/stores/store.ts';
import * as usage from '../../src/stores/organizations/usage-rows.ts';
import { BIG, COMMON, digest, MALLORY, NOW, TAG, TAGGED, TOP } from './adversary.ts';
import type { Operation } from './rows-read.ts';

const SMALL = 'mallory/small' as RepositoryName;
const tag = (name: string) => name as Tag;

/** Returns the operations by name, in the order in which they must run. */
export function replication(central: Store, node: Store): [string, Operation][] {
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
    await announcements.announceTo(central, sent, NOW, NOW, DEFAULT_LIMITS);
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
    descriptors: Array.from({ length: 60 }, (_, i) => ({ kind: 'child', digest: digest('c', i), size: 0 })),
    contents: ['x'.repeat(600_000)],
  };
  const entries: changeLog.ChangeLogEntry[] = [
    { position: 1, recorded_at: NOW, kind: 'tag', name: BIG, key: tag('d00001'), version: 5_000_000, author: '' },
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
    { position: 11, recorded_at: NOW, kind: 'mirror', name: 'org5', row: null },
    {
      position: 12,
      recorded_at: NOW,
      kind: 'mirror',
      name: 'org9',
      row: JSON.stringify({
        organization: 'org9',
        upstream: 'hub',
        prefix: '',
        repositories: '["*"]',
        ttl: 0,
        pushes: 'refused',
        public: 0,
        changed_at: 1,
      }),
    },
  ];
  return [
    ['announce', announced],
    ['merge', () => database.batch(mergeRows({ tags: [], lifecycles, manifests: [large], blobs: [] }, NOW))],
    [
      'leave to central',
      () =>
        database.batch(
          usage.leaveToCentral(
            [{ repository: BIG, digest: TOP, created: 1, deleted: 0 }],
            [{ repository: BIG, name: TAG, digest: TAGGED }],
          ),
        ),
    ],
    [
      'apply usage',
      () =>
        database.batch(
          usage.applyUsage('node1', undefined, [
            { organization: MALLORY, bytes: 1, manifests: 1, tags: 1, blobs: 1, changed: 5 },
          ]),
        ),
    ],
    ['outbox', () => outboxEntries.outboxEntriesAfter(database, undefined, 10)],
    ['delete outbox entries', () => database.batch([outboxEntries.deleteOutboxEntries(waiting)])],
    ['the oldest outbox entry', () => outboxEntries.oldestOutboxEntry(database)],
    ['how many wait', () => outboxEntries.outboxDepth(database)],
    [
      'tags at a store',
      async () => {
        await env.DB_CENTRAL.prepare(
          `INSERT OR IGNORE INTO tags (repository, name, digest, version, origin, visible)
           VALUES ('${BIG}', 'top', '${TOP}', 2000000, 'central', 1)`,
        ).run();
        await readTagsAtStore(central, BIG, [TAG, tag('a00001'), tag('d00001'), tag('top')], [TAGGED, digest('0', 1)]);
      },
    ],
    [
      'note platforms',
      () =>
        notePlatforms(
          central,
          BIG,
          new Map([
            [TAGGED, 'linux/amd64'],
            [digest('0', 1), ''],
          ]),
        ),
    ],
    ['copies up', () => copies.copiesUpFrom(database, 'node1', '', 100, [COMMON])],
    ['count blobs that only a node has', () => lacking.onlyAt(central, 'node1')],
    ['glance at blobs that only nodes have', () => lacking.glanceOnlyAt(central, ['node1', 'node2'])],
    ['list blobs that only a node has', () => lacking.listOnlyAt(central, 'node1', ['node2'], undefined, 10)],
    ['settle', () => copies.settle(central, 'node1', blob, NOW, NOW)],
    ['settled already', () => copies.alreadySettled(central, 'node1', COMMON)],
    ['keep a blob copied down', () => copies.keepCopiedDown(node, SMALL, blob, NOW, NOW, true)],
    ['link a blob copied down', () => copies.linkCopiedDown(node, SMALL, COMMON, NOW)],
    ['unlink a blob copied down', () => database.batch([removeNewLink(BIG, COMMON, NOW)])],
    [
      'the change log',
      () => changeLog.readChangeLog(database, 'node1', { position: 0, usageChanged: undefined }, 10, NOW),
    ],
    ['progress in the change log', () => changeLog.changeLogProgress(database)],
    ['start of the change log', () => changeLog.startOfChangeLog(database)],
    ['apply the change log', () => database.batch(applied.applyChangeLog('node1', 'central', 0, entries, NOW))],
    ['change log state', () => applied.changeLogStateOf(database, 'node1')],
    ['delete applied entries', () => changeLog.deleteAppliedEntries(database, ['other1'], NOW, 10)],
    ['the clock', () => database.batch([selectClock()])],
    ['raise the clock', () => raiseClockTo(database, NOW * 1000, NOW)],
    ['health', () => healthOf(central)],
    ['migrations', () => missingMigrations(central.database)],
    ['probe', () => database.probe()],
  ];
}
