import { parsePrecondition, type Precondition } from '../../oci/precondition.ts';
import type { AppContext } from '../context.ts';

/** What a request that writes wants to be there, or not to be there; undefined where it says nothing of it. */
export function preconditionOf(c: AppContext): Precondition | undefined {
  return parsePrecondition(c.req.header('If-Match'), c.req.header('If-None-Match'));
}
