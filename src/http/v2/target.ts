import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts';
import type { AppContext } from '../context.ts';

/** The repository that the path names. @throws OciError NAME_INVALID */
export function repositoryOf(c: AppContext): RepositoryName {
  const repository = parseRepositoryName(c.req.param('name') ?? '');
  c.get('logFields')['repository'] = repository;
  return repository;
}
