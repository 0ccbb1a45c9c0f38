/** Images of mirrors: passed on from the upstream, and then stored. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, call } from '../support/client.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { applyChangeLog, eventually, NODE1, startQueues, stopQueues } from '../support/queues.ts';
import { away } from '../support/mirrored-app.ts';
import type { Document } from '../support/registry-model.ts';
import { type StubUpstream, stubUpstream } from '../support/stub-upstream.ts';

const HISTORY = '/api/organizations/alice/repositories/app/images/v1/history';

const upstream = stubUpstream();

afterEach(stopMirrors);

/** Pulls an image as a client does, and returns the statuses of its manifest, config and layers. */
async function pull(reference: string, host?: string): Promise<number[]> {
  const get = (path: string): Promise<Response> =>
    call('GET', `/v2/alice/app/${path}`, { as: 'alice', ...(host === undefined ? {} : { host }) });
  const answer = await get(`manifests/${reference}`);
  if (answer.status !== 200) return [answer.status];
  const { config, layers } = await answer.json<{ config: { digest: string }; layers: { digest: string }[] }>();
  const blobs = await Promise.all([config, ...layers].map(({ digest }) => get(`blobs/${digest}`)));
  await Promise.all(blobs.map((blob) => blob.arrayBuffer()));
  return [answer.status, ...blobs.map(({ status }) => status)];
}

async function storedTags(): Promise<unknown> {
  const answer = await call('GET', '/v2/alice/app/tags/list', { as: 'alice' });
  return answer.status === 200 ? (await answer.json<{ tags: unknown }>()).tags : [];
}

function stored(tags: readonly string[]): Promise<unknown> {
  return eventually(storedTags, (found) => JSON.stringify(found) === JSON.stringify(tags));
}

describe('an image', () => {
  beforeEach(addUsers);

  test('is passed on, and stored once all its blobs are', async () => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    expect(await pull('v1')).toEqual([200, 200, 200]);
    await stored(['v1']);
    upstream.answers = away;
    expect(await pull('v1')).toEqual([200, 200, 200]);
  });

  test('whose manifest alone was pulled is stored whole', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.image('app', 'v1');
    await call('GET', `/v2/alice/app/manifests/${digest}`, { as: 'alice' });
    await vi.waitUntil(async () => upstream.requests.some((each) => each.includes('/blobs/')));
    upstream.asked();
    await eventually(
      async () => (await call('GET', '/v2/_catalog', { as: 'alice' })).json<{ repositories: string[] }>(),
      ({ repositories }) => repositories.includes('alice/app'),
    );
    upstream.answers = away;
    expect(await pull(digest)).toEqual([200, 200, 200]);
  });

  test('of an index is stored when it is pulled', async () => {
    await becomeMirror('alice');
    const [first, second] = [await upstream.image('app', 'amd64'), await upstream.image('app', 'arm64')];
    await upstream.index('app', 'v1', [first, second]);
    const index = await call('GET', '/v2/alice/app/manifests/v1', { as: 'alice' });
    expect(index.status).toBe(200);
    await stored(['v1']);
    expect(await pull(first.digest)).toEqual([200, 200, 200]);
    await eventually(
      async () => manifestsAsked(upstream, first),
      (asked) => asked === 1,
    );
    expect(manifestsAsked(upstream, second)).toBe(0);
  });

  test('whose blobs the upstream lacks is served, and not stored', async () => {
    await becomeMirror('alice');
    await upstream.manifest('app', 'v1', 'application/vnd.oci.image.manifest.v1+json', {
      config: { mediaType: 'application/json', digest: `sha256:${'1'.repeat(64)}`, size: 2 },
      layers: [],
    });
    expect(await pull('v1')).toEqual([200, 404]);
    expect(await storedTags()).toEqual([]);
  });

  test('that a moved tag means replaces the one before in the list of tags', async () => {
    await becomeMirror('alice', { ttl: 0 });
    await upstream.image('app', 'v1');
    await pull('v1');
    await stored(['v1']);
    const moved = await upstream.image('app', 'v1', 'moved');
    expect(await pull('v1')).toEqual([200, 200, 200]);
    await eventually(
      async () => {
        const answer = await call('GET', HISTORY, { as: 'alice' });
        return JSON.stringify(await answer.json());
      },
      (history) => history.includes(moved.digest),
    );
  });

  test('is stored under each tag that was pulled', async () => {
    await becomeMirror('alice');
    const image = await upstream.image('app', 'v1');
    await pull('v1');
    await stored(['v1']);
    upstream.tag('app', 'latest', image);
    expect(await pull('latest')).toEqual([200, 200, 200]);
    await stored(['latest', 'v1']);
  });

  test('whose tag was deleted here is stored under it again when it is pulled', async () => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    await pull('v1');
    await stored(['v1']);
    expect((await call('DELETE', '/v2/alice/app/manifests/v1', { as: 'alice' })).status).toBe(202);
    await stored([]);
    await eventually(
      async () => {
        await pull('v1');
        return storedTags();
      },
      (tags) => JSON.stringify(tags) === '["v1"]',
    );
  });

  test('that was deleted here can be pulled again', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.image('app', 'v1');
    await pull('v1');
    await stored(['v1']);
    expect((await call('DELETE', `/v2/alice/app/manifests/${digest}`, { as: 'alice' })).status).toBe(202);
    expect(await pull('v1')).toEqual([200, 200, 200]);
    await stored(['v1']);
  });

  test('has the mirror as the author of its tags', async () => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    await pull('v1');
    await stored(['v1']);
    const answer = await call('GET', HISTORY, { as: 'alice' });
    expect(JSON.stringify(await answer.json())).toContain('https://upstream.example');
  });
});

test('a node passes an image on and stores it while it announces it to central', async () => {
  await startQueues();
  try {
    await becomeMirror('alice');
    await applyChangeLog();
    await upstream.image('app', 'v1');
    expect(await pull('v1', NODE1)).toEqual([200, 200, 200]);
    await stored(['v1']);
    upstream.answers = away;
    expect(await pull('v1')).toEqual([200, 200, 200]);
  } finally {
    await stopQueues();
  }
});

function manifestsAsked({ requests }: StubUpstream, { digest }: Document): number {
  return requests.filter((each) => each.endsWith(`/manifests/${digest}`)).length;
}
