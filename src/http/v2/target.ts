import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts';
import type { AppContext } from '../context.ts';
import { requirePushableName } from '../push-name.ts';

/**
 * Returns the route pattern of a resource in a repository. Only a tail that ends the path ends the repository's name,
 * because a tag may be named "manifests": in `/v2/acme/app/manifests/manifests`, the name is `acme/app`.
 * @param tail `/manifests/:reference`
 */
export function routeOf(tail: string): string {
  return `/v2/:name{[^]+(?=${tail.replaceAll(/:\w+/g, '[^/]+')}$)}${tail}`;
}

/** Methods of a push. */
const PUSHES: ReadonlySet<string> = new Set(['POST', 'PATCH', 'PUT']);

/** Returns the repository that the path names. @throws OciError NAME_INVALID, NAME_UNKNOWN; DENIED for a push */
export function repositoryOf(c: AppContext): RepositoryName {
  const name = c.req.param('name') ?? '';
  if (PUSHES.has(c.req.method)) requirePushableName(c.get('url'), name);
  const repository = parseRepositoryName(name);
  c.get('logFields')['repository'] = repository;
  return repository;
}
