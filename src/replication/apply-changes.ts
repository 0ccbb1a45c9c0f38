/** The SQL that applies central's change log to a node's store. */
import { raiseClock, selectClock } from '../stores/clock.ts';
import { type BoundStatement, type Database, sql } from '../stores/database.ts';
import { ofOrganization, applyUnlink } from '../stores/deletion/deletions.ts';
import {
  advancePosition,
  type ChangeLogEntry,
  type ChangeLogState,
  startOfChangeLog,
} from '../stores/change-log-rows.ts';
import { type ManifestLifecycle, mergeRows, type TagRow } from '../stores/merge.ts';
import { linksDeadUntil, mergeRemoval } from '../stores/deletion/removals.ts';
import { MAX_CREDENTIALS } from '../stores/organizations/limits.ts';
import { MIRROR_AS_JSON, putMirrorIf } from '../stores/organizations/mirrors.ts';
import { atMost, paged } from '../stores/rows-read.ts';

// Rows of control data are as old as the read of the entries, so write them only if the node has applied nothing since.
const IF_AT = (store: string, position: string): string =>
  `coalesce((SELECT position FROM change_log_positions WHERE store = ${store}), -1) = CAST(${position} AS INTEGER)`;

const PUT_ORGANIZATION = sql`
  INSERT INTO organizations (name, created_at, removed_at, quota_bytes)
  SELECT ?1 ->> 'name', ?1 ->> 'created_at', ?1 ->> 'removed_at', ?1 ->> 'quota_bytes' WHERE ${IF_AT('?2', '?3')}
  ON CONFLICT (name) DO UPDATE SET
    created_at = excluded.created_at, removed_at = excluded.removed_at, quota_bytes = excluded.quota_bytes`;
const DROP_ORGANIZATION = sql`DELETE FROM organizations WHERE name = ?1 AND ${IF_AT('?2', '?3')}`;
// Drops the credentials of an earlier organization with the same name.
const DROP_CREDENTIALS_OF = sql`
  DELETE FROM credentials WHERE organization = ?1 AND ${IF_AT('?2', '?3')}
    AND NOT EXISTS (SELECT 1 FROM organizations o
      WHERE o.name = ?1 AND o.removed_at IS NULL AND o.created_at <= credentials.created_at)`.reading(
  atMost(4 * MAX_CREDENTIALS),
);
// Likewise drops its pins, including those of repositories that central never had.
const DROP_PINS_OF = sql`
  DELETE FROM pins WHERE ${ofOrganization('repository')} AND ${IF_AT('?2', '?3')}
    AND NOT EXISTS (SELECT 1 FROM organizations o
      WHERE o.name = ?1 AND o.removed_at IS NULL AND o.created_at <= pins.created_at)`;
const CREDENTIAL_COLUMNS =
  'id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at, registries';
const PUT_CREDENTIAL = sql`
  INSERT INTO credentials (${CREDENTIAL_COLUMNS})
  SELECT ${CREDENTIAL_COLUMNS.split(', ')
    .map((column) => `?1 ->> '${column}'`)
    .join(', ')} WHERE ${IF_AT('?2', '?3')}
  ON CONFLICT (id) DO UPDATE SET rights = excluded.rights, repositories = excluded.repositories,
    expires_at = excluded.expires_at, registries = excluded.registries`;
// Drops an earlier credential with the same name, whose removal the node has not applied yet.
const DROP_CREDENTIAL_OF_NAME = sql`
  DELETE FROM credentials WHERE organization = ?1 ->> 'organization' AND name = ?1 ->> 'name' AND id <> ?1 ->> 'id'
    AND ${IF_AT('?2', '?3')}`;
const DROP_CREDENTIAL = sql`DELETE FROM credentials WHERE id = ?1 AND ${IF_AT('?2', '?3')}`;
const PUT_MIRROR = sql`${putMirrorIf(IF_AT('?2', '?3'))}`;
const DROP_MIRROR = sql`DELETE FROM mirrors WHERE organization = ?1 AND ${IF_AT('?2', '?3')}`;
const PUT_PUBLIC = sql`INSERT INTO public_repositories (name) SELECT ?1 WHERE ${IF_AT('?2', '?3')}
  ON CONFLICT DO NOTHING`;
const DROP_PUBLIC = sql`DELETE FROM public_repositories WHERE name = ?1 AND ${IF_AT('?2', '?3')}`;

/**
 * Returns the statements that apply `entries` to a node, to be run in one batch.
 * @param from the node's position in the change log before these entries
 */
export function applyChangeLog(
  node: string,
  central: string,
  from: number,
  entries: readonly ChangeLogEntry[],
  now: number,
): BoundStatement[] {
  const to = entries.at(-1)?.position ?? from;
  const tags: TagRow[] = [];
  const lifecycles: ManifestLifecycle[] = [];
  const others: BoundStatement[] = [];
  const removals: BoundStatement[] = [];
  for (const entry of entries) {
    switch (entry.kind) {
      case 'tag':
        tags.push(tombstoneOf(entry, central));
        break;
      case 'manifest':
        lifecycles.push({ repository: entry.name, digest: entry.key, created: 0, deleted: entry.version });
        break;
      case 'link':
        others.push(applyUnlink(entry.name, entry.key, entry.recorded_at));
        break;
      case 'repository':
        removals.push(...mergeRemoval(entry, linksDeadUntil(entry, now, entry.recorded_at)));
        break;
      case 'visibility':
        others.push([entry.row === null ? DROP_PUBLIC : PUT_PUBLIC, entry.name, node, from]);
        break;
      case 'organization':
        others.push(
          entry.row === null ? [DROP_ORGANIZATION, entry.name, node, from] : [PUT_ORGANIZATION, entry.row, node, from],
          [DROP_CREDENTIALS_OF, entry.name, node, from],
          [DROP_PINS_OF, entry.name, node, from],
        );
        break;
      case 'mirror':
        others.push(entry.row === null ? [DROP_MIRROR, entry.name, node, from] : [PUT_MIRROR, entry.row, node, from]);
        break;
      case 'credential':
        others.push(
          ...(entry.row === null
            ? [[DROP_CREDENTIAL, entry.name, node, from] as const]
            : [
                [DROP_CREDENTIAL_OF_NAME, entry.row, node, from] as const,
                [PUT_CREDENTIAL, entry.row, node, from] as const,
              ]),
        );
        break;
    }
  }
  return [
    ...removals,
    ...mergeRows({ tags: latest(tags), lifecycles: latestLifecycles(lifecycles), manifests: [], blobs: [] }, now),
    ...others,
    advancePosition(node, from, to, now),
  ];
}

