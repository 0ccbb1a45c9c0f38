/** The one place that writes error bodies of the platform API. */
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { ErrorKind, OciError } from '../../oci/errors.ts';
import type { AppContext } from '../context.ts';
import { asOciError, noteError } from '../error-response.ts';

/** Whether a request is of the platform API, and its errors are written so, whoever finds them. */
export function isPlatformPath(path: string): boolean {
  return /^\/(?:v1|api\/v2\.0)(?:\/|$)/.test(path);
}

/** `kraft` takes an error with this word in it for a warning that there is nothing to remove: it is Harbor's. */
const MISSING: ReadonlySet<ErrorKind> = new Set(['BLOB_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'NOT_FOUND']);

export function platformErrorResponse(error: unknown, c: AppContext): Response {
  const known: OciError = asOciError(error, c);
  noteError(known, c);
  const messages = known.entries?.map(({ message }) => message) ?? [known.message];
  const prefix = MISSING.has(known.kind) ? 'NOT_FOUND: ' : '';
  const errors = messages.map((message) => ({ status: known.status, message: `${prefix}${message}` }));
  return c.json({ status: 'error', errors }, known.status as ContentfulStatusCode, { ...known.headers });
}
