/** Manages organizations, credentials and repositories: the management API without HTTP. */
import { MINUTE } from '../durations.ts';
import { OciError } from '../oci/errors.ts';
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import type { Actor } from '../stores/organizations/audit-rows.ts';
import { TOKEN_EFFECT_MILLISECONDS } from './access-token.ts';
import type {
  ControlData,
  CredentialKind,
  CredentialRow,
  OrganizationRow,
  RepositoryRow,
} from '../stores/organizations/control-data.ts';
import { rangesOf, type RepositoryPattern, type Right } from './credential.ts';
import { includesAll } from './delegation.ts';
import { credentialsExceeded, repositoriesExceeded } from '../stores/organizations/organization-limits.ts';
import { hashSecret } from './secret-hash.ts';

/** The time for which a removed organization's name stays taken: until every access token from its time has expired. */
const NAME_TAKEN_MILLISECONDS = 2 * TOKEN_EFFECT_MILLISECONDS;

/**
 * The credentials that one query reads if the caller may see only some of the organization's. Each may have 8 KB of
 * patterns. A few queries read as many as an organization may have.
 */
const CREDENTIALS_LOOKED_AT = 250;

export interface OrganizationSummary {
  readonly name: OrganizationName;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Bytes; null for no limit. */
  readonly quota: number | null;
}

export interface CredentialSummary {
  readonly kind: CredentialKind;
  /** '' for platform and administrator credentials. */
  readonly organization: OrganizationName | '';
  readonly name: string;
  readonly rights: readonly Right[];
  readonly repositories: readonly RepositoryPattern[];
  /** The registries where the credential is valid: 'central' and names of nodes; null for everywhere. */
  readonly registries: readonly string[] | null;
  /** Milliseconds since the epoch, like the times below. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly lastUsedAt: number | null;
}

type NewCredential = Pick<
  CredentialSummary,
  'kind' | 'organization' | 'name' | 'rights' | 'repositories' | 'registries' | 'expiresAt'
>;

interface RemovalOptions {
  readonly by?: Actor;
  /** Patterns; a credential with repositories outside them counts as unknown, because lists do not show it either. */
  readonly within?: readonly RepositoryPattern[];
  /** Throws unless the credential may be removed. */
  readonly require?: (found: CredentialSummary) => void;
}

export interface RepositorySummary {
  readonly name: RepositoryName;
  readonly createdAt: number;
  readonly public: boolean;
}

export class Administration {
  readonly #control: ControlData;
  readonly #now: () => number;
  readonly #changed: () => void;

  /** @param changed called after every change that the nodes have to apply */
  constructor(control: ControlData, now: () => number, changed: () => void) {
    this.#control = control;
    this.#now = now;
    this.#changed = changed;
  }

