/** Control data: organizations, credentials, and which repositories are public. It is written at central only. */
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { auditChanged, auditCredential, auditOrganization, BERTH_ITSELF, ofRepository } from './audit-rows.ts';
import { type Database, type Repeatable, sql } from '../database.ts';
import { clearOrganization, clearRemovedOrganization, ofOrganization } from '../deletion/deletions.ts';
import { inRanges, type NameRange, rangesAfter } from '../name-ranges.ts';
import { atMost, paged } from '../rows-read.ts';
import { MAX_CREDENTIALS } from './limits.ts';
import { deleteMirrorOfRemoved } from './mirrors.ts';
import { ofRepository as organizationIn } from './usage-rows.ts';
import { hasTooManyCredentials, hasTooManyRepositories } from './organization-limits.ts';
import { countRefusedLogin, type RefusedLogin } from './refused-login-rows.ts';

export type CredentialKind = 'organization' | 'platform' | 'administrator';

export interface CredentialRow {
  readonly id: string;
  readonly kind: CredentialKind;
  /** Empty for platform and administrator credentials. */
  readonly organization: OrganizationName | '';
  readonly name: string;
  /** JSON array of rights. */
  readonly rights: string;
  /** JSON array of repository patterns. */
  readonly repositories: string;
  /** Hex SHA-256 of the secret. The secret is random and long, so a slow hash would add no protection. */
  readonly secret_hash: string;
  /** Milliseconds since the epoch, like the times below. */
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly last_used_at: number | null;
  /** JSON array of the registries that accept it: 'central' and names of nodes; null for all. */
  readonly registries: string | null;
}

export interface OrganizationRow {
  readonly name: OrganizationName;
  readonly created_at: number;
  /** Bytes; null for no limit. */
  readonly quota_bytes: number | null;
}

const CREDENTIAL_COLUMNS =
  'id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at, last_used_at, registries';

const SELECT_APPLIED_AT = sql`SELECT applied_at FROM change_log_positions WHERE store = ?1`;
const SELECT_CREDENTIAL_BY_SECRET = sql`SELECT ${CREDENTIAL_COLUMNS} FROM credentials WHERE secret_hash = ?1`;
const SELECT_ANY_CREDENTIAL_BY_SECRET = sql`
  SELECT c.id FROM json_each(?1) AS asked CROSS JOIN credentials c ON c.secret_hash = asked.value LIMIT 1`;
const SELECT_CREDENTIALS = sql`
  SELECT ${CREDENTIAL_COLUMNS} FROM credentials WHERE organization = ?1 AND name > ?2 ORDER BY name
    LIMIT CAST(?3 AS INTEGER)`.reading(paged(3));
// A slow clock dates a credential no earlier than its organization: nodes drop those of an earlier organization.
const INSERT_CREDENTIAL = sql<{ id: string }>`
  INSERT INTO credentials (${CREDENTIAL_COLUMNS})
  SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7,
    max(CAST(?8 AS INTEGER), coalesce((SELECT created_at FROM organizations WHERE name = ?3), 0)),
    CAST(?9 AS INTEGER), NULL, ?10
  WHERE ?3 = '' OR (EXISTS (SELECT 1 FROM organizations WHERE name = ?3 AND removed_at IS NULL)
    AND NOT ${hasTooManyCredentials('?3')})
  ON CONFLICT DO NOTHING RETURNING id`.reading(atMost(MAX_CREDENTIALS));
const SELECT_CREDENTIAL = sql`SELECT ${CREDENTIAL_COLUMNS} FROM credentials WHERE organization = ?1 AND name = ?2`;
const SELECT_VALID_CREDENTIAL = sql`
  SELECT 1 FROM credentials WHERE id = ?1 AND (expires_at IS NULL OR expires_at > CAST(?2 AS INTEGER))`;
const DELETE_CREDENTIAL = sql<{ id: string }>`DELETE FROM credentials WHERE id = ?1 RETURNING id`;

// The change log tells the nodes which rows to read again. The entry for a removal is written while the row still
// exists.
const CHANGE_LOG_CREDENTIAL = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'credential', id, '', 0, CAST(?2 AS INTEGER) FROM credentials WHERE id = ?1`;
const CHANGE_LOG_CREATED_ORGANIZATION = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'organization', name, '', 0, CAST(?2 AS INTEGER) FROM organizations
  WHERE name = ?1 AND created_at = CAST(?2 AS INTEGER) AND removed_at IS NULL`;
