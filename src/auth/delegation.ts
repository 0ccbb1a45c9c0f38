/**
 * A credential cannot create or change a credential that exceeds it in rights, repositories, registries or expiry.
 * Otherwise a limited credential could create an unlimited one. This file is pure; the management API calls it.
 *
 * Administrators and the bootstrap secret stand above organizations, so only their registries and expiry limit them.
 */
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import { administers, includes, type Login, matches, type RepositoryPattern, type Right } from './credential.ts';

/** The caller, with its limits. */
export type Delegate = Pick<Login, 'credential' | 'registries' | 'expiresAt'>;

/** The things that a credential may do, and the places where it may do them. */
export interface Reach {
  readonly rights: readonly Right[];
  readonly repositories: readonly RepositoryPattern[];
  /** 'central' and names of nodes; null for all. */
  readonly registries: readonly string[] | null;
}

/** Returns whether the caller administers the organization and its patterns match the repository. */
export function administersRepository(
  { credential }: Pick<Delegate, 'credential'>,
  organization: OrganizationName,
  name: RepositoryName,
): boolean {
  if (!administers(credential, organization)) return false;
  return credential.kind !== 'organization' || credential.repositories.some((pattern) => matches(pattern, name));
}

/**
 * Returns the patterns of the repositories that the caller manages, in an organization that it administers. Lists show
 * the caller no other names.
 */
export function administeredPatterns(
  { credential }: Delegate,
  organization: OrganizationName,
): readonly RepositoryPattern[] {
  return credential.kind === 'organization' ? credential.repositories : [`${organization}/*`];
}

/** Returns whether every repository that matches `others` matches `patterns`. */
export function includesAll(patterns: readonly RepositoryPattern[], others: readonly RepositoryPattern[]): boolean {
  return others.every((other) => patterns.some((pattern) => includes(pattern, other)));
}

/**
 * Describes the first part of `reach` that the caller lacks, such as `the right push`; undefined if it lacks nothing.
 */
export function beyondReach({ credential, registries }: Delegate, reach: Reach): string | undefined {
  if (credential.kind === 'organization') {
    const right = reach.rights.find((each) => !credential.rights.includes(each));
    if (right !== undefined) return `the right ${right}`;
    const repositories = reach.repositories.find(
      (each) => !credential.repositories.some((pattern) => includes(pattern, each)),
    );
    if (repositories !== undefined) return `the repositories ${repositories}`;
  }
  if (registries === null) return undefined;
  if (reach.registries === null) return 'all registries';
  const registry = reach.registries.find((each) => !registries.includes(each));
  return registry === undefined ? undefined : `the registry ${registry}`;
}

/**
 * Returns whether a credential created by the caller may expire at `end`.
 * @param end milliseconds since the epoch; null for never
 */
export function mayExpireAt({ expiresAt }: Delegate, end: number | null): boolean {
  return expiresAt === undefined || (end !== null && end <= expiresAt);
}
