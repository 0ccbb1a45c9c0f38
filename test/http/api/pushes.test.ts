/** The latest pushes, over HTTP. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { api, NODE1, startQueues, stopQueues } from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Push {
  readonly repository: string;
  readonly tag: string;
  readonly pushed_at: string;
  readonly origin: string;
}

async function latest(query = ''): Promise<Push[]> {
  const { status, body } = await api('GET', `pushes${query}`, { as: 'admin' });
  expect(status).toBe(200);
  return (body as { pushes: Push[] }).pushes;
}

const names = (pushes: readonly Push[]): string[] =>
  pushes.map(({ repository, tag, origin }) => `${repository}:${tag} ${origin}`);

test('has those to central and those that nodes announced, latest first', async () => {
  const before = Date.now();
  await putImage('alice/app', 1, ['v1']);
  await putImage('alice/other', 2, ['v1'], { as: 'alice', host: NODE1 });
  await api('GET', 'organizations/alice/repositories/other/images/v1?wait=60', { as: 'alice', host: NODE1 });
  await putImage('bob/app', 3, ['v1'], { as: 'bob' });
  const pushes = await latest();
  expect(names(pushes)).toEqual(['bob/app:v1 central', 'alice/other:v1 node1', 'alice/app:v1 central']);
  for (const { pushed_at: at } of pushes) expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
  expect(names(await latest('?n=1'))).toEqual(['bob/app:v1 central']);
});

test('has neither untagged manifests nor what was deleted', async () => {
  await putImage('alice/app', 1, ['kept']);
  await putImage('alice/app', 2, []);
  const { digest } = await putImage('alice/app', 3, ['gone']);
  await call('DELETE', `/v2/alice/app/manifests/${digest}`, { as: 'alice' });
  await putImage('alice/removed', 4, ['latest']);
  await call('DELETE', '/api/organizations/alice/repositories/removed', { as: 'alice' });
  expect(names(await latest())).toEqual(['alice/app:kept central']);
});

test('counts a document of several parts once', async () => {
  await putImage('alice/app', 1, ['large']);
  await env.DB_CENTRAL.prepare(
    'INSERT INTO manifest_contents SELECT repository, digest, 1, content FROM manifest_contents',
  ).run();
  expect(names(await latest())).toEqual(['alice/app:large central']);
});

test('is empty while there are none', async () => {
  expect(await latest()).toEqual([]);
});