const CHANGE_LOG_REMOVED_ORGANIZATION = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'organization', name, '', 0, CAST(?2 AS INTEGER) FROM organizations
  WHERE name = ?1 AND removed_at = CAST(?2 AS INTEGER)`;
const CHANGE_LOG_VISIBILITY = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'visibility', name, '', 0, CAST(?3 AS INTEGER) FROM repositories
  WHERE name = ?1 AND EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) <> ?2`;

const RECORD_USE = sql`UPDATE credentials SET last_used_at = CAST(?2 AS INTEGER) WHERE id = ?1`;

const SELECT_ORGANIZATION = sql`
  SELECT name, created_at, quota_bytes FROM organizations WHERE name = ?1 AND removed_at IS NULL`;
const SELECT_ORGANIZATION_STATE = sql`SELECT removed_at FROM organizations WHERE name = ?1`;
// Does not revive an organization that was removed, because its row stays.
const INSERT_UNKNOWN_ORGANIZATION = sql`
  INSERT INTO organizations (name, created_at, removed_at) VALUES (?1, CAST(?2 AS INTEGER), NULL)
    ON CONFLICT (name) DO NOTHING`;
const SELECT_ORGANIZATIONS = sql`
  SELECT name, created_at, quota_bytes FROM organizations INDEXED BY organizations_there
  WHERE name > ?1 AND removed_at IS NULL ORDER BY name LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));
const SET_QUOTA = sql<OrganizationRow>`
  UPDATE organizations SET quota_bytes = CAST(?2 AS INTEGER) WHERE name = ?1 AND removed_at IS NULL
  RETURNING name, created_at, quota_bytes`;
const CHANGE_LOG_QUOTA = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'organization', name, '', 0, CAST(?2 AS INTEGER) FROM organizations WHERE name = ?1 AND removed_at IS NULL`;

// The name of a removed organization can be used again once all access tokens of that time have expired (?3). The new
// owner finds nothing of the old organization, nor of what those tokens pushed in the meantime.
const INSERT_ORGANIZATION = sql<{ name: string }>`
  INSERT INTO organizations (name, created_at, removed_at) VALUES (?1, CAST(?2 AS INTEGER), NULL)
  ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at, removed_at = NULL, quota_bytes = NULL
  WHERE organizations.removed_at <= CAST(?3 AS INTEGER) RETURNING name`;
const REMOVE_ORGANIZATION_IF_EMPTY = sql<{ name: string }>`
  UPDATE organizations SET removed_at = CAST(?2 AS INTEGER) WHERE name = ?1 AND removed_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM repositories WHERE ${ofOrganization('name')} AND listed = 1)
  RETURNING name`;
const DELETE_CREDENTIALS_OF_REMOVED_ORGANIZATION = sql`
  DELETE FROM credentials WHERE organization = ?1
    AND EXISTS (SELECT 1 FROM organizations WHERE name = ?1 AND removed_at IS NOT NULL)`.reading(
  atMost(2 * MAX_CREDENTIALS),
);

const INSERT_PUBLIC = sql`
  INSERT INTO public_repositories (name) SELECT name FROM repositories WHERE name = ?1 ON CONFLICT DO NOTHING`;
const DELETE_PUBLIC = sql`DELETE FROM public_repositories WHERE name = ?1`;
const SELECT_PUBLIC_AMONG = sql`
  SELECT asked.value AS name FROM json_each(?1) AS asked
  WHERE EXISTS (SELECT 1 FROM public_repositories WHERE name = asked.value)
    OR EXISTS (SELECT 1 FROM mirrors WHERE organization = ${organizationIn('asked.value')} AND public = 1)`;

const SELECT_REPOSITORIES = sql<RepositoryRow>`
  SELECT r.name, r.created_at, EXISTS (SELECT 1 FROM public_repositories p WHERE p.name = r.name) AS public
  FROM ${inRanges('?1', 'repositories r', 'r.name')} LIMIT CAST(?2 AS INTEGER)`.reading(paged(2, 4));
const INSERT_REPOSITORY = sql<{ name: string }>`
  INSERT INTO repositories (name, created_at, listed)
  SELECT ?1, CAST(?3 AS INTEGER), 0 WHERE EXISTS (SELECT 1 FROM organizations WHERE name = ?2 AND removed_at IS NULL)
    AND NOT ${hasTooManyRepositories('?1')}
  ON CONFLICT DO NOTHING RETURNING name`;
const SELECT_REPOSITORY = sql`
  SELECT r.name, r.created_at, EXISTS (SELECT 1 FROM public_repositories p WHERE p.name = r.name) AS public
  FROM repositories r WHERE r.name = ?1`;

