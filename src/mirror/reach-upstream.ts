/** How a mirror reaches its upstream. */
import type { Config } from '../config.ts';
import { LoginError } from '../oci-client/authorization.ts';
import type { Host } from '../oci-client/host.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { organizationOf, type RepositoryName } from '../oci/reference.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import { parseUpstream, type Upstream } from '../upstream/address.ts';
import { type ConnectOptions, connectUpstream, upstreamName } from '../upstream/connect.ts';
import { reachOf } from '../upstream/reach.ts';

/** What a mirror's settings say of its upstream. */
export type UpstreamSettings = Pick<Mirror, 'from' | 'loginHost' | 'prefix' | 'credential'>;

/**
 * Connects to a mirror's upstream.
 * @throws OciError FIELD_INVALID if the deployment may not reach it any more
 */
export function hostOf(settings: UpstreamSettings, config: Config, options?: ConnectOptions): Host {
  return connectUpstream(upstreamOf(settings, config), settings.credential, reachOf(config), options);
}

/** Returns the name that the upstream knows a mirror's repository by. */
export function nameAtUpstream(settings: UpstreamSettings, config: Config, repository: RepositoryName): string {
  const { prefix } = settings;
  const name = repository.slice(organizationOf(repository).length + 1);
  return upstreamName(upstreamOf(settings, config), prefix === '' ? name : `${prefix}/${name}`);
}

function upstreamOf({ from, loginHost }: UpstreamSettings, config: Config): Upstream {
  return parseUpstream(from, loginHost, reachOf(config));
}

/** Statuses with which a registry says that something is not there, or not for Berth. */
const ABSENT: ReadonlySet<number> = new Set([401, 403, 404]);

/**
 * Returns whether the upstream says that it has no such thing, or none for this login. A refused login is a failure.
 */
export function isAbsence(error: unknown): boolean {
  return error instanceof RegistryError && ABSENT.has(error.status) && !(error instanceof LoginError);
}
