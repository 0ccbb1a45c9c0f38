/** The author of a write to a tag. Every host's history names the same author, however the write came there. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { addUsers, type UserName } from '../support/client.ts';
import { REPOSITORY } from '../support/away.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

const HISTORY = '/api/organizations/alice/repositories/app/images/latest';
const HOSTS = ['central', 'node1', 'node2'] as const;

interface Entry {
  readonly version: number;
  readonly origin: string;
  readonly digest: string | null;
  readonly author: string | null;
}

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function history(host: HostName, as: UserName = 'alice'): Promise<readonly Entry[]> {
  const { status, bytes } = await hosts.call(host, 'GET', `${HISTORY}/history`, { as });
  expect([host, as, status]).toEqual([host, as, 200]);
  return (JSON.parse(new TextDecoder().decode(bytes)) as { history: readonly Entry[] }).history;
}

/** Expects the authors of all writes, latest first, at every host and in every store that has the write. */
async function expectAuthors(...authors: readonly (string | null)[]): Promise<void> {
  for (const host of HOSTS) expect([host, (await history(host)).map(({ author }) => author)]).toEqual([host, authors]);
  for (const { version, origin, author } of await history('central')) {
    for (const database of [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!]) {
      const { results } = await database
        .prepare(
          `SELECT author FROM tags WHERE version = ?1 AND origin = ?2
           UNION ALL SELECT author FROM tag_history WHERE version = ?1 AND origin = ?2`,
        )
        .bind(version, origin)
        .all<{ author: string }>();
      for (const row of results) expect(row.author).toBe(author ?? '');
    }
  }
}

test('an announcement tells central the author of a push, even of one that loses', async () => {
  hosts.takeAway('queues');
  await hosts.push('node1', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.push('central', REPOSITORY, 3, 'latest', 'alice');
  await expectAuthors('alice', 'app-only');
  hosts.giveBack();
  await hosts.drain();
  await expectAuthors('alice', 'app-only');
  await hosts.push('node2', REPOSITORY, 5, 'latest', 'aliceApp');
  await hosts.drain();
  await expectAuthors('app-only', 'alice', 'app-only');
});

test('a pull copies the author down with the tag', async () => {
  await hosts.push('central', REPOSITORY, 1, 'latest', 'aliceApp');
  expect((await hosts.call('node1', 'GET', `/v2/${REPOSITORY}/manifests/latest`)).status).toBe(200);
  expect(await env.DB_NODE1!.prepare('SELECT author FROM tags').first('author')).toBe('app-only');
  await expectAuthors('app-only');
});

test.each(['central', 'node1'] as const)('the change log carries the author of a deletion at %s', async (host) => {
  await hosts.push('node1', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.push('node2', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.drain();
  expect((await hosts.call(host, 'DELETE', `/v2/${REPOSITORY}/manifests/latest`)).status).toBe(202);
  await hosts.drain();
  await expectAuthors('alice', 'app-only', 'app-only');
  for (const database of [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!])
    expect(await database.prepare('SELECT author FROM tags').first('author')).toBe('alice');
});

test('a deletion at a node whose last step failed is finished by a retry, which keeps its author', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.drain();
  hosts.takeAway('queues');
  expect((await hosts.call('central', 'DELETE', `/v2/${REPOSITORY}/manifests/latest`)).status).toBe(202);
  await env.DB_CENTRAL.prepare("UPDATE tags SET author = 'somebody' WHERE digest IS NULL").run();
  expect((await hosts.call('node1', 'DELETE', `/v2/${REPOSITORY}/manifests/latest`)).status).toBe(202);
  expect(await env.DB_NODE1!.prepare('SELECT author FROM tags').first('author')).toBe('somebody');
});

test('a caller that restores a tag is the author of the new write; a removal of the repository has no author', async () => {
  await hosts.push('central', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.push('central', REPOSITORY, 3, 'latest', 'aliceApp');
  const { version, origin } = (await history('central'))[1]!;
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ version, origin });
  expect((await hosts.call('node1', 'POST', `${HISTORY}/restore`, { headers, body })).status).toBe(200);
  await hosts.drain();
  await expectAuthors('alice', 'app-only', 'app-only');
  expect((await hosts.call('central', 'DELETE', '/api/organizations/alice/repositories/app')).status).toBe(204);
  await hosts.drain();
  for (const host of HOSTS)
    expect((await history(host)).map(({ author }) => author)).toEqual([null, 'alice', 'app-only', 'app-only']);
});

test('an access token writes in the name of its credential', async () => {
  const scope = `repository:${REPOSITORY}:push,pull`;
  const path = `/token?service=registry.localhost:8787&scope=${scope}`;
  const { bytes } = await hosts.call('central', 'GET', path, { as: 'aliceApp' });
  const { token } = JSON.parse(new TextDecoder().decode(bytes)) as { token: string };
  const image = await hosts.push('central', REPOSITORY, 1, 'other', 'alice');
  const pushed = await hosts.call('central', 'PUT', `/v2/${REPOSITORY}/manifests/latest`, {
    as: { authorization: `Bearer ${token}` },
    headers: { 'Content-Type': image.manifest.mediaType },
    body: image.bytes,
  });
  expect(pushed.status).toBe(201);
  await expectAuthors('app-only');
});

test('authors are for administrators, and for members of the organization that may pull', async () => {
  await hosts.push('node1', REPOSITORY, 1, 'latest', 'aliceApp');
  await hosts.drain();
  const publish = { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ visibility: 'public' }) };
  expect((await hosts.call('central', 'PATCH', '/api/organizations/alice/repositories/app', publish)).status).toBe(200);
  await hosts.drain();
  for (const host of HOSTS) {
    const seen = async (as: UserName) => [as, (await history(host, as)).map(({ author }) => author)];
    for (const as of ['alice', 'aliceReader', 'aliceApp', 'admin'] as const)
      expect(await seen(as)).toEqual([as, ['app-only']]);
    for (const as of ['bob', 'official', 'platform'] as const) expect(await seen(as)).toEqual([as, [null]]);
    const anonymous = await hosts.call(host, 'GET', `${HISTORY}/history`, { as: { authorization: '' } });
    expect([host, anonymous.status]).toEqual([host, 401]);
  }
});
