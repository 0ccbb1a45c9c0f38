/** Decides whether failed work on an upstream is tried again, and which reason people see. This file is pure. */
import { LoginError } from '../oci-client/authorization.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { isTransient } from '../oci-client/retry.ts';
import { TransportError } from '../oci-client/transport.ts';
import { OciError } from '../oci/errors.ts';
import { Postponed, type UpstreamCredential } from './connect.ts';

/** Refusals of this registry that another attempt may not meet. */
const PASSING: ReadonlySet<string> = new Set([
  'UNAVAILABLE',
  'CLIENT_GONE',
  'BODY_STALLED',
  'UPLOAD_UNKNOWN',
  'CHUNK_OUT_OF_ORDER',
  // If the work was put off for long, the first blobs of an image may be collected before its manifest comes.
  'MANIFEST_BLOB_UNKNOWN',
]);

/** The most times that a step is tried. */
export const MAX_ATTEMPTS = 6;
/** The most runs in a row in which an import gets no further. */
export const MAX_STARTS = 3;
const FIRST_WAIT_MILLISECONDS = 2000;
const LONGEST_WAIT_MILLISECONDS = 10 * 60_000;

/** Returns whether the same step may succeed later: also true for an error of an unknown kind. */
export function mayPass(error: unknown): boolean {
  if (error instanceof OciError) return PASSING.has(error.kind);
  if (error instanceof RegistryError || error instanceof ContentError) return isTransient(error);
  return true;
}

/** Returns how long to wait after `failures` failures in a row, in milliseconds. */
export function waitAfter(failures: number): number {
  return Math.min(LONGEST_WAIT_MILLISECONDS, FIRST_WAIT_MILLISECONDS * 4 ** Math.min(failures, 10));
}

/** Returns why a step failed, for operators. It hides the credential, which a hostile upstream could send back. */
export function reasonOf(error: unknown, credential: UpstreamCredential | undefined): string {
  const reason = isExpected(error) ? error.message : 'something went wrong in the registry';
  if (credential === undefined) return reason;
  const { user, secret } = credential;
  const basic = new TextEncoder().encode(`${user}:${secret}`).toBase64();
  return [basic, secret, encodeURIComponent(secret)].reduce((text, hidden) => text.replaceAll(hidden, '…'), reason);
}

/** Returns why an upstream failed, for anybody who may pull. No upstream can put words of its own into it. */
export function publicReasonOf(error: unknown): string {
  if (error instanceof LoginError) return 'it refuses the login of the mirror';
  if (error instanceof TransportError) return 'it cannot be reached';
  if (error instanceof Postponed) return publicReasonOf(error.cause);
  if (error instanceof RegistryError && error.status >= 400) return `it answers with status ${error.status}`;
  if (error instanceof RegistryError || error instanceof ContentError) return 'it sends something wrong';
  return 'something went wrong in this registry';
}

/** Returns whether an upstream, a caller or a store caused an error. Any other error is a bug. */
export function isExpected(error: unknown): error is Error {
  return error instanceof Error && EXPECTED.has(error.name);
}

const EXPECTED: ReadonlySet<string> = new Set([
  'ContentError',
  'ImportFailed',
  'ImportOver',
  'NotShown',
  'OciError',
  'Postponed',
  'RegistryError',
  'TransportError',
]);
