import type { Digest } from '../../oci/digest.ts';
import { holds, parsePrecondition, type Precondition } from '../../oci/precondition.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { requireHolds } from '../../registry/conditional.ts';
import type { AppContext } from '../context.ts';

/** What a request that writes wants to be there, or not to be there; undefined where it says nothing of it. */
export function preconditionOf(c: AppContext): Precondition | undefined {
  return parsePrecondition(c.req.header('If-Match'), c.req.header('If-None-Match'));
}

/**
 * For what would make a blob: judges by whether the repository has it. Its digest is its content, so a blob that comes
 * or goes before the write changes nothing that the client could lose.
 * @throws OciError PRECONDITION_FAILED; UNAVAILABLE where it is not known
 */
export async function requireBlobAsAsked(c: AppContext, repository: RepositoryName, digest: Digest): Promise<void> {
  const precondition = preconditionOf(c);
  if (precondition === undefined) return;
  const isThere = await c
    .get('registry')
    .resolveBlob({ repository, condition: 'granted' }, digest, false)
    .then(
      () => true,
      (error: unknown) => {
        if (error instanceof OciError && error.status === 404) return false;
        throw error;
      },
    );
  requireHolds({ precondition }, isThere ? digest : undefined);
}

/** Whether the client of a GET or HEAD has this content already: its If-None-Match names it (RFC 9110 §13.1.2). */
export function isNotModified(c: AppContext, digest: Digest): boolean {
  const precondition = parsePrecondition(undefined, c.req.header('If-None-Match'));
  return precondition !== undefined && !holds(precondition, digest);
}
