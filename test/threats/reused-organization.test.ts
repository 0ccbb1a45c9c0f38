/**
 * The next owner of an organization's name gets nothing of the previous owner from any store, whatever each store
 * knows.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addUsers, basic } from '../support/client.ts';
import { bytesOf, type Image } from '../support/fixture.ts';
import { passDeadlinesOfStalledCalls } from '../support/stalled-calls.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

passDeadlinesOfStalledCalls();

const HOSTS = ['central', 'node1', 'node2'] as const;
const REPOSITORY = '/api/organizations/alice/repositories/app';
const IMAGES = `${REPOSITORY}/images`;
const JSON_TYPE = { 'Content-Type': 'application/json' };

let hosts: ThreeHosts;
let owner: { authorization: string };

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  await addUsers();
  hosts = await ThreeHosts.open();
});

afterEach(() => {
  vi.useRealTimers();
});

async function json<Body>(host: HostName, path: string): Promise<Body> {
  const { status, bytes } = await hosts.call(host, 'GET', path, { as: owner });
  if (status !== 200) throw new Error(`${path} is ${status} at ${host}`);
  return JSON.parse(new TextDecoder().decode(bytes)) as Body;
}

/** Empties and removes the organization; ten minutes later somebody else gets its name, and every right to it. */
async function giveAway(): Promise<void> {
  vi.setSystemTime(Date.now() + 1000);
  await hosts.call('central', 'DELETE', REPOSITORY);
  const removed = await hosts.call('central', 'DELETE', '/api/organizations/alice', { as: 'admin' });
  expect(removed.status).toBe(204);
  vi.setSystemTime(Date.now() + 600_000);
  const body = JSON.stringify({ name: 'alice' });
  const created = await hosts.call('central', 'POST', '/api/organizations', { as: 'admin', headers: JSON_TYPE, body });
  expect(created.status).toBe(201);
  const rights = JSON.stringify({ name: 'owner', rights: ['pull', 'push', 'delete', 'admin'] });
  const path = '/api/organizations/alice/credentials';
  const credential = await hosts.call('central', 'POST', path, { as: 'admin', headers: JSON_TYPE, body: rights });
  const { secret } = JSON.parse(new TextDecoder().decode(credential.bytes)) as { secret: string };
  owner = { authorization: basic({ name: 'owner', password: secret }) };
}

async function old(): Promise<Image> {
  await hosts.push('central', 'alice/app', 1, 'latest');
  vi.setSystemTime(Date.now() + 1000);
  await hosts.push('node2', 'alice/app', 3, 'latest');
  await hosts.drain();
  // Central learns of the next push only after the name has a new owner.
  hosts.takeAway('queues');
  vi.setSystemTime(Date.now() + 1000);
  return hosts.push('node1', 'alice/app', 5, 'latest');
}

test('the new owner sees no manifest and no blob, by tag or by digest, at any host', async () => {
  const image = await old();
  await giveAway();
  hosts.giveBack();
  await hosts.drain();
  for (const host of HOSTS) {
    for (const path of [
      'manifests/latest',
      `manifests/${image.digest}`,
      `blobs/${image.manifest.requiredBlobs[0]}`,
      'tags/list',
    ]) {
      expect([host, path, (await hosts.call(host, 'GET', `/v2/alice/app/${path}`, { as: owner })).status]).toEqual([
        host,
        path,
        404,
      ]);
    }
    const refused = await hosts.call(host, 'PUT', '/v2/alice/app/manifests/mine', {
      as: owner,
      headers: { 'Content-Type': image.manifest.mediaType },
      body: image.bytes,
    });
    expect([host, refused.status, refused.code]).toEqual([host, 400, 'MANIFEST_BLOB_UNKNOWN']);
  }
});

test('the new owner sees no history of a tag at any host, before and after the nodes know of the removal', async () => {
  await old();
  await giveAway();
  expect(await json('central', `${IMAGES}/latest/history`)).toMatchObject({ history: [], complete: true });
  hosts.giveBack();
  await hosts.drain();
  for (const host of HOSTS) {
    expect([host, await json(host, `${IMAGES}/latest/history`)]).toEqual([
      host,
      { history: [], last: null, complete: true, kept_days: 365 },
    ]);
  }
  for (const host of HOSTS) {
    expect((await hosts.call(host, 'GET', `${IMAGES}/latest`, { as: owner })).status).toBe(404);
  }
});

test.each(['answers', 'fails', 'stalls'] as const)(
  'the new owner sees no tag and no history from nodes that have not heard of the removal, while central %s',
  async (how) => {
    await old();
    await giveAway();
    const paths = [`${REPOSITORY}/tags`, `${IMAGES}/latest/history`];
    // The host remembers the login from here on, so that it asks central's store only for the answer.
    for (const path of paths) expect(await json('central', path)).toMatchObject({ last: null });
    expect(await json('central', paths[0]!)).toMatchObject({ tags: [] });
    if (how === 'fails') hosts.takeAway('central D1');
    if (how === 'stalls') hosts.stall('central D1');
    for (const path of paths) {
      const { status } = await hosts.call('central', 'GET', path, { as: owner });
      expect([path, status]).toEqual([path, how === 'answers' ? 200 : 503]);
    }
  },
);

test('the new owner sees no entry of the audit log, but an administrator of the registry sees all', async () => {
  await old();
  await giveAway();
  hosts.giveBack();
  await hosts.drain();
  for (const host of HOSTS) {
    const { entries } = await json<{ entries: { action: string }[] }>(host, '/api/organizations/alice/audit');
    expect([host, entries.filter(({ action }) => action.startsWith('delete') || action.startsWith('remove'))]).toEqual([
      host,
      [],
    ]);
  }
  const { bytes } = await hosts.call('central', 'GET', '/api/audit', { as: 'admin' });
  const { entries } = JSON.parse(new TextDecoder().decode(bytes)) as { entries: { action: string }[] };
  expect(entries.map(({ action }) => action)).toEqual(
    expect.arrayContaining(['delete repository', 'remove organization']),
  );
});

test('no open upload of the old owner counts, and none can continue', async () => {
  const { headers } = await hosts.call('node1', 'POST', '/v2/alice/app/blobs/uploads/');
  const { headers: next } = await hosts.call('node1', 'PATCH', headers.get('Location') ?? '', { body: bytesOf(1, 50) });
  await giveAway();
  await hosts.drain();
  const location = next.get('Location') ?? '';
  expect((await hosts.call('node1', 'PATCH', location, { as: owner, body: bytesOf(1, 50) })).status).toBe(404);
  const { results } = await env.DB_NODE1!.prepare("SELECT uploading FROM usage WHERE organization = 'alice'").all();
  expect(results).toEqual([{ uploading: 0 }]);
});
