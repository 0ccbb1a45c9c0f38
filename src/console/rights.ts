/** Decides which actions a page offers its reader, by the APIs' own rules. The APIs still check each change. */
import { type Action, allows, type Credential, mayPrefetch } from '../auth/credential.ts';
import { administersRepository } from '../auth/delegation.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../oci/reference.ts';
import type { Caller } from './answers.ts';
import type { SignedIn } from './context.ts';

/** Returns whether the reader may take the action on a repository. */
export function may({ caller }: SignedIn, action: Action | 'prefetch' | 'administer', repository: string): boolean {
  const credential = credentialOf(caller);
  const name = repository as RepositoryName;
  switch (action) {
    case 'prefetch':
      return mayPrefetch(credential, name);
    case 'administer':
      return administersRepository({ credential }, organizationOf(name), name);
    default:
      return allows(credential, action, name);
  }
}

/** Returns whether the reader administers anything: the deployment, or repositories of its organization. */
export function administers({ caller }: SignedIn): boolean {
  return caller.kind === 'administrator' || caller.rights.includes('admin');
}

function credentialOf({ kind, organization, rights, repositories }: Caller): Credential {
  if (kind !== 'organization') return { kind, id: '' };
  return { kind, id: '', organization: organization as OrganizationName, rights, repositories };
}
