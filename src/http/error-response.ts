/** The one place that writes error bodies of the OCI API. */
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { challenge } from '../auth/challenge.ts';
import type { Refusal } from '../auth/authorize.ts';
import { ConfigError } from '../config.ts';
import { OciError } from '../oci/errors.ts';
import { NotPublic } from '../registry/access.ts';
import type { AppContext } from './context.ts';

/** Turns anything thrown into an {@link OciError}. An unexpected error becomes UNKNOWN, and its cause is logged. */
export function asOciError(error: unknown, c: AppContext): OciError {
  if (error instanceof OciError) return error;
  if (error instanceof NotPublic) return c.get('refusalUnlessPublic');
  if (error instanceof ConfigError) {
    return new OciError('UNAVAILABLE', {
      message: `this registry is not configured: ${error.message}`,
      headers: { 'Retry-After': '60' },
    });
  }
  return new OciError('UNKNOWN', { cause: error });
}

/** Answers with an error, in the form of the OCI API, and adds it to the request's log line. */
export function errorResponse(error: unknown, c: AppContext): Response {
  const known = asOciError(error, c);
  const requestId = c.get('requestId');
  noteError(known, c);
  const entries = known.entries ?? [{ message: known.message, detail: known.detail ?? {} }];
  const errors = entries.map(({ message, detail }) => ({
    code: known.code,
    message,
    detail: { ...detail, requestId },
  }));
  return c.json({ errors }, known.status as ContentfulStatusCode, { ...known.headers });
}

/** Adds the error's code to the request's log line and, if the status is 500 or more, its cause. */
export function noteError(error: OciError, c: AppContext): void {
  const fields = c.get('logFields');
  fields['error'] = error.code;
  if (error.status >= 500) fields['cause'] = describeCause(error);
}

/**
 * Returns the error of a refusal. @param what the action that the credential would have to allow: `pull from alice/app`
 */
export function refusalError(refusal: Refusal, url: URL, what: string): OciError {
  switch (refusal.outcome) {
    case 'unauthenticated':
      return new OciError('UNAUTHORIZED', {
        ...(refusal.reason !== undefined && { message: refusal.reason }),
        headers: {
          'WWW-Authenticate': challenge(url, refusal.scope, refusal.reason === undefined ? undefined : 'invalid_token'),
        },
      });
    case 'insufficient-scope':
      return new OciError('UNAUTHORIZED', {
        message: 'the access token does not have the scope that this needs: request a new one with it',
        headers: { 'WWW-Authenticate': challenge(url, refusal.scope, 'insufficient_scope') },
      });
    case 'denied':
      return new OciError('DENIED', { message: `this credential may not ${what}` });
  }
}

/** Describes the cause for the log. A cause never goes to the client. */
function describeCause(error: OciError): string {
  const { cause } = error;
  if (cause instanceof Error) return cause.stack ?? `${cause.name}: ${cause.message}`;
  return cause === undefined ? error.message : JSON.stringify(cause);
}
