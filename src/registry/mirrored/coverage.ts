/** Decides which repositories a mirror covers. This file is pure. */
import { matchesGlob } from '../../oci/glob.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';

/** Returns whether a repository of a mirror's organization is mirrored. */
export function covers({ organization, repositories }: Mirror, repository: RepositoryName): boolean {
  const name = repository.slice(organization.length + 1);
  return repositories.some((pattern) => matchesGlob(pattern, name));
}

/** Returns whether pushes to a repository and deletions in it go to its upstream. */
export function forwards(mirror: Mirror | undefined, repository: RepositoryName): mirror is Mirror {
  return mirror?.pushes === 'forwarded' && covers(mirror, repository);
}
