/**
 * Brings the bytes of a blob into an upload session, in chunks below the host's limit, one after another
 * (distribution-spec, "Pushing a blob in chunks"). A chunk that breaks is sent again from where the registry says that
 * it stopped. A chunk that the host refuses as too large is halved, and so are all that follow.
 */
import { textOf } from './answer.ts';
import { RegistryError } from './registry-error.ts';
import { Patience } from './retry.ts';
import type { Surroundings } from './surroundings.ts';
import { type Request, type Transport, TransportError } from './transport.ts';
import { type BodyLimit, smallerThan } from './body-limit.ts';

/** Bytes that can be read more than once. */
export interface Repeatable {
  readonly length: number;
  /** Opens a range of them. @param end exclusive */
  open(start: number, end: number): ReadableStream<Uint8Array>;
}

/** An upload as the registry knows it. */
export interface UploadSession {
  /** The address for the next request: each answer names a new one. */
  readonly url: URL;
  /** The number of bytes that the registry has. */
  readonly size: number;
}

export interface UploadOptions extends Pick<Surroundings, 'sleep'> {
  readonly limit: BodyLimit;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether the content is only a part of the blob. If so, even a piece with all of the content has a Content-Range.
   */
  readonly isPart?: boolean;
  /** Called before a chunk is tried again. @param reason for people */
  readonly onRetry?: (reason: string) => void;
  /** Called with the session after each chunk, before the next one is sent. */
  readonly onAdvance?: (session: UploadSession) => Promise<void>;
}

export interface BlobAddress {
  readonly digest: string;
  /** The address that it will have. A HEAD there tells whether a PUT whose answer was lost took effect. */
  readonly url: URL | undefined;
}

export interface Appended {
  readonly session: UploadSession;
  /** The registry's last answer. If it is not a success, nothing was sent after it. */
  readonly answer: Response;
}

/**
 * Appends content to a session.
 * @param send sends with the caller's authorization
 * @throws TransportError if the host can't be reached, even after several attempts
 */
export async function appendContent(
  send: Transport,
  session: UploadSession,
  content: Repeatable,
  options: UploadOptions,
): Promise<Appended> {
  const upload = new Upload(send, session, content, options);
  return { answer: await upload.append(), session: upload.session };
}

/**
 * Appends content, if there is any, and closes the session: in one request, if the host takes that.
 * @returns the registry's answer. If that was lost, but the blob is there, an answer with 201 takes its place
 * @throws TransportError as above
 */
export async function closeUpload(
  send: Transport,
  session: UploadSession,
  content: Repeatable | undefined,
  blob: BlobAddress,
  options: UploadOptions,
): Promise<Response> {
  return new Upload(send, session, content ?? NOTHING, options).close(blob);
}

/** The outcome of a request: an answer, or none. */
type Outcome = Response | TransportError;

const NOTHING: Repeatable = { length: 0, open: () => new ReadableStream() };

class Upload {
  session: UploadSession;
  readonly #send: Transport;
  readonly #content: Repeatable;
  readonly #options: UploadOptions;
  readonly #patience: Patience;
  #hasFailed = false;
  /** Headers of the registry's last word on the session. */
  #progress = new Headers();
  /** The size of the session before the content. */
  readonly #start: number;

  constructor(send: Transport, session: UploadSession, content: Repeatable, options: UploadOptions) {
    this.session = session;
    this.#send = send;
    this.#content = content;
    this.#options = options;
    this.#patience = new Patience(options, options.signal);
    this.#start = session.size;
  }

