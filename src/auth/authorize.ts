/**
 * The rule of who may do what, written once:
 *
 * - No or bad credentials: 401 with a challenge, unless the repository is public and the action is to pull.
 * - An access token without a scope that its credential may have: 401 `insufficient_scope`, naming the scope.
 * - A known caller without the right: 403, whether the repository exists or not.
 * - 404 only inside what the caller may read.
 *
 * Invariant 6: no request reads or writes a repository that its credential does not cover.
 */
import type { RepositoryName } from '../oci/reference.ts';
import { type Action, allows, pullableRanges } from './credential.ts';
import type { Principal } from './principal.ts';
import { covers, type Scope } from './scope.ts';

export type Decision =
  | { readonly outcome: 'allow' }
  /** To pull, if the store says that the repository is public; `otherwise` if not. */
  | { readonly outcome: 'allow-if-public'; readonly otherwise: Refusal }
  | Refusal;

export type Refusal =
  /** 401, with the scope that would help; and why, where something was presented. */
  | { readonly outcome: 'unauthenticated'; readonly scope: Scope | undefined; readonly reason?: string }
  /** 401 insufficient_scope */
  | { readonly outcome: 'insufficient-scope'; readonly scope: Scope }
  /** 403 */
  | { readonly outcome: 'denied' };

/** What a client should ask for: pushing reads as well. */
function scopeFor(action: Action, repository: RepositoryName): Scope {
  return { type: 'repository', name: repository, actions: action === 'push' ? ['pull', 'push'] : [action] };
}

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

/** The source of a mount is judged by the credential: clients mount with a token for the target alone. */
export function mayMountFrom(principal: Principal, source: RepositoryName): 'allow' | 'allow-if-public' {
  const granted = principal.kind === 'credential' && allows(principal.credential, 'pull', source);
  return granted ? 'allow' : 'allow-if-public';
}

/** For the catalog, and for mounts that name no source. */
export function pullable(principal: Principal): { ranges: { from: string; to: string }[]; withPublic: boolean } {
  return { ranges: principal.kind === 'credential' ? pullableRanges(principal.credential) : [], withPublic: true };
}

/** Whether the caller has logged in at all. @param scope what to ask for, if anything */
export function authorizeLogin(principal: Principal, scope?: Scope): { readonly outcome: 'allow' } | Refusal {
  if (principal.kind === 'credential') return { outcome: 'allow' };
  return { outcome: 'unauthenticated', scope, ...(principal.kind === 'refused' && { reason: principal.reason }) };
}

/** The catalog is for callers who have logged in, with a token that asked for it. */
export function authorizeCatalog(principal: Principal): { readonly outcome: 'allow' } | Refusal {
  const scope: Scope = { type: 'catalog' };
  const refusal = authorizeLogin(principal, scope);
  if (refusal.outcome !== 'allow' || principal.kind !== 'credential') return refusal;
  if (principal.scopes !== undefined && !principal.scopes.some(({ type }) => type === 'catalog')) {
    return { outcome: 'insufficient-scope', scope };
  }
  return { outcome: 'allow' };
}
