import type { Digest } from '../../oci/digest.ts';
import type { AppContext } from '../context.ts';

/** Whether If-None-Match names this content (RFC 9110 §13.1.2): its ETag is its digest. */
export function matchesEtag(c: AppContext, digest: Digest): boolean {
  const header = c.req.header('If-None-Match');
  if (header === undefined) return false;
  return header.split(',').some((candidate) => {
    const tag = candidate.trim().replace(/^W\//, '');
    return tag === '*' || tag === `"${digest}"`;
  });
}
