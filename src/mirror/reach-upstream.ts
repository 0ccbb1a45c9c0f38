/** Connects mirrors to their upstreams. */
import type { Config } from '../config.ts';
import { LoginError } from '../oci-client/authorization.ts';
import type { Host } from '../oci-client/host.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { organizationOf, type RepositoryName } from '../oci/reference.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import { parseUpstream, type Upstream } from '../upstream/address.ts';
import { type ConnectOptions, connectUpstream, upstreamName } from '../upstream/connect.ts';
import { reachOf } from '../upstream/reach.ts';

/** The settings of a mirror that concern its upstream. */
export type UpstreamSettings = Pick<Mirror, 'from' | 'loginHost' | 'prefix' | 'credential'>;

/**
 * Connects to a mirror's upstream.
 * @throws OciError FIELD_INVALID if the deployment may not reach it any more
 */
export function hostOf(settings: UpstreamSettings, config: Config, options?: ConnectOptions): Host {
  return connectUpstream(upstreamOf(settings, config), settings.credential, reachOf(config), options);
}

/** Returns the upstream's name of a mirror's repository. */
export function nameAtUpstream(settings: UpstreamSettings, config: Config, repository: RepositoryName): string {
  const { prefix } = settings;
  const name = repository.slice(organizationOf(repository).length + 1);
  return upstreamName(upstreamOf(settings, config), prefix === '' ? name : `${prefix}/${name}`);
}

function upstreamOf({ from, loginHost }: UpstreamSettings, config: Config): Upstream {
  return parseUpstream(from, loginHost, reachOf(config));
}

/** Statuses of a registry for content that is missing, or hidden from this login. */
const ABSENT: ReadonlySet<number> = new Set([401, 403, 404]);

/**
 * Returns whether an error says that the upstream lacks the content, or hides it from this login. A refused login is a
 * failure.
 */
export function isAbsence(error: unknown): boolean {
  return error instanceof RegistryError && ABSENT.has(error.status) && !(error instanceof LoginError);
}
