/**
 * Credentials: who a secret belongs to, and what it may do. This file is pure; `login.ts` looks credentials up.
 *
 * An *organization* credential has rights on repositories of its organization. A *platform* credential pulls from every
 * organization and can do nothing else: nodes boot images with it. An *administrator* manages organizations,
 * credentials and repositories. It may pull only what every logged-in caller may: public and official images.
 */
import { isRepositoryName, type OrganizationName, organizationOf, type RepositoryName } from '../oci/reference.ts';

export const RIGHTS = ['pull', 'push', 'delete', 'admin'] as const;
export type Right = (typeof RIGHTS)[number];

/** One repository, or with `/*` at the end all repositories below a path: `alice/app`, `alice/*`. */
export type RepositoryPattern = string;

export type Credential = Identity &
  (
    | {
        readonly kind: 'organization';
        readonly organization: OrganizationName;
        readonly rights: readonly Right[];
        readonly repositories: readonly RepositoryPattern[];
      }
    | { readonly kind: 'platform' | 'administrator' }
  );

interface Identity {
  readonly id: string;
  /** Its name; undefined for a token of a platform, and for the bootstrap secret. */
  readonly name?: string | undefined;
}

/** The result of a successful login. */
export interface Login {
  readonly credential: Credential;
  /** The registries where the credential is valid: 'central' and names of nodes; null for everywhere. */
  readonly registries: readonly string[] | null;
  /**
   * When the credential was last looked up, in milliseconds since the epoch. Tokens from this login expire five minutes
   * later.
   */
  readonly checkedAt: number;
  /** When the credential expires, in milliseconds since the epoch; undefined for never. */
  readonly expiresAt: number | undefined;
}

/** An action on a repository through the OCI API. */
export type Action = 'pull' | 'push' | 'delete';

/** Every caller who has logged in may pull from this organization. */
export const OFFICIAL_ORGANIZATION = 'official';

/** Returns whether the credential by itself allows the action. The store knows which repositories are public. */
export function allows(credential: Credential, action: Action, repository: RepositoryName): boolean {
  const organization = organizationOf(repository);
  if (action === 'pull' && organization === OFFICIAL_ORGANIZATION) return true;
  switch (credential.kind) {
    case 'platform':
      return action === 'pull';
    case 'administrator':
      return false;
    case 'organization':
      return (
        credential.organization === organization &&
        credential.rights.includes(action) &&
        credential.repositories.some((pattern) => matches(pattern, repository))
      );
  }
}

/**
 * Returns whether the credential may learn who wrote a repository's tags. An administrator may, and so may a credential
 * of the repository's organization that may pull from it. Other callers only read the tags.
 */
export function maySeeAuthors(credential: Credential, repository: RepositoryName): boolean {
  if (credential.kind !== 'organization') return credential.kind === 'administrator';
  return credential.organization === organizationOf(repository) && allows(credential, 'pull', repository);
}

/**
 * Returns whether the credential may prefetch. Copies use up the node's space, so it is not enough that the image is
 * public: it takes the right to push, or a platform or administrator credential.
 */
export function mayPrefetch(credential: Credential, repository: RepositoryName): boolean {
  return credential.kind !== 'organization' || allows(credential, 'push', repository);
}

/** Returns whether the credential may manage an organization: its credentials, and its repositories. */
export function administers(credential: Credential, organization: OrganizationName): boolean {
  if (credential.kind === 'administrator') return true;
  return (
    credential.kind === 'organization' &&
    credential.organization === organization &&
    credential.rights.includes('admin')
  );
}

/** Returns the names that the credential may pull, as ranges in byte order (`from` inclusive, `to` exclusive). */
export function pullableRanges(credential: Credential): { from: string; to: string }[] {
  switch (credential.kind) {
    case 'platform':
      return [{ from: '', to: '\u{7f}' }];
    case 'administrator':
      return [below(OFFICIAL_ORGANIZATION)];
    case 'organization': {
      const patterns = credential.repositories.filter((pattern) => isPatternOf(credential.organization, pattern));
      const granted = credential.rights.includes('pull') ? patterns : [];
      return rangesOf([...granted, `${OFFICIAL_ORGANIZATION}/*`]);
    }
  }
}

/** Returns whether `text` is a pattern for repositories of the organization. */
export function isPatternOf(organization: OrganizationName, text: string): boolean {
  const name = text.endsWith('/*') ? `${text.slice(0, -1)}x` : text;
  return isRepositoryName(name) && organizationOf(name) === organization;
}

/** Returns whether a repository matches a pattern. */
export function matches(pattern: RepositoryPattern, repository: RepositoryName): boolean {
  return pattern.endsWith('/*') ? repository.startsWith(pattern.slice(0, -1)) : pattern === repository;
}

/**
 * Returns the ranges of names that match the patterns, in byte order (`from` inclusive, `to` exclusive). No two of them
 * overlap: a list reads a page from each.
 */
export function rangesOf(patterns: readonly RepositoryPattern[]): { from: string; to: string }[] {
  const distinct = [...new Set(patterns)];
  return distinct
    .filter((pattern) => !distinct.some((other) => other !== pattern && includes(other, pattern)))
    .map(rangeOf);
}

/** Returns whether every repository that matches `other` matches `pattern`. */
export function includes(pattern: RepositoryPattern, other: RepositoryPattern): boolean {
  return pattern === other || (pattern.endsWith('/*') && other.startsWith(pattern.slice(0, -1)));
}

function rangeOf(pattern: RepositoryPattern): { from: string; to: string } {
  return pattern.endsWith('/*') ? below(pattern.slice(0, -2)) : { from: pattern, to: `${pattern}\u0000` };
}

/** Returns the range of names that start with `path/`. "0" is the character after "/". */
function below(path: string): { from: string; to: string } {
  return { from: `${path}/`, to: `${path}0` };
}
