/** Mirrors as control data. */
import { DAY, MINUTE } from '../../src/durations.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import type { Mirror } from '../../src/stores/organizations/mirrors.ts';

/** Returns a mirror of all of Docker Hub, with other settings if they are given. */
export function mirror(organization: string, settings: Partial<Mirror> = {}): Mirror {
  return {
    organization: organization as OrganizationName,
    from: 'hub',
    loginHost: undefined,
    prefix: '',
    credential: undefined,
    repositories: ['*'],
    ttl: 15 * MINUTE,
    stale: 7 * DAY,
    acceptsPushes: false,
    isPublic: false,
    changedAt: 1,
    ...settings,
  };
}
