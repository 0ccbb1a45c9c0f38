/** The one place that writes error bodies of the platform API. */
import type { OciError } from '../../oci/errors.ts';
import type { AppContext } from '../context.ts';
import { asOciError, noteError } from '../error-response.ts';

/** Whether a request is of the platform API, and its errors are written so, whoever finds them. */
export function isPlatformPath(path: string): boolean {
  return /^\/(?:v1|api\/v2\.0)(?:\/|$)/.test(path);
}

export function platformErrorResponse(error: unknown, c: AppContext): Response {
  const known: OciError = asOciError(error, c);
  noteError(known, c);
  const messages = known.entries?.map(({ message }) => message) ?? [known.message];
  const errors = messages.map((message) => ({ status: known.status, message }));
  return c.json({ status: 'error', errors }, known.status, { ...known.headers });
}