export interface RepositoryRow {
  readonly name: RepositoryName;
  readonly created_at: number;
  readonly public: number;
}

/** If a second run finds the name taken, it cannot tell by whom. */
const IF_ADDED: Repeatable<{ readonly added: readonly unknown[] }> = { again: ({ added }) => added.length > 0 };

export class ControlData {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Returns when a node last read central's change log, in milliseconds since the epoch; undefined for never. */
  async appliedAt(store: string): Promise<number | undefined> {
    return (await this.#database.first<{ applied_at: number }>(SELECT_APPLIED_AT, store))?.applied_at;
  }

  /** Finds the credential whose secret has this hash. */
  credentialBySecret(secretHash: string): Promise<CredentialRow | undefined> {
    return this.#database.first<CredentialRow>(SELECT_CREDENTIAL_BY_SECRET, secretHash);
  }

  /** Tells whether any credential has one of the secrets, given by their hashes. */
  async knowsSecretAmong(hashes: readonly string[]): Promise<boolean> {
    return (await this.#database.first(SELECT_ANY_CREDENTIAL_BY_SECRET, JSON.stringify(hashes))) !== undefined;
  }

  /** Returns an organization's credentials with names after `last`, in byte order; at most `limit`. */
  credentials(organization: OrganizationName | '', last: string, limit: number): Promise<CredentialRow[]> {
    return this.#database.all<CredentialRow>(SELECT_CREDENTIALS, organization, last, limit);
  }

  /**
   * Adds a credential. Returns false if the name is taken, the organization does not exist, or it may have no more
   * credentials.
   */
  async addCredential(row: Omit<CredentialRow, 'last_used_at'>, by = BERTH_ITSELF): Promise<boolean> {
    const { id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at, registries } = row;
    const values = [
      id,
      kind,
      organization,
      name,
      rights,
      repositories,
      secret_hash,
      created_at,
      expires_at,
      registries,
    ] as const;
    const { added } = await this.#database.batch(
      {
        added: [INSERT_CREDENTIAL, ...values],
        audit: auditChanged('create credential', { organization, repository: '', key: name }, by, created_at),
        changeLog: [CHANGE_LOG_CREDENTIAL, id, created_at],
      },
      IF_ADDED,
    );
    return added.length > 0;
  }

  credential(organization: OrganizationName | '', name: string): Promise<CredentialRow | undefined> {
    return this.#database.first<CredentialRow>(SELECT_CREDENTIAL, organization, name);
  }

  /** Returns whether a credential is stored and has not expired. */
  async hasValidCredential(id: string, now: number): Promise<boolean> {
    return (await this.#database.first(SELECT_VALID_CREDENTIAL, id, now)) !== undefined;
  }

  /**
   * Removes a credential by its id, because its name may belong to another by now. Returns false if it was gone
   * already.
   */
  async removeCredential(id: string, now: number, by = BERTH_ITSELF): Promise<boolean> {
    const { removed } = await this.#database.batch(
      {
        changeLog: [CHANGE_LOG_CREDENTIAL, id, now],
        audit: auditCredential(id, by, now),
        removed: [DELETE_CREDENTIAL, id],
      },
      { again: ({ removed: gone }) => gone.length > 0 },
    );
    return removed.length > 0;
  }

  /** Counts refused logins in the audit log; see {@link countRefusedLogin}. */
  async noteRefusedLogin(refused: RefusedLogin, now: number): Promise<void> {
    await this.#database.batch([countRefusedLogin(refused, now)]);
  }

  /** Records when a credential was last used, in milliseconds since the epoch. */
  recordUse(id: string, now: number): Promise<void> {
    return this.#database.run(RECORD_USE, id, now);
  }

  /** Finds an organization that has not been removed. */
  organization(name: OrganizationName): Promise<OrganizationRow | undefined> {
    return this.#database.first<OrganizationRow>(SELECT_ORGANIZATION, name);
  }

  /**
   * Returns `removed` until a removed organization is created again by {@link addOrganization}, and `unknown` if it
   * never existed.
   */
  async organizationState(name: OrganizationName): Promise<'there' | 'removed' | 'unknown'> {
    const row = await this.#database.first<{ removed_at: number | null }>(SELECT_ORGANIZATION_STATE, name);
    if (row === undefined) return 'unknown';
    return row.removed_at === null ? 'there' : 'removed';
  }

  /** Adds an organization if its name was never used. Does nothing if it exists or was removed. */
  async addUnknownOrganization(name: OrganizationName, now: number, by = BERTH_ITSELF): Promise<void> {
    await this.#database.batch([
      [INSERT_UNKNOWN_ORGANIZATION, name, now],
      auditChanged('create organization', { organization: name, repository: '', key: '' }, by, now),
      [CHANGE_LOG_CREATED_ORGANIZATION, name, now],
    ]);
  }

  /** Returns organizations with names after `last`, in byte order; at most `limit`. */
  organizations(last: string, limit: number): Promise<OrganizationRow[]> {
    return this.#database.all<OrganizationRow>(SELECT_ORGANIZATIONS, last, limit);
  }

  /**
   * Adds an organization. Returns false if the name is taken, or was removed after `freeBefore`.
   * @param freeBefore milliseconds since the epoch, like `now`
   */
  async addOrganization(name: OrganizationName, now: number, freeBefore: number, by = BERTH_ITSELF): Promise<boolean> {
    const { added } = await this.#database.batch(
      {
        clear: clearRemovedOrganization(name, now, freeBefore),
        added: [INSERT_ORGANIZATION, name, now, freeBefore],
        audit: auditChanged('create organization', { organization: name, repository: '', key: '' }, by, now),
        changeLog: [CHANGE_LOG_CREATED_ORGANIZATION, name, now],
      },
      IF_ADDED,
    );
    return added.length > 0;
  }

  /**
   * Removes an organization and its credentials, unless one of its repositories holds a manifest. Returns whether this
   * call removed it.
   */
  async removeOrganization(name: OrganizationName, now: number, by = BERTH_ITSELF): Promise<boolean> {
    const { removed } = await this.#database.batch({
      removed: [REMOVE_ORGANIZATION_IF_EMPTY, name, now],
      changeLog: [CHANGE_LOG_REMOVED_ORGANIZATION, name, now],
      audit: auditOrganization(name, by, now),
      credentials: [DELETE_CREDENTIALS_OF_REMOVED_ORGANIZATION, name],
      mirror: deleteMirrorOfRemoved(name, now),
      clear: clearOrganization(name, now),
    });
    return removed.length > 0;
  }

  /**
   * Adds a repository. Returns false if it exists already, its organization does not exist, or the organization may
   * have no more repositories.
   */
  async addRepository(name: RepositoryName, now: number, by = BERTH_ITSELF): Promise<boolean> {
    const { added } = await this.#database.batch(
      {
        added: [INSERT_REPOSITORY, name, organizationOf(name), now],
        audit: auditChanged('create repository', ofRepository(name), by, now),
      },
      IF_ADDED,
    );
    return added.length > 0;
  }

  repository(name: RepositoryName): Promise<RepositoryRow | undefined> {
    return this.#database.first<RepositoryRow>(SELECT_REPOSITORY, name);
  }

  /** Returns the repositories with names after `last` in any of the ranges, in byte order; at most `limit`. */
  repositories(ranges: readonly NameRange[], last: string, limit: number): Promise<RepositoryRow[]> {
    return this.#database.all(SELECT_REPOSITORIES, rangesAfter(ranges, last), limit);
  }

  /** Lets anyone read a repository, or only those with rights to it. */
  async setPublic(repository: RepositoryName, isPublic: boolean, now: number, by = BERTH_ITSELF): Promise<void> {
    await this.#database.batch(
      [
        [CHANGE_LOG_VISIBILITY, repository, isPublic ? 1 : 0, now],
        [isPublic ? INSERT_PUBLIC : DELETE_PUBLIC, repository],
        auditChanged(isPublic ? 'publish repository' : 'hide repository', ofRepository(repository), by, now),
      ],
      { again: true },
    );
  }

  /** Returns those of the repositories that anyone may read, such as all of a public mirror. */
  async publicAmong(repositories: readonly RepositoryName[]): Promise<Set<RepositoryName>> {
    if (repositories.length === 0) return new Set();
    const rows = await this.#database.all<{ name: RepositoryName }>(SELECT_PUBLIC_AMONG, JSON.stringify(repositories));
    return new Set(rows.map(({ name }) => name));
  }

  /**
   * Sets the quota of an organization. Returns its row; undefined if it does not exist.
   * @param bytes null for no limit
   */
  async setQuota(
    name: OrganizationName,
    bytes: number | null,
    now: number,
    by = BERTH_ITSELF,
  ): Promise<OrganizationRow | undefined> {
    const { changed } = await this.#database.batch({
      changed: [SET_QUOTA, name, bytes],
      audit: auditChanged(
        'set quota',
        { organization: name, repository: '', key: bytes === null ? '' : String(bytes) },
        by,
        now,
      ),
      changeLog: [CHANGE_LOG_QUOTA, name, now],
    });
    return changed[0];
  }
}
