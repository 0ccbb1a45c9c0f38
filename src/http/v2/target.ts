import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts';
import type { AppContext } from '../context.ts';

/**
 * The route of what belongs to a repository, whose name ends before the last such tail: a tag may be named "manifests".
 * @param tail `/manifests/:reference`
 */
export function routeOf(tail: string): string {
  return `/v2/:name{[^]+(?=${tail.replaceAll(/:\w+/g, '[^/]+')}$)}${tail}`;
}

/** The repository that the path names. @throws OciError NAME_INVALID */
export function repositoryOf(c: AppContext): RepositoryName {
  const repository = parseRepositoryName(c.req.param('name') ?? '');
  c.get('logFields')['repository'] = repository;
  return repository;
}
