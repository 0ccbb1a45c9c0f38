/** Organizations that are mirrors. */
import { evictAllDurableObjects } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { DAY, MINUTE } from '../../src/durations.ts';
import { forgetMirrorLists } from '../../src/mirror/upstreams.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { type Mirror, setMirror } from '../../src/stores/organizations/mirrors.ts';
import { openStore } from '../../src/stores/store.ts';
import { forgetObjects } from './durable-objects.ts';
import { UPSTREAM } from './stub-upstream.ts';

let changes = 0;

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
    expires: Infinity,
    pushes: 'refused',
    isPublic: false,
    changedAt: 1,
    ...settings,
  };
}

/** Makes an organization a mirror of the stubbed upstream, at central. */
export async function becomeMirror(organization: string, settings: Partial<Mirror> = {}): Promise<void> {
  const { database } = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
  changes += 1;
  const changedAt = Date.now() + changes;
  if ((await setMirror(database, mirror(organization, { from: UPSTREAM, changedAt, ...settings }))) === undefined)
    throw new Error(`${organization} could not be made a mirror`);
  forgetMirrorLists(env);
}

/** Stops what mirrors do in the background, and empties their state. For afterEach. */
export async function stopMirrors(): Promise<void> {
  forgetMirrorLists(env);
  await forgetObjects(env.ORGANIZATION_MIRROR);
  await forgetObjects(env.MIRROR_BLOB);
  await evictAllDurableObjects();
}
