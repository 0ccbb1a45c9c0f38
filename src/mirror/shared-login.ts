/**
 * The login that all blobs of a mirror share. Only the mirror's Durable Object logs in to the upstream, so that many
 * layers need one token. The objects of blobs ask it for the header of each request, and keep none.
 */
import { type Login, LoginError } from '../oci-client/authorization.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { TransportError } from '../oci-client/transport.ts';
import { within } from '../stores/deadline.ts';

/** The longest wait for the mirror's Durable Object, which may wait for a token service. */
const ANSWER_MILLISECONDS = 45_000;

export interface RefusedLogin {
  /** The upstream's `WWW-Authenticate`. */
  readonly challenge: string | null;
  /** The header that it refuses. */
  readonly sent: string | undefined;
}

/** Without a header or a failure, the request needs no login. */
export interface LoginAnswer {
  readonly header?: string | undefined;
  readonly failure?: LoginFailure;
}

/** Why the login failed. Errors lose their classes between Durable Objects. */
type LoginFailure =
  | { readonly kind: 'transport' | 'content'; readonly message: string }
  | {
      /** Whether the login was refused, or answered with something wrong. */
      readonly kind: 'refused' | 'wrong';
      readonly message: string;
      readonly host: string;
      readonly status: number;
      readonly retryAfter: string | null;
      readonly code: string;
    };

/** Describes a failed login. @throws an error of any other kind */
export function loginFailure(error: unknown): LoginFailure {
  if (error instanceof RegistryError) {
    const { message, host, status, headers, code } = error;
    const kind = error instanceof LoginError ? 'refused' : 'wrong';
    return { kind, message, host, status, retryAfter: headers.get('retry-after'), code };
  }
  if (error instanceof TransportError) return { kind: 'transport', message: error.message };
  if (error instanceof ContentError) return { kind: 'content', message: error.message };
  throw error;
}

/** @param ask asks the mirror's Durable Object */
export function sharedLogin(ask: (scope: string, refused?: RefusedLogin) => Promise<LoginAnswer>): Login {
  return {
    headerFor: (scope) => headerOf(ask(scope)),
    challenged: (challenge, scope, sent) => headerOf(ask(scope, { challenge, sent })),
  };
}

async function headerOf(asked: Promise<LoginAnswer>): Promise<string | undefined> {
  const { header, failure } = await within(ANSWER_MILLISECONDS, asked).catch((cause: unknown) => {
    throw new TransportError('the registry could not log in to the upstream', { cause });
  });
  if (failure !== undefined) throw errorOf(failure);
  return header;
}

function errorOf(failure: LoginFailure): Error {
  if (!('host' in failure)) return new (failure.kind === 'transport' ? TransportError : ContentError)(failure.message);
  const { kind, message, host, status, retryAfter, code } = failure;
  const response = new Response(null, { status, headers: retryAfter === null ? {} : { 'retry-after': retryAfter } });
  const error = new RegistryError(host, response, message.slice(`${host}: `.length), code);
  return kind === 'refused' ? new LoginError(error, response) : error;
}
