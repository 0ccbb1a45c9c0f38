/**
 * Upload sessions as the distribution spec has them ("Pushing blobs"): what a session has received, which URLs of it
 * were given out, and what each request is answered. A request that is refused leaves the session as it was.
 */
import type { Expected } from '../support/answers.ts';
import { concatenate } from './digests.ts';

export interface Session {
  readonly repository: string;
  readonly user: string;
  state: 'open' | 'finished' | 'cancelled';
  received: Uint8Array<ArrayBuffer>;
  /** What it became. */
  digest: string | undefined;
  /** URLs that were given out, each with the offset of its time. */
  readonly urls: { readonly path: string; readonly offset: number }[];
}

/** A request to a session, as far as its answer depends on it. */
export interface SessionRequest {
  readonly method: 'GET' | 'PATCH' | 'PUT' | 'DELETE';
  /** Of the URL; undefined where that is none of this session's owner, or was tampered with. */
  readonly offset: number | undefined;
  /** What its Content-Range says; 'bad' where that is none. */
  readonly range: { readonly start: number; readonly end: number } | 'bad' | undefined;
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  /** With a body, but without its length. */
  readonly streamed: boolean;
  /** The digest that it names, and whether it is one; of a PUT. */
  readonly digest: string | undefined;
  readonly isDigest: boolean;
  /** The digest of all bytes that the session would have, and of the body alone, by the algorithm that is named. */
  readonly digestOfAll: string;
  readonly digestOfBody: string;
}

export const UNKNOWN = '404 BLOB_UPLOAD_UNKNOWN';
export const OUT_OF_ORDER = '416 BLOB_UPLOAD_INVALID';

/** What the request may be answered. The session is as {@link apply} leaves it after a success. */
export function answersTo(session: Session, request: SessionRequest, isBlobThere: boolean): Expected[] {
  const faults = new Set<Expected>();
  if (request.offset === undefined) faults.add(UNKNOWN);
  if (request.method === 'PATCH' || request.method === 'PUT') chunkFaults(session, request, faults);
  if (request.method === 'PUT' && !request.isDigest) faults.add('400 DIGEST_INVALID');
  if (session.state !== 'open') {
    const isAgain =
      request.method === 'PUT' && session.state === 'finished' && request.digest === session.digest && isBlobThere;
    const isSame = isAgain && faults.size === 0;
    // Who asks again sends the same. A body that is not the blob may be its end, or may make it another request.
    const isOther =
      request.method === 'PUT' && (hasBody(request) || request.streamed) && request.digestOfBody !== request.digest;
    if (!isSame || isOther) faults.add(UNKNOWN);
    if (isOther) faults.add('400 DIGEST_INVALID');
    return isSame ? ['201', ...faults] : [...faults];
  }
  if (request.method === 'PUT' && request.isDigest && request.digestOfAll !== request.digest && faults.size === 0) {
    faults.add('400 DIGEST_INVALID');
  }
  if (faults.size > 0) return [...faults];
  return [{ GET: '204', PATCH: '202', PUT: '201', DELETE: '204' }[request.method] as Expected];
}

/** A chunk has to be what its Content-Range says, and to start where the session ends. */
function chunkFaults(session: Session, request: SessionRequest, faults: Set<Expected>): void {
  const { range, body, streamed, offset } = request;
  if (range === 'bad') faults.add('400 SIZE_INVALID');
  // Who closes without a body, or with `Content-Length: 0`, may say what it likes of where that would be.
  else if (range !== undefined && (hasBody(request) || streamed) && range.end - range.start + 1 !== body?.byteLength) {
    faults.add('400 SIZE_INVALID');
  }
  if (session.state !== 'open' || offset === undefined) return;
  const start = range === undefined || range === 'bad' ? offset : range.start;
  if (offset !== session.received.byteLength || start !== session.received.byteLength) faults.add(OUT_OF_ORDER);
}

function hasBody({ body }: SessionRequest): boolean {
  return body !== undefined && body.byteLength > 0;
}

/** What a request that has succeeded makes of the session. */
export function apply(session: Session, { method, body, digest }: SessionRequest): void {
  if (session.state !== 'open') return;
  if (method === 'PATCH' || method === 'PUT')
    session.received = concatenate(session.received, body ?? new Uint8Array(0));
  if (method === 'PUT') Object.assign(session, { state: 'finished', digest });
  if (method === 'DELETE') session.state = 'cancelled';
}

/** The `Range` of a session: inclusive, and `0-0` where it is empty. */
export function rangeOf({ received }: Session): string {
  return `0-${Math.max(0, received.byteLength - 1)}`;
}
