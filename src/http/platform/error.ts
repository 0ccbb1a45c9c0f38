/** The one place that writes error bodies of the platform API. */
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { ErrorKind, OciError } from '../../oci/errors.ts';
import type { AppContext } from '../context.ts';
import { asOciError, noteError } from '../error-response.ts';

/** Returns whether a path belongs to the platform API. All its errors are written here, whatever throws them. */
export function isPlatformPath(path: string): boolean {
  return /^\/(?:v1|api\/v2\.0)(?:\/|$)/.test(path);
}

/**
 * Errors whose message gets Harbor's code NOT_FOUND. `kraft` shows such an error as a warning that there is nothing to
 * remove.
 */
const MISSING: ReadonlySet<ErrorKind> = new Set(['BLOB_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'NOT_FOUND']);

/** Answers with an error, in the platform's form, and adds it to the request's log line. */
export function platformErrorResponse(error: unknown, c: AppContext): Response {
  const known: OciError = asOciError(error, c);
  noteError(known, c);
  const messages = known.entries?.map(({ message }) => message) ?? [known.message];
  const prefix = MISSING.has(known.kind) ? 'NOT_FOUND: ' : '';
  const errors = messages.map((message) => ({ status: known.status, message: `${prefix}${message}` }));
  return c.json({ status: 'error', errors }, known.status as ContentfulStatusCode, { ...known.headers });
}
