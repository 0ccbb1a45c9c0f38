import type { RepositoryName } from '../oci/reference.ts';
import { allows, type Credential } from './credential.ts';
import type { Scope } from './scope.ts';

/**
 * Returns the part of the requested scopes that a token may carry: what the credential allows, and pulls from public
 * repositories.
 * @param publicAmong looks up which repositories are public; called only for those that the credential does not allow
 */
export async function grantable(
  credential: Credential | undefined,
  asked: readonly Scope[],
  publicAmong: (repositories: readonly RepositoryName[]) => Promise<ReadonlySet<RepositoryName>>,
): Promise<Scope[]> {
  const allowed = (action: 'pull' | 'push' | 'delete', name: RepositoryName): boolean =>
    credential !== undefined && allows(credential, action, name);
  const uncertain = asked.flatMap((scope) =>
    scope.type === 'repository' && scope.actions.includes('pull') && !allowed('pull', scope.name) ? [scope.name] : [],
  );
  const open = uncertain.length === 0 ? new Set<RepositoryName>() : await publicAmong(uncertain);
  return asked.flatMap((scope): Scope[] => {
    if (scope.type === 'catalog') return credential === undefined ? [] : [scope];
    const actions = scope.actions.filter(
      (action) => allowed(action, scope.name) || (action === 'pull' && open.has(scope.name)),
    );
    return actions.length === 0 ? [] : [{ ...scope, actions }];
  });
}
