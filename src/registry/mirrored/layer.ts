/** The parts of a mirrored registry share the registry beneath, the upstreams, and the rule for who may pull. */
import { isUnavailable } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import type { ReadAccess } from '../access.ts';
import { ifKnown } from '../answers.ts';
import type { Registry } from '../registry.ts';
import type { Upstreams } from './upstreams.ts';

export interface Layer {
  readonly beneath: Registry;
  readonly upstreams: Upstreams;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Returns the mirror of a repository, if any. While the store does not answer, the repository counts as unmirrored. */
export async function mirrorIfKnown(
  { upstreams }: Layer,
  repository: RepositoryName,
  asked = upstreams.of(repository),
): Promise<Mirror | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isUnavailable(error)) return undefined;
    throw error;
  }
}

/**
 * Returns the access with which a mirror's repository is read. Anybody may pull from a public mirror, and from public
 * repositories of a private one. For all other callers, the upstream is not asked.
 * @throws NotPublic
 */
export async function requireAllowed({ beneath }: Layer, mirror: Mirror, access: ReadAccess): Promise<ReadAccess> {
  const { repository, condition } = access;
  if (condition === 'if-public' && !mirror.isPublic) await ifKnown(beneath.listTags(access, { limit: 1, after: '' }));
  return { repository, condition: 'granted' };
}
