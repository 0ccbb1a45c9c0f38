import type { Digest } from '../../oci/digest.ts';
import { holds, parsePrecondition, type Precondition } from '../../oci/precondition.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { requireHolds } from '../../registry/conditional.ts';
import type { AppContext } from '../context.ts';

/** Returns the If-Match or If-None-Match of a write; undefined if the request has neither. */
export function preconditionOf(c: AppContext): Precondition | undefined {
  return parsePrecondition(c.req.header('If-Match'), c.req.header('If-None-Match'));
}

/**
 * Checks the precondition of a request that creates a blob against whether the repository has the blob. The blob may
 * still come or go before the write. The client cannot lose anything by that, because the digest fixes the content.
 * @throws OciError PRECONDITION_FAILED; UNAVAILABLE if it cannot find out whether the blob exists
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

/** Returns whether the If-None-Match of a GET or HEAD says that the client has the content (RFC 9110 §13.1.2). */
export function isNotModified(c: AppContext, digest: Digest): boolean {
  const precondition = parsePrecondition(undefined, c.req.header('If-None-Match'));
  return precondition !== undefined && !holds(precondition, digest);
}
