/** The checks that handlers make before they touch the registry. The rule itself is in `auth/authorize.ts`. */
import { authorize, authorizeCatalog, authorizeLogin, mayMountFrom, pullable } from '../auth/authorize.ts';
import type { Action, Credential } from '../auth/credential.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PullableRepositories, ReadAccess } from '../registry/access.ts';
import type { Actor } from '../registry/registry.ts';
import type { AppContext } from './context.ts';
import { refusalError } from './error-response.ts';

/**
 * Checks that the caller may pull, or could if the repository is public. The read then finds out whether it is.
 * @throws OciError UNAUTHORIZED, DENIED
 */
export function requireRead(c: AppContext, repository: RepositoryName): ReadAccess {
  const decision = authorize(c.get('principal'), 'pull', repository);
  switch (decision.outcome) {
    case 'allow':
      return { repository, condition: 'granted' };
    case 'allow-if-public':
      c.set('refusalUnlessPublic', refusalError(decision.otherwise, c.get('url'), whatIs('pull', repository)));
      return { repository, condition: 'if-public' };
    default:
      throw refusalError(decision, c.get('url'), whatIs('pull', repository));
  }
}

/** Checks that the caller has logged in. @throws OciError UNAUTHORIZED */
export function requireLogin(c: AppContext): void {
  const decision = authorizeLogin(c.get('principal'));
  if (decision.outcome !== 'allow') throw refusalError(decision, c.get('url'), 'log in');
}

/** Checks that the caller may do the action, and returns its credential. @throws OciError UNAUTHORIZED, DENIED */
export function requireWrite(c: AppContext, action: Exclude<Action, 'pull'>, repository: RepositoryName): Credential {
  const principal = c.get('principal');
  const decision = authorize(principal, action, repository);
  if (decision.outcome === 'allow' && principal.kind === 'credential') return principal.credential;
  const refusal =
    decision.outcome === 'allow' || decision.outcome === 'allow-if-public'
      ? ({ outcome: 'denied' } as const)
      : decision;
  throw refusalError(refusal, c.get('url'), whatIs(action, repository));
}

/** Returns what the audit log records about the caller: its credential, and the host that it called. */
export function actor(c: AppContext, { id, name }: Credential): Actor {
  return { subject: id, name, host: c.get('url').host };
}

/** Returns whether the caller may push. Only to such callers does a HEAD promise that the content stays. */
export function mayPush(c: AppContext, repository: RepositoryName): boolean {
  return authorize(c.get('principal'), 'push', repository).outcome === 'allow';
}

/** Returns where a mount may read from: the repository `from` or, without it, all that the caller may pull from. */
export function mountSource(c: AppContext, from: RepositoryName | undefined): ReadAccess | PullableRepositories {
  const principal = c.get('principal');
  if (from === undefined) return pullable(principal);
  return { repository: from, condition: mayMountFrom(principal, from) === 'allow' ? 'granted' : 'if-public' };
}

/** Returns the repositories that the catalog may show to the caller. @throws OciError UNAUTHORIZED */
export function requireCatalog(c: AppContext): PullableRepositories {
  const principal = c.get('principal');
  const decision = authorizeCatalog(principal);
  if (decision.outcome !== 'allow') throw refusalError(decision, c.get('url'), 'list repositories');
  return pullable(principal);
}

function whatIs(action: Action, repository: RepositoryName): string {
  return { pull: `pull from ${repository}`, push: `push to ${repository}`, delete: `delete from ${repository}` }[
    action
  ];
}