  async append(): Promise<Response> {
    let most = Number.POSITIVE_INFINITY;
    while (this.#left > 0) {
      const length = Math.min(most, this.#options.limit.bytes, this.#left);
      const outcome = await outcomeOf(this.#sendChunk(length));
      if (isSuccess(outcome)) {
        // Only a success shows that the size was the reason for the refusals before it.
        this.#options.limit.lower(Math.max(most, length));
        await this.#advance(outcome, this.session.size + length);
        continue;
      }
      const smaller = isTooLarge(outcome) ? smallerThan(length) : undefined;
      if (smaller !== undefined) {
        await discard(outcome);
        most = smaller;
        continue;
      }
      const refusal = await this.#recover(outcome);
      if (refusal !== undefined) return refusal;
    }
    return new Response(null, { status: 202, headers: this.#progress });
  }

  async close({ digest, url }: BlobAddress): Promise<Response> {
    for (;;) {
      if (this.#left > this.#options.limit.bytes) {
        const appended = await this.append();
        if (!appended.ok) return appended;
      }
      const length = this.#left;
      const outcome = await outcomeOf(this.#sendLast(digest));
      if (isSuccess(outcome)) return outcome;
      const smaller = isTooLarge(outcome) ? smallerThan(length) : undefined;
      if (smaller !== undefined) {
        await discard(outcome);
        this.#options.limit.lower(smaller);
        continue;
      }
      const refusal = await this.#recover(outcome);
      if (refusal === undefined) continue;
      return this.#hasFailed ? closedAnswer(this.#send, refusal, { digest, url }, this.#options.signal) : refusal;
    }
  }

  get #left(): number {
    return this.#start + this.#content.length - this.session.size;
  }

  #sendChunk(length: number): Promise<Response> {
    return this.#send(this.session.url, this.#request('PATCH', length));
  }

  #sendLast(digest: string): Promise<Response> {
    const url = new URL(this.session.url);
    url.search += `${url.search === '' ? '' : '&'}digest=${encodeURIComponent(digest)}`;
    return this.#send(url, this.#request('PUT', this.#left));
  }

  #request(method: 'PATCH' | 'PUT', length: number): Request {
    const { isPart = false, signal } = this.#options;
    if (length === 0) return { method, headers: { 'content-length': '0' }, signal };
    const { size } = this.session;
    const offset = size - this.#start;
    // Some registries refuse Content-Range for a blob that comes in one piece.
    const isWhole = !isPart && size === 0 && length === this.#content.length;
    return {
      method,
      headers: {
        'content-type': 'application/octet-stream',
        ...(isWhole ? {} : { 'content-range': `${size}-${size + length - 1}` }),
      },
      body: { length, stream: this.#content.open(offset, offset + length) },
      signal,
    };
  }

  /**
   * Waits after a failure, and asks the registry how far the session has come.
   * @returns undefined to go on from there; otherwise the answer that the upload ends with
   * @throws TransportError if there was none
   */
  async #recover(outcome: Outcome): Promise<Response | undefined> {
    const { signal, onRetry } = this.#options;
    let last = outcome;
    while (!isSuccess(last)) {
      const failure = this.#failureOf(last);
      try {
        await this.#patience.after(failure);
      } catch {
        signal?.throwIfAborted();
        if (last instanceof TransportError) throw last;
        return last;
      }
      this.#hasFailed = true;
      onRetry?.(failure.message);
      await discard(last);
      last = await outcomeOf(this.#send(this.session.url, { method: 'GET', signal }));
    }
    const size = sizeIn(last.headers);
    if (size === undefined || size < this.session.size || size > this.#start + this.#content.length)
      return lostAnswer();
    await this.#advance(last, size);
    return undefined;
  }

  #failureOf(outcome: Outcome): Error {
    if (outcome instanceof TransportError) return outcome;
    const { status } = outcome;
    const message = `the upload was answered with status ${status}`;
    // A chunk whose answer was lost may take effect only after the registry was asked. Then the next is out of order.
    if (status === 416 && this.#hasFailed) return new TransportError(message);
    return new RegistryError(this.session.url.host, outcome, message);
  }

  async #advance(answer: Response, size: number): Promise<void> {
    if (size > this.session.size) this.#patience.renew();
    this.session = sessionIn(answer, this.session.url, size);
    this.#progress = answer.headers;
    this.#options.limit.learn(answer.headers);
    await discard(answer);
    await this.#options.onAdvance?.(this.session);
  }
}

/**
 * Returns the answer to a repeated PUT that the registry refused. If the session is gone, the first PUT may have closed
 * it and lost only its answer, so this looks for the blob.
 */
export async function closedAnswer(
  send: Transport,
  refusal: Response,
  { digest, url }: BlobAddress,
  signal: AbortSignal | undefined,
): Promise<Response> {
  if (refusal.status !== 404 || url === undefined) return refusal;
  const found = await send(url, { method: 'HEAD', signal });
  return found.ok ? createdAnswer(digest, url) : refusal;
}

/** Returns the session that an answer of a registry names. @param asked the address that the request went to */
export function sessionIn(answer: Response, asked: URL, size: number): UploadSession {
  const location = answer.headers.get('location');
  return { url: location === null ? asked : new URL(location, asked), size };
}

/** Returns how many bytes a session has, from the `Range` of an answer. `0-0` means none; undefined without one. */
export function sizeIn(headers: Headers): number | undefined {
  const [, last] = /^(?:bytes[= ])?0-(\d{1,15})$/.exec(headers.get('range') ?? '') ?? [];
  if (last === undefined) return undefined;
  return last === '0' ? 0 : Number(last) + 1;
}

async function outcomeOf(request: Promise<Response>): Promise<Outcome> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof TransportError) return error;
    throw error;
  }
}

function isSuccess(outcome: Outcome): outcome is Response {
  return !(outcome instanceof TransportError) && outcome.ok;
}

function isTooLarge(outcome: Outcome): boolean {
  return !(outcome instanceof TransportError) && outcome.status === 413;
}

/** Reads the body of an answer that is not needed, which frees its connection. */
async function discard(outcome: Outcome): Promise<void> {
  if (!(outcome instanceof TransportError)) await textOf(outcome);
}

function createdAnswer(digest: string, { href }: URL): Response {
  return new Response(null, { status: 201, headers: { Location: href, 'Docker-Content-Digest': digest } });
}

/**
 * The answer for a session whose size contradicts the bytes sent: someone else writes to it, or the registry lost it.
 */
function lostAnswer(): Response {
  const message = 'the registry has lost a part of the upload: start it anew';
  return Response.json({ errors: [{ code: 'BLOB_UPLOAD_INVALID', message, detail: {} }] }, { status: 404 });
}
