/**
 * Mirrors: organizations whose repositories are pulled from another registry. Control data, written at central only.
 * Nodes follow the change log.
 *
 * The upstream's credential is stored in plain text, because Berth has to send it. Only {@link allMirrors} and
 * {@link mirrorOf} return it, and nothing may show it.
 */
import type { OrganizationName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql, sqlOfWholeTable } from '../database.ts';
import { atMost } from '../rows-read.ts';
import { type Actor, auditChanged, BERTH_ITSELF } from './audit-rows.ts';
import { MAX_MIRRORS } from './limits.ts';

/** Whether a push is refused, stays here, or is forwarded to the upstream. */
export type Pushes = 'refused' | 'kept' | 'forwarded';

/** An organization whose repositories are those of another registry. Berth pulls them when clients ask for them. */
export interface Mirror {
  readonly organization: OrganizationName;
  /** The URL of a registry, or the name of a preset: see `parseUpstream`. */
  readonly from: string;
  /** A host besides the registry's own to which the credential may be sent. */
  readonly loginHost: string | undefined;
  /** The path before a repository's name at the upstream, without a slash at its ends; '' for none. */
  readonly prefix: string;
  readonly credential: { readonly user: string; readonly secret: string } | undefined;
  /** Names below the organization, or patterns of them (`oci/glob.ts`); ['*'] for all. */
  readonly repositories: readonly string[];
  /** Milliseconds for which a tag is good without asking the upstream; 0 asks every time. */
  readonly ttl: number;
  /** Milliseconds beyond `ttl` for which a tag is served while the upstream fails; Infinity for ever. */
  readonly stale: number;
  /** Milliseconds for which an image is kept without a pull; Infinity for ever. */
  readonly expires: number;
  readonly pushes: Pushes;
  /** Whether anybody may pull from it without a login. */
  readonly isPublic: boolean;
  /** When it was last changed, in milliseconds since the epoch. Each change has a later time than the one before. */
  readonly changedAt: number;
}

/** Settings to store. A password that is undefined is the stored one. */
export interface MirrorChange extends Omit<Mirror, 'credential'> {
  readonly credential: { readonly user: string; readonly secret: string | undefined } | undefined;
}

interface MirrorRow {
  readonly organization: OrganizationName;
  readonly upstream: string;
  readonly login_host: string | null;
  readonly prefix: string;
  readonly username: string | null;
  readonly password: string | null;
  /** JSON array. */
  readonly repositories: string;
  readonly ttl: number;
  /** null for ever. */
  readonly stale: number | null;
  /** null for ever. */
  readonly expires: number | null;
  readonly pushes: Pushes;
  readonly public: number;
  readonly changed_at: number;
}

const COLUMNS = [
  'organization',
  'upstream',
  'login_host',
  'prefix',
  'username',
  'password',
  'repositories',
  'ttl',
  'stale',
  'expires',
  'pushes',
  'public',
  'changed_at',
];

/** SQL for a row `m` of mirrors as a JSON object. */
export const MIRROR_AS_JSON = `json_object(${COLUMNS.map((column) => `'${column}', m.${column}`).join(', ')})`;

/**
 * SQL that stores the row in `?1`, which is like {@link MIRROR_AS_JSON}, if a condition holds.
 * @param changes the columns that an existing row sets to something else than the value in `?1`
 */
export function putMirrorIf(condition: string, changes: Readonly<Record<string, string>> = {}): string {
  const [, ...others] = COLUMNS;
  const set = others.map((column) => `${column} = ${changes[column] ?? `excluded.${column}`}`);
  return `INSERT INTO mirrors (${COLUMNS.join(', ')})
    SELECT ${COLUMNS.map((column) => `?1 ->> '${column}'`).join(', ')} WHERE ${condition}
    ON CONFLICT (organization) DO UPDATE SET ${set.join(', ')}`;
}

const SELECT_MIRRORS =
  sqlOfWholeTable<MirrorRow>`SELECT ${COLUMNS.join(', ')} FROM mirrors ORDER BY organization`.reading(
    atMost(2 * MAX_MIRRORS),
  );
const SELECT_MIRROR = sql<MirrorRow>`SELECT ${COLUMNS.join(', ')} FROM mirrors WHERE organization = ?1`;
const IF_ORGANIZATION =
  "EXISTS (SELECT 1 FROM organizations WHERE name = ?1 ->> 'organization' AND removed_at IS NULL)";
/** The clocks of two Workers that change a mirror may differ. */
const LATER = { changed_at: 'max(excluded.changed_at, mirrors.changed_at + 1)' };
const PUT_MIRROR = sql<{ changed_at: number }>`
  ${putMirrorIf(
    `${IF_ORGANIZATION} AND (EXISTS (SELECT 1 FROM mirrors WHERE organization = ?1 ->> 'organization')
      OR NOT EXISTS (SELECT 1 FROM mirrors WHERE organization > '' LIMIT 1 OFFSET ${String(MAX_MIRRORS - 1)}))`,
    LATER,
  )}
  RETURNING changed_at`.reading(atMost(2 * MAX_MIRRORS));
