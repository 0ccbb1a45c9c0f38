/** Connects to an upstream registry, with the client that the command line uses as well. */
import { startHash } from '../hashing/resumable-hash.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { Host } from '../oci-client/host.ts';
import { sleepBriefly } from '../oci-client/retry.ts';
import type { Reach, Upstream } from './address.ts';
import { upstreamTransport } from './transport.ts';

/** The longest wait inside a request. For longer ones the work is put off. */
const LONGEST_WAIT_MILLISECONDS = 10_000;

export interface UpstreamCredential {
  readonly user: string;
  readonly secret: string;
}

/** Thrown in place of a long wait that an upstream asks for. */
export class Postponed extends Error {
  override readonly name = 'Postponed';
  readonly milliseconds: number;

  constructor(milliseconds: number) {
    super(`the upstream asks to wait for ${Math.ceil(milliseconds / 1000)} s`);
    this.milliseconds = milliseconds;
  }
}

/** Connects to an upstream. Requests of one connection share its tokens. */
export function connectUpstream(upstream: Upstream, credential: UpstreamCredential | undefined, reach: Reach): Host {
  const surroundings = { transport: upstreamTransport(reach), startHash, sleep: waitOrPostpone };
  return new Host(upstream.url, surroundings, async (receiver) => {
    if (credential === undefined) return undefined;
    if (upstream.loginHosts.includes(receiver.host)) return { username: credential.user, password: credential.secret };
    throw new ContentError(
      `${upstream.url.host} asks to send its credential to ${receiver.host}: allow that with login_host, if you trust it`,
    );
  });
}

/** Returns the name that an upstream knows a repository by. */
export function upstreamName({ library }: Upstream, name: string): string {
  return library === undefined || name.includes('/') ? name : `${library}/${name}`;
}

async function waitOrPostpone(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds > LONGEST_WAIT_MILLISECONDS) throw new Postponed(milliseconds);
  await sleepBriefly(milliseconds, signal);
}
