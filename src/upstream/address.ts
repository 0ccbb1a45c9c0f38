/**
 * The addresses that Berth may send requests to for somebody else. An upstream, its token service, its redirects and
 * its links are all checked here, because each of them is chosen by someone who may want to reach what only Berth can:
 * this registry itself, or a service beside it.
 */
import { isLoopback } from '../config.ts';
import { OciError } from '../oci/errors.ts';
import { type Preset, PRESET_NAMES, presetNamed, presetOfHost } from './presets.ts';

export interface Upstream {
  /** The root of the registry. */
  readonly url: URL;
  /** The hosts that its credential may be sent to. */
  readonly loginHosts: readonly string[];
  readonly hasCatalog: boolean;
  readonly library: string | undefined;
}

/** The limits of the addresses that Berth may send requests to. */
export interface Reach {
  /** Whether a URL is one of this registry's own hosts. */
  readonly isOwn: (url: URL) => boolean;
  /** Whether upstreams on this machine may be used, as in a local run. */
  readonly allowsLoopback: boolean;
}

/** Names that mean something only inside a network (RFC 6761, RFC 6762, RFC 8375, RFC 9476). */
const PRIVATE_NAMES = /(?:^|\.)(?:localhost|local|internal|intranet|private|corp|home|lan|home\.arpa|alt|onion)$/;

/**
 * Reads the address of an upstream: the name of a preset, or the URL of a registry.
 * @param loginHost another host that may be told the credential
 * @throws OciError FIELD_INVALID
 */
export function parseUpstream(from: string, loginHost: string | undefined, reach: Reach): Upstream {
  const named = presetNamed(from);
  if (named === undefined && !URL.canParse(from)) {
    throw invalid(`must be the URL of a registry, or one of ${PRESET_NAMES}`);
  }
  const given = new URL(named?.registry ?? from);
  if (given.username !== '' || given.password !== '') throw invalid('must have no login in it: use the credential');
  if (given.pathname !== '/' || given.search !== '' || given.hash !== '') {
    throw invalid(`must be the root of a registry, without a path: ${given.origin}`);
  }
  const preset: Preset | undefined = named ?? presetOfHost(given.host);
  const url = new URL(preset?.registry ?? given);
  const problem = addressProblem(url, reach);
  if (problem !== undefined) throw invalid(problem);
  return {
    url,
    loginHosts: [url.host, preset?.loginHost, loginHost].filter((host) => host !== undefined),
    hasCatalog: preset?.hasCatalog ?? true,
    library: preset?.library,
  };
}

/** Returns why Berth does not send a request to an address; undefined if it does. */
export function addressProblem(url: URL, { isOwn, allowsLoopback }: Reach): string | undefined {
  const name = url.hostname.replace(/\.+$/, '');
  const bare = new URL(url);
  bare.hostname = name;
  if (isOwn(url) || isOwn(bare)) return `${url.host} is a host of this registry`;
  if (allowsLoopback && isLoopback(name)) return undefined;
  if (url.protocol !== 'https:') return `${url.host} must be reached over https`;
  if (isAddress(name)) return `${url.host} is an address, not a name`;
  if (!name.includes('.') || PRIVATE_NAMES.test(name)) return `${url.host} is not a public name`;
  return undefined;
}

/** The URL parser has already turned every notation of an IPv4 address into four decimal numbers. */
function isAddress(name: string): boolean {
  return name.startsWith('[') || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name);
}

function invalid(problem: string): OciError {
  return new OciError('FIELD_INVALID', { message: `from: ${problem}`, detail: { field: 'from' } });
}