  /** Lists organizations by name. */
  async organizations(after: string, limit: number): Promise<OrganizationSummary[]> {
    return (await this.#control.organizations(after, limit)).map(organizationSummary);
  }

  /** Returns an organization. @throws OciError NOT_FOUND */
  async organization(name: OrganizationName): Promise<OrganizationSummary> {
    const row = await this.#control.organization(name);
    if (row === undefined) throw noOrganization(name);
    return organizationSummary(row);
  }

  /** Sets the quota. @param bytes null for no limit. @throws OciError NOT_FOUND */
  async setQuota(name: OrganizationName, bytes: number | null, by?: Actor): Promise<OrganizationSummary> {
    const row = await this.#control.setQuota(name, bytes, this.#now(), by);
    if (row === undefined) throw noOrganization(name);
    this.#changed();
    return organizationSummary(row);
  }

  /** Creates an organization without a quota. @throws OciError CONFLICT */
  async createOrganization(name: OrganizationName, by?: Actor): Promise<OrganizationSummary> {
    const createdAt = this.#now();
    if (!(await this.#control.addOrganization(name, createdAt, createdAt - NAME_TAKEN_MILLISECONDS, by))) {
      throw conflict(
        `the organization ${name} already exists, or was removed in the last ` +
          `${NAME_TAKEN_MILLISECONDS / MINUTE} minutes: choose another name, or wait`,
      );
    }
    this.#changed();
    return { name, createdAt, quota: null };
  }

  /** Removes an organization and its credentials. @throws OciError NOT_FOUND, CONFLICT while it has repositories */
  async removeOrganization(name: OrganizationName, by?: Actor): Promise<void> {
    if (await this.#control.removeOrganization(name, this.#now(), by)) return this.#changed();
    await this.organization(name);
    throw conflict(`the organization ${name} still has repositories: remove them first`);
  }

  /**
   * Lists credentials by name.
   * @param within patterns; a credential with repositories outside them is left out. All are listed by default.
   */
  async credentials(
    organization: OrganizationName | '',
    after: string,
    limit: number,
    within: readonly RepositoryPattern[] = [`${organization}/*`],
  ): Promise<CredentialSummary[]> {
    if (organization !== '') await this.organization(organization);
    const size = within.includes(`${organization}/*`) ? limit : Math.max(limit, CREDENTIALS_LOOKED_AT);
    const found: CredentialSummary[] = [];
    for (let last = after; found.length < limit;) {
      const page = (await this.#control.credentials(organization, last, size)).map(summaryOf);
      found.push(...page.filter((each) => isShown(each, within)));
      const end = page.at(-1);
      if (end === undefined || page.length < size) break;
      last = end.name;
    }
    return found.slice(0, limit);
  }

  /**
   * Creates a credential, and returns its secret, which cannot be read again. Names are unique in an organization, so a
   * name that is taken is a conflict even if lists hide its credential from the caller.
   * @throws OciError NOT_FOUND, CONFLICT, QUOTA_EXCEEDED
   */
  async createCredential(
    credential: NewCredential,
    by?: Actor,
  ): Promise<CredentialSummary & { readonly secret: string }> {
    const random = crypto.getRandomValues(new Uint8Array(32));
    const secret = `berth_${random.toBase64({ alphabet: 'base64url', omitPadding: true })}`;
    const row = {
      id: crypto.randomUUID(),
      kind: credential.kind,
      organization: credential.organization,
      name: credential.name,
      rights: JSON.stringify(credential.rights),
      repositories: JSON.stringify(credential.repositories),
      secret_hash: await hashSecret(secret),
      created_at: this.#now(),
      expires_at: credential.expiresAt,
      registries: credential.registries === null ? null : JSON.stringify(credential.registries),
    };
    if (!(await this.#control.addCredential(row, by))) {
      if (credential.organization !== '') {
        await this.organization(credential.organization);
        if ((await this.#control.credential(credential.organization, credential.name)) === undefined)
          throw credentialsExceeded(credential.organization);
      }
      throw conflict(`the name ${credential.name} is taken: choose another, or remove the credential of that name`);
    }
    this.#changed();
    return { ...summaryOf({ ...row, last_used_at: null }), secret };
  }

  /**
   * Removes a credential. Access tokens issued to it expire within five minutes.
   * @throws OciError NOT_FOUND, and whatever `options.require` throws
   */
  async removeCredential(
    organization: OrganizationName | '',
    name: string,
    options: RemovalOptions = {},
  ): Promise<void> {
    const { within = [`${organization}/*`], require, by } = options;
    const row = await this.#control.credential(organization, name);
    if (row !== undefined && isShown(summaryOf(row), within)) {
      require?.(summaryOf(row));
      if (await this.#control.removeCredential(row.id, this.#now(), by)) return this.#changed();
    }
    throw new OciError('NOT_FOUND', { message: `there is no credential named ${name}` });
  }

  /**
   * Lists repositories by name.
   * @param within patterns; repositories outside them are left out. All are listed by default.
   */
  async repositories(
    organization: OrganizationName,
    after: string,
    limit: number,
    within: readonly RepositoryPattern[] = [`${organization}/*`],
  ): Promise<RepositorySummary[]> {
    await this.organization(organization);
    return (await this.#control.repositories(rangesOf(within), after, limit)).map(repositoryOf);
  }

  /** Returns a repository. @throws OciError NOT_FOUND */
  async repository(name: RepositoryName): Promise<RepositorySummary> {
    const row = await this.#control.repository(name);
    if (row === undefined) throw new OciError('NOT_FOUND', { message: `there is no repository ${name}` });
    return repositoryOf(row);
  }

  /** Creates a repository before its first push. @throws OciError NOT_FOUND, CONFLICT, QUOTA_EXCEEDED */
  async createRepository(
    organization: OrganizationName,
    name: RepositoryName,
    isPublic: boolean,
    by?: Actor,
  ): Promise<RepositorySummary> {
    if (!(await this.#control.addRepository(name, this.#now(), by))) {
      await this.organization(organization);
      if ((await this.#control.repository(name)) === undefined) throw repositoriesExceeded(organization);
      throw conflict(`the repository ${name} already exists`);
    }
    if (isPublic) await this.setVisibility(name, true, by);
    return this.repository(name);
  }

  /** Makes a repository public or private. @throws OciError NOT_FOUND */
  async setVisibility(name: RepositoryName, isPublic: boolean, by?: Actor): Promise<RepositorySummary> {
    await this.repository(name);
    await this.#control.setPublic(name, isPublic, this.#now(), by);
    this.#changed();
    return this.repository(name);
  }
}

function organizationSummary({
  name,
  created_at: createdAt,
  quota_bytes: quota,
}: OrganizationRow): OrganizationSummary {
  return { name, createdAt, quota };
}

function summaryOf(row: CredentialRow): CredentialSummary {
  return {
    kind: row.kind,
    organization: row.organization,
    name: row.name,
    rights: JSON.parse(row.rights) as Right[],
    repositories: JSON.parse(row.repositories) as RepositoryPattern[],
    registries: row.registries === null ? null : (JSON.parse(row.registries) as string[]),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
  };
}

/** Returns whether a caller who administers these patterns may see the credential. */
function isShown({ organization, repositories }: CredentialSummary, within: readonly RepositoryPattern[]): boolean {
  return within.includes(`${organization}/*`) || includesAll(within, repositories);
}

function repositoryOf(row: RepositoryRow): RepositorySummary {
  return { name: row.name, createdAt: row.created_at, public: row.public === 1 };
}

function noOrganization(name: OrganizationName): OciError {
  return new OciError('NOT_FOUND', { message: `there is no organization ${name}` });
}

function conflict(message: string): OciError {
  return new OciError('CONFLICT', { message });
}
