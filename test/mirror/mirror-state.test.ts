/** What a mirror keeps of its upstream, in the storage of its Durable Object. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { MirrorState } from '../../src/mirror/mirror-state.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';

const REPOSITORY = 'hub/app' as RepositoryName;
const DIGEST = `sha256:${'1'.repeat(64)}` as Digest;

test('an image that is asked for again while it is stored stays due', async () => {
  await runInDurableObject(env.ORGANIZATION_MIRROR.getByName('of a test'), (_object, { storage }) => {
    const state = new MirrorState(storage.sql);
    state.addDue(REPOSITORY, DIGEST, 1);
    const first = state.nextDue(1);
    // For another tag, or because its manifest is here only now.
    state.addDue(REPOSITORY, DIGEST, 2);
    if (first !== undefined) state.endDue(first);
    const second = state.nextDue(2);
    expect(second).toMatchObject({ repository: REPOSITORY, digest: DIGEST });
    if (second !== undefined) state.endDue(second);
    expect(state.nextDueAt()).toBeUndefined();
  });
});
