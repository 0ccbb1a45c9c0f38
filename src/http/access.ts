/** Handlers ask here before they touch the registry: the rule itself is `auth/authorize.ts`. */
import { authorize, authorizeCatalog, authorizeLogin, mayMountFrom, pullable } from '../auth/authorize.ts';
import type { Action, Credential } from '../auth/credential.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PullableRepositories, ReadAccess } from '../registry/access.ts';
import type { Actor } from '../registry/registry.ts';
import type { AppContext } from './context.ts';
import { refusalError } from './error-response.ts';

/** @throws OciError UNAUTHORIZED, DENIED */
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

/** Anyone who has logged in. @throws OciError UNAUTHORIZED */
export function requireLogin(c: AppContext): void {
  const decision = authorizeLogin(c.get('principal'));
  if (decision.outcome !== 'allow') throw refusalError(decision, c.get('url'), 'log in');
}

/** Answers the credential that acts. @throws OciError UNAUTHORIZED, DENIED */
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

/** For the audit log: the credential that acts, and the host that it asked. */
export function actor(c: AppContext, subject: string): Actor {
  return { subject, host: c.get('url').host };
}

/** Whether the caller may push: a HEAD is a promise to those alone. */
export function mayPush(c: AppContext, repository: RepositoryName): boolean {
  return authorize(c.get('principal'), 'push', repository).outcome === 'allow';
}

export function mountSource(c: AppContext, from: RepositoryName | undefined): ReadAccess | PullableRepositories {
  const principal = c.get('principal');
  if (from === undefined) return pullable(principal);
  return { repository: from, condition: mayMountFrom(principal, from) === 'allow' ? 'granted' : 'if-public' };
}

/** The repositories that the catalog may show. @throws OciError UNAUTHORIZED */
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
