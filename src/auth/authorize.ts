/**
 * The rule that decides who may do what:
 *
 * - Without credentials: 401 with a challenge, except for a pull from a public repository.
 * - With wrong credentials: 401 with a challenge, always.
 * - An access token that lacks a scope which its credential allows: 401 `insufficient_scope`, with the scope.
 * - A known caller without the right: 403, whether or not the repository exists.
 * - A 404 is only for content that the caller may read.
 *
 * Invariant 6: no request reads or writes a repository that its credential does not cover.
 */
import type { RepositoryName } from '../oci/reference.ts';
import { type Action, allows, pullableRanges } from './credential.ts';
import type { Principal } from './principal.ts';
import { covers, type Scope } from './scope.ts';

export type Decision =
  | { readonly outcome: 'allow' }
  /** Allows the pull if the store finds that the repository is public, and refuses it with `otherwise` if not. */
  | { readonly outcome: 'allow-if-public'; readonly otherwise: Refusal }
  | Refusal;

export type Refusal =
  /** 401, with the scope that the client should ask for and, if it presented something, why that was refused. */
  | { readonly outcome: 'unauthenticated'; readonly scope: Scope | undefined; readonly reason?: string }
  /** 401 insufficient_scope */
  | { readonly outcome: 'insufficient-scope'; readonly scope: Scope }
  /** 403 */
  | { readonly outcome: 'denied' };

/** Returns the scope that a client should ask for. A push also needs to pull. */
function scopeFor(action: Action, repository: RepositoryName): Scope {
  return { type: 'repository', name: repository, actions: action === 'push' ? ['pull', 'push'] : [action] };
}

/** Decides whether the principal may do the action in the repository. */
export function authorize(principal: Principal, action: Action, repository: RepositoryName): Decision {
  const scope = scopeFor(action, repository);
  const conditional = (otherwise: Refusal): Decision =>
    action === 'pull' ? { outcome: 'allow-if-public', otherwise } : otherwise;

  if (principal.kind === 'refused') return { outcome: 'unauthenticated', scope, reason: principal.reason };
  if (principal.kind === 'anonymous') return conditional({ outcome: 'unauthenticated', scope });
  if (!allows(principal.credential, action, repository)) return conditional({ outcome: 'denied' });
  if (principal.scopes !== undefined && !covers(principal.scopes, action, repository)) {
    return conditional({ outcome: 'insufficient-scope', scope });
  }
  return { outcome: 'allow' };
}

/**
 * Decides whether the principal may mount from a repository. It ignores the token's scopes, because clients mount with
 * a token for the target only.
 */
export function mayMountFrom(principal: Principal, source: RepositoryName): 'allow' | 'allow-if-public' {
  const granted = principal.kind === 'credential' && allows(principal.credential, 'pull', source);
  return granted ? 'allow' : 'allow-if-public';
}

/** Returns the repositories that the principal may pull, for the catalog and for mounts without a source. */
export function pullable(principal: Principal): { ranges: { from: string; to: string }[]; withPublic: boolean } {
  return { ranges: principal.kind === 'credential' ? pullableRanges(principal.credential) : [], withPublic: true };
}

/** Decides whether the caller has logged in at all. @param scope the scope for the challenge, if any */
export function authorizeLogin(principal: Principal, scope?: Scope): { readonly outcome: 'allow' } | Refusal {
  if (principal.kind === 'credential') return { outcome: 'allow' };
  return { outcome: 'unauthenticated', scope, ...(principal.kind === 'refused' && { reason: principal.reason }) };
}

/**
 * Decides whether the caller may list the catalog: it must have logged in, and a token must have the catalog's scope.
 */
export function authorizeCatalog(principal: Principal): { readonly outcome: 'allow' } | Refusal {
  const scope: Scope = { type: 'catalog' };
  const refusal = authorizeLogin(principal, scope);
  if (refusal.outcome !== 'allow' || principal.kind !== 'credential') return refusal;
  if (principal.scopes !== undefined && !principal.scopes.some(({ type }) => type === 'catalog')) {
    return { outcome: 'insufficient-scope', scope };
  }
  return { outcome: 'allow' };
}
