/** The client library, in the isolate of the Worker that it talks to. */
import { Authorization } from '../../src/oci-client/authorization.ts';
import type { Credential } from '../../src/oci-client/credential.ts';
import { Host } from '../../src/oci-client/host.ts';
import type { Surroundings } from '../../src/oci-client/surroundings.ts';
import { type Request as ClientRequest, type Transport, TransportError } from '../../src/oci-client/transport.ts';
import { startHash } from '../../src/hashing/resumable-hash.ts';
import { call, HOST, USERS } from '../support/client.ts';

export interface Sent {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes that the body announced. */
  readonly length: number;
}

/**
 * Answers instead of the registry, or with its answer.
 * @param pass sends the request on. If `bytes` is given, the connection breaks after that many bytes of the body
 */
export type Interference = (
  sent: Sent,
  pass: (bytes?: number) => Promise<Response>,
) => Response | undefined | Promise<Response | undefined>;

export interface Wired {
  readonly surroundings: Surroundings;
  readonly sent: readonly Sent[];
  /** Milliseconds that the client waited, one by one. */
  readonly waits: readonly number[];
  /** Returns the requests so far as `<method> <path>`, without logins and references of sessions. */
  calls(): string[];
}

/** Connects the client to Berth. @param interfere returns undefined to let a request through */
export function wired(interfere: Interference = () => undefined): Wired {
  const sent: Sent[] = [];
  const waits: number[] = [];
  const transport: Transport = async (url, request) => {
    const { method, headers = {} } = request;
    const { length, bytes } = await bodyIn(request);
    const now: Sent = { method, url, headers, length };
    sent.push(now);
    const pass = async (limit?: number): Promise<Response> => {
      const body = limit === undefined ? bytes : bytes?.slice(0, limit);
      const answer = await call(method, url.href, {
        host: HOST,
        headers: limit === undefined ? headers : withoutRange(headers),
        ...(body !== undefined && { body }),
      });
      if (limit !== undefined) throw new TransportError('the connection broke');
      return answer;
    };
    return (await interfere(now, pass)) ?? pass();
  };
  const sleep = async (milliseconds: number): Promise<void> => void waits.push(milliseconds);
  return {
    surroundings: { transport, startHash, sleep },
    sent,
    waits,
    calls: () =>
      sent
        .filter(({ url }) => url.pathname !== '/token')
        .map(({ method, url }) => `${method} ${url.pathname.replace(/(\/blobs\/uploads\/).+/, '$1…')}${url.search}`),
  };
}

/** A part of a body must not contradict its own Content-Range. */
function withoutRange(headers: Readonly<Record<string, string>>): Record<string, string> {
  const { 'content-range': _, ...rest } = headers;
  return rest;
}

async function bodyIn({
  body,
}: ClientRequest): Promise<{ length: number; bytes: Uint8Array<ArrayBuffer> | undefined }> {
  if (body === undefined) return { length: 0, bytes: undefined };
  if (typeof body === 'string' || !('stream' in body)) {
    const bytes = new Uint8Array(await new Response(body).arrayBuffer());
    return { length: bytes.byteLength, bytes };
  }
  const bytes = new Uint8Array(await new Response(body.stream).arrayBuffer());
  if (bytes.byteLength !== body.length) throw new Error(`a body of ${bytes.byteLength} bytes announced ${body.length}`);
  return { length: body.length, bytes };
}

export const ALICE: Credential = { username: USERS.alice.name, password: USERS.alice.password };

export function hostOf({ surroundings }: Wired, credential: Credential | undefined = ALICE, url = HOST): Host {
  const registry = new URL(url);
  return new Host(registry, surroundings, new Authorization(registry, async () => credential, surroundings));
}
