/**
 * Credentials: who a secret belongs to, and what it may do. Pure; `login.ts` finds them.
 *
 * An *organization* credential has rights on repositories of its organization. A *platform* credential pulls from every
 * organization and can do nothing else: nodes boot images with it. An *administrator* manages organizations,
 * credentials and repositories; of images it sees what every logged-in caller does.
 */
import { isRepositoryName, type OrganizationName, organizationOf, type RepositoryName } from '../oci/reference.ts';

export const RIGHTS = ['pull', 'push', 'delete', 'admin'] as const;
export type Right = (typeof RIGHTS)[number];

/** Exactly one repository, or with `/*` at its end everything below a path: `alice/app`, `alice/*`. */
export type RepositoryPattern = string;

export type Credential =
  | {
      readonly kind: 'organization';
      readonly id: string;
      readonly organization: OrganizationName;
      readonly rights: readonly Right[];
      readonly repositories: readonly RepositoryPattern[];
    }
  | { readonly kind: 'platform' | 'administrator'; readonly id: string };

/** What a caller can do to a repository through the OCI API. */
export type Action = 'pull' | 'push' | 'delete';

/** Its repositories can be pulled by every caller who has logged in. */
export const OFFICIAL_ORGANIZATION = 'official';

/** Whether the credential by itself allows the action; what is public is known to the store. */
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

/** Whether the credential may manage an organization: its credentials, visibility, and removal of repositories. */
export function administers(credential: Credential, organization: OrganizationName): boolean {
  if (credential.kind === 'administrator') return true;
  return (
    credential.kind === 'organization' &&
    credential.organization === organization &&
    credential.rights.includes('admin')
  );
}

/** Names that the credential may pull, as ranges in byte order (`from` inclusive, `to` exclusive). */
export function pullableRanges(credential: Credential): { from: string; to: string }[] {
  switch (credential.kind) {
    case 'platform':
      return [{ from: '', to: '\u{7f}' }];
    case 'administrator':
      return [below(OFFICIAL_ORGANIZATION)];
    case 'organization': {
      const patterns = credential.repositories.filter((pattern) => isPatternOf(credential.organization, pattern));
      const own = credential.rights.includes('pull') ? patterns.map(rangeOf) : [];
      return [...own, below(OFFICIAL_ORGANIZATION)];
    }
  }
}

/** Whether `text` is a pattern for repositories of the organization. */
export function isPatternOf(organization: OrganizationName, text: string): boolean {
  const name = text.endsWith('/*') ? `${text.slice(0, -1)}x` : text;
  return isRepositoryName(name) && organizationOf(name) === organization;
}

/** Whether a pattern holds a repository. */
export function matches(pattern: RepositoryPattern, repository: RepositoryName): boolean {
  return pattern.endsWith('/*') ? repository.startsWith(pattern.slice(0, -1)) : pattern === repository;
}

/** Names that a pattern holds, in byte order (`from` inclusive, `to` exclusive). */
export function rangeOf(pattern: RepositoryPattern): { from: string; to: string } {
  return pattern.endsWith('/*') ? below(pattern.slice(0, -2)) : { from: pattern, to: `${pattern}\u0000` };
}

/** Everything that starts with `path/`: "0" is the character after "/". */
function below(path: string): { from: string; to: string } {
  return { from: `${path}/`, to: `${path}0` };
}