// One statement checks whose password is stored and keeps it: another change may have replaced it a moment ago.
const PUT_MIRROR_KEEPING_PASSWORD = sql<{ changed_at: number }>`
  ${putMirrorIf(
    `${IF_ORGANIZATION} AND EXISTS (SELECT 1 FROM mirrors m WHERE m.organization = ?1 ->> 'organization'
      AND m.upstream = ?1 ->> 'upstream' AND m.login_host IS ?1 ->> 'login_host'
      AND m.username = ?1 ->> 'username' AND m.password IS NOT NULL)`,
    { ...LATER, password: 'mirrors.password' },
  )}
  RETURNING changed_at`;
const DELETE_MIRROR = sql<{ organization: string }>`
  DELETE FROM mirrors WHERE organization = ?1 RETURNING organization`;
const IF_REMOVED = 'EXISTS (SELECT 1 FROM organizations WHERE name = ?1 AND removed_at IS NOT NULL)';
const DELETE_MIRROR_OF_REMOVED_ORGANIZATION = sql`DELETE FROM mirrors WHERE organization = ?1 AND ${IF_REMOVED}`;
const INTO_CHANGE_LOG = `
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'mirror', organization, '', 0, CAST(?2 AS INTEGER) FROM mirrors WHERE organization = ?1`;
const CHANGE_LOG_MIRROR = sql`${INTO_CHANGE_LOG}`;
const CHANGE_LOG_MIRROR_IF_SET = sql`${INTO_CHANGE_LOG} AND changes() > 0`;
const CHANGE_LOG_MIRROR_OF_REMOVED_ORGANIZATION = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'mirror', organization, '', 0, CAST(?2 AS INTEGER) FROM mirrors WHERE organization = ?1 AND ${IF_REMOVED}`;

/** Returns all mirrors, in order of their organizations: at most {@link MAX_MIRRORS}. */
export async function allMirrors(database: Database): Promise<readonly Mirror[]> {
  return (await database.all(SELECT_MIRRORS)).map(mirrorFrom);
}

/** Returns the settings of a mirror; undefined if the organization is none. */
export async function mirrorOf(database: Database, organization: OrganizationName): Promise<Mirror | undefined> {
  const row = await database.first(SELECT_MIRROR, organization);
  return row && mirrorFrom(row);
}

/**
 * Makes an organization a mirror, or replaces the settings of the mirror that it is.
 * @returns when it was changed: later than `changedAt` if the change before has a later time. Undefined if the
 *   organization does not exist, there are {@link MAX_MIRRORS} others, or there is no password to keep: the stored one
 *   is for one upstream, login host and user
 */
export async function setMirror(
  database: Database,
  mirror: MirrorChange,
  by = BERTH_ITSELF,
): Promise<number | undefined> {
  const { organization, from, credential, changedAt } = mirror;
  const keepsPassword = credential !== undefined && credential.secret === undefined;
  const { set } = await database.batch({
    set: [keepsPassword ? PUT_MIRROR_KEEPING_PASSWORD : PUT_MIRROR, JSON.stringify(rowOf(mirror))],
    audit: auditChanged('set mirror', { organization, repository: '', key: from }, by, changedAt),
    changeLog: [CHANGE_LOG_MIRROR_IF_SET, organization, changedAt],
  });
  return set[0]?.changed_at;
}

/** Makes a mirror an ordinary organization, which keeps its images. Returns false if it is no mirror. */
export async function removeMirror(
  database: Database,
  organization: OrganizationName,
  now: number,
  by: Actor = BERTH_ITSELF,
): Promise<boolean> {
  const { removed } = await database.batch({
    // While the row still exists.
    changeLog: [CHANGE_LOG_MIRROR, organization, now],
    removed: [DELETE_MIRROR, organization],
    audit: auditChanged('remove mirror', { organization, repository: '', key: '' }, by, now),
  });
  return removed.length > 0;
}

/** Forgets the mirror of an organization that the same batch has removed. */
export function deleteMirrorOfRemoved(organization: OrganizationName, now: number): BoundStatement[] {
  return [
    [CHANGE_LOG_MIRROR_OF_REMOVED_ORGANIZATION, organization, now],
    [DELETE_MIRROR_OF_REMOVED_ORGANIZATION, organization],
  ];
}

function mirrorFrom(row: MirrorRow): Mirror {
  const { username: user, password: secret } = row;
  return {
    organization: row.organization,
    from: row.upstream,
    loginHost: row.login_host ?? undefined,
    prefix: row.prefix,
    credential: user === null || secret === null ? undefined : { user, secret },
    repositories: JSON.parse(row.repositories) as string[],
    ttl: row.ttl,
    stale: row.stale ?? Infinity,
    expires: row.expires ?? Infinity,
    pushes: row.pushes,
    isPublic: row.public === 1,
    changedAt: row.changed_at,
  };
}

function rowOf(mirror: MirrorChange): MirrorRow {
  const { organization, from, loginHost, prefix, credential, repositories, ttl, stale, expires } = mirror;
  return {
    organization,
    upstream: from,
    login_host: loginHost ?? null,
    prefix,
    username: credential?.user ?? null,
    // A password to keep is the stored row's, but the table takes no user without one.
    password: credential === undefined ? null : (credential.secret ?? ''),
    repositories: JSON.stringify(repositories),
    ttl,
    stale: stale === Infinity ? null : stale,
    expires: expires === Infinity ? null : expires,
    pushes: mirror.pushes,
    public: mirror.isPublic ? 1 : 0,
    changed_at: mirror.changedAt,
  };
}
