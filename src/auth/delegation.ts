/**
 * What a credential creates or changes is never more than itself: its rights, its repositories, its registries, its
 * end. Otherwise a credential that was limited would be good for one that is not. Pure; the management API asks.
 *
 * Administrators and the bootstrap secret stand above organizations: of them, only registries and the end count.
 */
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import { administers, matches, type RepositoryPattern, type Right } from './credential.ts';
import type { Login } from './login.ts';

/** Who asks. */
export type Delegate = Pick<Login, 'credential' | 'registries' | 'expiresAt'>;

/** What a credential may do, and where. */
export interface Reach {
  readonly rights: readonly Right[];
  readonly repositories: readonly RepositoryPattern[];
  /** 'central' and names of nodes; null for all. */
  readonly registries: readonly string[] | null;
}

/** Whether the caller may manage a repository: an admin of its organization whose patterns hold it. */
export function administersRepository(
  { credential }: Delegate,
  organization: OrganizationName,
  name: RepositoryName,
): boolean {
  if (!administers(credential, organization)) return false;
  return credential.kind !== 'organization' || credential.repositories.some((pattern) => matches(pattern, name));
}

/** Patterns of what the caller manages in an organization that it administers: lists show it no other names. */
export function administeredPatterns(
  { credential }: Delegate,
  organization: OrganizationName,
): readonly RepositoryPattern[] {
  return credential.kind === 'organization' ? credential.repositories : [`${organization}/*`];
}

/** Whether some patterns hold every repository of others. */
export function includesAll(patterns: readonly RepositoryPattern[], others: readonly RepositoryPattern[]): boolean {
  return others.every((other) => patterns.some((pattern) => includes(pattern, other)));
}

/** The first part of `reach` that the caller itself has not, in words: `the right push`. Undefined where it has all. */
export function beyondReach({ credential, registries }: Delegate, reach: Reach): string | undefined {
  if (credential.kind === 'organization') {
    const right = reach.rights.find((each) => !credential.rights.includes(each));
    if (right !== undefined) return `the right ${right}`;
    const repositories = reach.repositories.find((each) => !credential.repositories.some((own) => includes(own, each)));
    if (repositories !== undefined) return `the repositories ${repositories}`;
  }
  if (registries === null) return undefined;
  if (reach.registries === null) return 'all registries';
  const registry = reach.registries.find((each) => !registries.includes(each));
  return registry === undefined ? undefined : `the registry ${registry}`;
}

/** Whether what the caller makes may end then. @param end milliseconds since the epoch; null for never */
export function mayOutlast({ expiresAt }: Delegate, end: number | null): boolean {
  return expiresAt === undefined || (end !== null && end <= expiresAt);
}

/** Whether a pattern holds every repository of another. */
function includes(pattern: RepositoryPattern, other: RepositoryPattern): boolean {
  return pattern === other || (pattern.endsWith('/*') && other.startsWith(pattern.slice(0, -1)));
}
