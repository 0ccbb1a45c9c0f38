/**
 * Upload sessions as the distribution spec defines them ("Pushing blobs"): what a session has received, which of its
 * URLs were given out, and how each request is answered. A refused request leaves the session unchanged.
 */
import type { Expected } from '../support/answers.ts';
import { concatenate } from './digests.ts';

export interface Session {
  readonly repository: string;
  readonly user: string;
  state: 'open' | 'finished' | 'cancelled';
  received: Uint8Array<ArrayBuffer>;
  /** The digest that it was closed with; undefined while it is open. */
  digest: string | undefined;
  /** Whether one PUT brought the whole blob. Such a session may leave no trace: then it can be used like a new one. */
  isWhole?: boolean;
  /** URLs that were given out, each with the offset at that time. */
  readonly urls: { readonly path: string; readonly offset: number }[];
}

/** The parts of a request to a session that decide its answer. */
export interface SessionRequest {
  readonly method: 'GET' | 'PATCH' | 'PUT' | 'DELETE';
  /** The offset in the URL; undefined if the URL was tampered with, or belongs to no session of the caller. */
  readonly offset: number | undefined;
  /** The parsed Content-Range; 'bad' if it is invalid. */
  readonly range: { readonly start: number; readonly end: number } | 'bad' | undefined;
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  /** Whether there is a body without a length. */
  readonly streamed: boolean;
  /** The digest in a PUT. */
  readonly digest: string | undefined;
  readonly isDigest: boolean;
  /**
   * The digest of all bytes that the session would have, and of the body alone, in the algorithm of the named digest.
   */
  readonly digestOfAll: string;
  readonly digestOfBody: string;
}

export const UNKNOWN = '404 BLOB_UPLOAD_UNKNOWN';
export const OUT_OF_ORDER = '416 BLOB_UPLOAD_INVALID';

const RANGE_FAULTS: ReadonlySet<Expected> = new Set(['400 SIZE_INVALID']);

/** Returns the accepted answers. After a success, the session is as {@link apply} leaves it. */
export function answersTo(session: Session, request: SessionRequest, isBlobThere: boolean): Expected[] {
  if (session.state !== 'finished' || session.isWhole !== true) return knownAnswersTo(session, request, isBlobThere);
  const anew = { ...session, state: 'open', received: new Uint8Array(0), digest: undefined } as const;
  const again = { ...request, digestOfAll: request.digestOfBody };
  return [...knownAnswersTo(session, request, isBlobThere), ...knownAnswersTo(anew, again, isBlobThere)];
}

function knownAnswersTo(session: Session, request: SessionRequest, isBlobThere: boolean): Expected[] {
  const faults = new Set<Expected>();
  if (request.offset === undefined) faults.add(UNKNOWN);
  if (request.method === 'PATCH' || request.method === 'PUT') chunkFaults(session, request, faults);
  if (request.method === 'PUT' && !request.isDigest) faults.add('400 DIGEST_INVALID');
  if (session.state !== 'open') {
    const isAgain =
      request.method === 'PUT' && session.state === 'finished' && request.digest === session.digest && isBlobThere;
    // The body of a repeated PUT need not be read, so its range is not compared with a length that was not stated.
    const isUnread = request.streamed && request.range !== 'bad' && faults.difference(RANGE_FAULTS).size === 0;
    const isSame = isAgain && (faults.size === 0 || isUnread);
    // A repeated PUT sends the same request. A body that is not the blob may be its last chunk, or may make it another
    // request.
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

/** Adds the faults of a chunk: its Content-Range must match its length, and it must start where the session ends. */
function chunkFaults(session: Session, request: SessionRequest, faults: Set<Expected>): void {
  const { range, body, streamed, offset } = request;
  if (range === 'bad') faults.add('400 SIZE_INVALID');
  // A PUT without a body, or with `Content-Length: 0`, may state any range.
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

/** Updates the session after a successful request. */
export function apply(session: Session, { method, body, digest }: SessionRequest): void {
  // If any request but the same PUT succeeds, the session is as good as new.
  if (session.isWhole === true && method !== 'PUT')
    Object.assign(session, { state: 'open', received: new Uint8Array(0), digest: undefined, isWhole: false });
  if (session.state !== 'open' && session.isWhole !== true) return;
  const isWhole = method === 'PUT' && (session.isWhole === true || session.received.byteLength === 0);
  if (isWhole) session.received = new Uint8Array(0);
  if (method === 'PATCH' || method === 'PUT')
    session.received = concatenate(session.received, body ?? new Uint8Array(0));
  if (method === 'PUT') Object.assign(session, { state: 'finished', digest, isWhole });
  if (method === 'DELETE') session.state = 'cancelled';
}

/** Returns the `Range` of a session: inclusive, and `0-0` if it is empty. */
export function rangeOf({ received }: Session): string {
  return `0-${Math.max(0, received.byteLength - 1)}`;
}
