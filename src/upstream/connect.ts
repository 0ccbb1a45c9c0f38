/** Connects to an upstream registry, with the client that the command line uses as well. */
import { startHash } from '../hashing/resumable-hash.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { Authorization, type Login } from '../oci-client/authorization.ts';
import type { CredentialFor } from '../oci-client/credential.ts';
import { Host } from '../oci-client/host.ts';
import { sleepBriefly } from '../oci-client/retry.ts';
import type { Transport } from '../oci-client/transport.ts';
import type { Reach, Upstream } from './address.ts';
import { upstreamTransport } from './transport.ts';

/** The longest wait inside a request. Work that has to wait longer is put off. */
const LONGEST_WAIT_MILLISECONDS = 10_000;

export interface UpstreamCredential {
  readonly user: string;
  readonly secret: string;
}

/** Thrown in place of a long wait before another attempt, with the last failure. */
export class Postponed extends Error {
  override readonly name = 'Postponed';
  readonly milliseconds: number;

  constructor(milliseconds: number, failure: Error) {
    super(failure.message, { cause: failure });
    this.milliseconds = milliseconds;
  }
}

export interface ConnectOptions {
  /**
   * The longest wait inside a request, in milliseconds; 10,000 by default. For a longer one it throws
   * {@link Postponed}.
   */
  readonly longestWait?: number;
  /** Is told of every answer. */
  readonly onAnswer?: (answer: Response) => void;
  /** Logs in, in place of the connection's own login with the credential. */
  readonly login?: Login | undefined;
}

/** Connects to an upstream. Requests of one connection share its tokens. */
export function connectUpstream(
  upstream: Upstream,
  credential: UpstreamCredential | undefined,
  reach: Reach,
  { longestWait = LONGEST_WAIT_MILLISECONDS, onAnswer, login }: ConnectOptions = {},
): Host {
  const sleep = async (milliseconds: number, signal: AbortSignal | undefined, failure: Error): Promise<void> => {
    if (milliseconds > longestWait) throw new Postponed(milliseconds, failure);
    await sleepBriefly(milliseconds, signal);
  };
  const send = upstreamTransport(reach);
  const transport: Transport = async (url, request) => {
    const answer = await send(url, request);
    onAnswer?.(answer);
    return answer;
  };
  const surroundings = { transport, startHash, sleep };
  const credentialFor: CredentialFor = async (receiver) => {
    if (credential === undefined) return undefined;
    if (upstream.loginHosts.includes(receiver.host)) return { username: credential.user, password: credential.secret };
    throw new ContentError(
      `${upstream.url.host} asks to send its credential to ${receiver.host}: allow that with login_host, if you trust it`,
    );
  };
  return new Host(upstream.url, surroundings, login ?? new Authorization(upstream.url, credentialFor, surroundings));
}

/** Returns the upstream's name of a repository. */
export function upstreamName({ library }: Upstream, name: string): string {
  return library === undefined || name.includes('/') ? name : `${library}/${name}`;
}
