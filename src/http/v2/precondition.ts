import type { Digest } from '../../oci/digest.ts';
import { holds, parsePrecondition, type Precondition } from '../../oci/precondition.ts';
import type { AppContext } from '../context.ts';

/** What a request that writes wants to be there, or not to be there; undefined where it says nothing of it. */
export function preconditionOf(c: AppContext): Precondition | undefined {
  return parsePrecondition(c.req.header('If-Match'), c.req.header('If-None-Match'));
}

/** Whether the client of a GET or HEAD has this content already: its If-None-Match names it (RFC 9110 §13.1.2). */
export function isNotModified(c: AppContext, digest: Digest): boolean {
  const precondition = parsePrecondition(undefined, c.req.header('If-None-Match'));
  return precondition !== undefined && !holds(precondition, digest);
}
