import type { Digest } from '../../oci/digest.ts';
import type { AppContext } from '../context.ts';

/**
 * Whether If-None-Match names this content (RFC 9110 §13.1.2): its ETag is its digest. Clients that keep the digest and not
 * the header send it without quotes.
 */
export function matchesEtag(c: AppContext, digest: Digest): boolean {
  const header = c.req.header('If-None-Match');
  if (header === undefined) return false;
  return header.split(',').some((candidate) => {
    const tag = candidate.trim().replace(/^W\//i, '');
    return tag === '*' || isEtagOf(tag, digest);
  });
}

/** Whether a strong ETag is that of the content, with its quotes or without. */
export function isEtagOf(tag: string, digest: Digest): boolean {
  return tag === `"${digest}"` || tag === digest;
}
