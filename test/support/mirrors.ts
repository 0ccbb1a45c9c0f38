/** Mirrors as control data. */
import type { OrganizationName } from '../../src/oci/reference.ts';
import { DEFAULT_STALE, DEFAULT_TTL, type Mirror } from '../../src/stores/organizations/mirrors.ts';

/** Returns a mirror of all of Docker Hub, with other settings if they are given. */
export function mirror(organization: string, settings: Partial<Mirror> = {}): Mirror {
  return {
    organization: organization as OrganizationName,
    from: 'hub',
    loginHost: undefined,
    prefix: '',
    credential: undefined,
    repositories: ['*'],
    ttl: DEFAULT_TTL,
    stale: DEFAULT_STALE,
    acceptsPushes: false,
    isPublic: false,
    changedAt: 1,
    ...settings,
  };
}