function tombstoneOf(entry: ChangeLogEntry & { readonly kind: 'tag' }, central: string): TagRow {
  const { name: repository, key: name, version, author } = entry;
  return { repository, name, digest: null, version, origin: central, author };
}

/** Keeps the last deletion of each tag, because one statement merges a row only once. */
function latest(tags: readonly TagRow[]): TagRow[] {
  return [...new Map(tags.map((tag) => [`${tag.repository}:${tag.name}`, tag])).values()];
}

function latestLifecycles(lifecycles: readonly ManifestLifecycle[]): ManifestLifecycle[] {
  return [
    ...new Map(lifecycles.map((lifecycle) => [`${lifecycle.repository}@${lifecycle.digest}`, lifecycle])).values(),
  ];
}

const SELECT_POSITION = sql`SELECT position, usage_changed FROM change_log_positions WHERE store = ?1`;

/** Returns how far a node has applied the change log; undefined if it never has. */
export async function changeLogStateOf(node: Database, store: string): Promise<ChangeLogState | undefined> {
  const row = await node.first<{ position: number; usage_changed: number | null }>(SELECT_POSITION, store);
  return row === undefined ? undefined : { position: row.position, usageChanged: row.usage_changed ?? undefined };
}

const SNAPSHOT_ROWS = 500;
const SNAPSHOT_ORGANIZATIONS = sql`
  SELECT name AS key, json_object('name', name, 'created_at', created_at, 'removed_at', removed_at,
    'quota_bytes', quota_bytes) AS row
  FROM organizations WHERE name > ?1 ORDER BY name LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));
const SNAPSHOT_CREDENTIALS = sql`
  SELECT id AS key, json_object(${CREDENTIAL_COLUMNS.split(', ')
    .map((column) => `'${column}', ${column}`)
    .join(', ')}) AS row
  FROM credentials WHERE id > ?1 ORDER BY id LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));
const SNAPSHOT_PUBLIC = sql`
  SELECT name AS key, name AS row FROM public_repositories WHERE name > ?1 ORDER BY name
    LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));
const SNAPSHOT_MIRRORS = sql`
  SELECT m.organization AS key, ${MIRROR_AS_JSON} AS row FROM mirrors m WHERE m.organization > ?1
    ORDER BY m.organization LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

const CLEAR_UNAPPLIED = [
  ['organizations', 'name'],
  ['credentials', 'id'],
  ['public_repositories', 'name'],
  ['mirrors', 'organization'],
].map(([table, key]) =>
  sql`
    DELETE FROM ${table ?? ''} WHERE ${key ?? ''} IN (SELECT ${key ?? ''} FROM ${table ?? ''} WHERE ${key ?? ''} > ''
      ORDER BY ${key ?? ''} LIMIT CAST(?2 AS INTEGER))
      AND NOT EXISTS (SELECT 1 FROM change_log_positions WHERE store = ?1) RETURNING ${key ?? ''}`.reading(paged(2, 8)),
);

/**
 * Copies all control data to a node that has never applied the change log, and puts the node at the start of the log.
 * The node then applies the entries of the log as usual, because it may hold images that were deleted. No entry has
 * been removed since the node was configured.
 */
export async function takeSnapshot(
  central: Database,
  node: { readonly name: string; readonly database: Database },
  now: number,
): Promise<void> {
  const start = await startOfChangeLog(central);
  // An interrupted attempt may have left rows that were revoked since.
  for (const statement of CLEAR_UNAPPLIED) {
    while ((await node.database.all(statement, node.name, SNAPSHOT_ROWS)).length === SNAPSHOT_ROWS);
  }
  const tables = [
    [SNAPSHOT_ORGANIZATIONS, PUT_ORGANIZATION],
    [SNAPSHOT_CREDENTIALS, PUT_CREDENTIAL],
    [SNAPSHOT_PUBLIC, PUT_PUBLIC],
    [SNAPSHOT_MIRRORS, PUT_MIRROR],
  ] as const;
  for (const [select, put] of tables) {
    let last = '';
    for (;;) {
      const rows = await central.all<{ key: string; row: string }>(select, last, SNAPSHOT_ROWS);
      if (rows.length === 0) break;
      await node.database.batch(rows.map(({ row }): BoundStatement => [put, row, node.name, -1]));
      last = rows.at(-1)?.key ?? last;
    }
  }
  // Raise the clock, so that every push here from now on is later than everything that central has written.
  const { clock } = await central.batch({ clock: selectClock() });
  await node.database.batch([raiseClock(clock[0]?.version ?? 0), advancePosition(node.name, start, start, now)]);
}
