/** Mirrors at nodes. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call } from '../support/client.ts';
import { away } from '../support/mirrored-app.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { applyChangeLog, eventually, NODE1, NODE2, startQueues, stopQueues } from '../support/queues.ts';
import { stubUpstream } from '../support/stub-upstream.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const upstream = stubUpstream();

beforeEach(async () => {
  await startQueues();
  await becomeMirror('alice');
  await applyChangeLog();
});

afterEach(async () => {
  await stopMirrors();
  await stopQueues();
});

async function pull(host: string | undefined, reference: string): Promise<[number, string | null]> {
  const { status, headers } = await call('GET', `/v2/alice/app/manifests/${reference}`, {
    as: 'alice',
    ...(host === undefined ? {} : { host }),
  });
  return [status, headers.get('Docker-Content-Digest')];
}

async function tagsAtCentral(): Promise<unknown> {
  const answer = await call('GET', '/v2/alice/app/tags/list', { as: 'alice' });
  return answer.status === 200 ? (await answer.json<{ tags: unknown }>()).tags : undefined;
}

test('a node announces the images that it pulls to central, like pushes', async () => {
  const { digest } = await upstream.index('app', 'v1', []);
  expect(await pull(NODE1, 'v1')).toEqual([200, digest]);
  expect(await eventually(tagsAtCentral, (tags) => tags !== undefined)).toEqual(['v1']);
});

test('stores get an image from the one that has pulled it', async () => {
  const { digest } = await upstream.index('app', 'v1', []);
  await pull(NODE1, 'v1');
  await eventually(tagsAtCentral, (tags) => tags !== undefined);
  upstream.asked();
  expect(await pull(NODE2, 'v1')).toEqual([200, digest]);
  // Each store resolves tags by itself.
  expect(upstream.asked()).toEqual(['HEAD /v2/app/manifests/v1']);
});

test('a tag that another store has stored is not written again', async () => {
  await upstream.index('app', 'v1', []);
  await pull(NODE1, 'v1');
  await eventually(tagsAtCentral, (tags) => tags !== undefined);
  await pull(NODE2, 'v1');
  await eventually(
    async () => {
      const path = '/api/organizations/alice/mirror/status';
      return (await call('GET', path, { as: 'alice', host: NODE2 })).json<{ tags: number; waiting: number }>();
    },
    ({ tags, waiting }) => tags === 1 && waiting === 0,
  );
  const { results } = await env.DB_NODE2!.prepare('SELECT * FROM outbox').all();
  expect(results).toEqual([]);
});

test('an image that another store has pulled is served while the upstream is away', async () => {
  const { digest } = await upstream.index('app', 'v1', []);
  await pull(NODE1, 'v1');
  await eventually(tagsAtCentral, (tags) => tags !== undefined);
  upstream.answers = away;
  expect(await pull(NODE2, 'v1')).toEqual([200, digest]);
  expect(await pull(undefined, 'v1')).toEqual([200, digest]);
});

test('a node goes to the upstream by itself while central is away', async () => {
  const { digest } = await upstream.index('app', 'v1', []);
  const hosts = await ThreeHosts.open();
  hosts.takeAway('central D1', 'central R2');
  const { status, headers } = await hosts.call('node1', 'GET', '/v2/alice/app/manifests/v1', { as: 'alice' });
  expect([status, headers.get('Docker-Content-Digest')]).toEqual([200, digest]);
});

test('a node shows the state of its mirror while central is away, to a caller whose login it remembers', async () => {
  await upstream.index('app', 'v1', []);
  const hosts = await ThreeHosts.open();
  const state = async (): Promise<unknown> => {
    const { status, bytes } = await hosts.call('node1', 'GET', '/api/organizations/alice/mirror/status');
    return [status, JSON.parse(new TextDecoder().decode(bytes))];
  };
  expect(await state()).toMatchObject([200, { tags: 0 }]);
  hosts.takeAway('central D1', 'central R2');
  expect((await hosts.call('node1', 'GET', '/v2/alice/app/manifests/v1')).status).toBe(200);
  expect(await state()).toMatchObject([200, { tags: 1, failure: null }]);
});
