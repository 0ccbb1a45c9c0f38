/** Hosts that serve the repositories of one mirror, for docker's `registry-mirrors`. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, call, USERS } from '../support/client.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { stubUpstream } from '../support/stub-upstream.ts';
import { workerConfigured } from '../support/worker-with.ts';

const AT = 'http://hub.localhost:8787';
const fetcher = workerConfigured({
  central: { hosts: [':8787'], store: 'central', mirror_hosts: { 'hub.localhost:8787': 'alice' } },
});

const upstream = stubUpstream();

beforeEach(addUsers);
afterEach(stopMirrors);

function ask(path: string, authorization?: string): Promise<Response> {
  const as = authorization === undefined ? {} : { as: { authorization } };
  return call('GET', path, { host: AT, fetcher, ...as });
}

async function token(scope: string, authorization?: string): Promise<string> {
  const answer = await ask(`/token?${new URLSearchParams({ scope }).toString()}`, authorization);
  return `Bearer ${(await answer.json<{ token: string }>()).token}`;
}

test('a name without the organization is one of its repositories', async () => {
  await becomeMirror('alice', { isPublic: true });
  const { digest } = await upstream.index('library/alpine', 'latest', []);
  const answer = await ask('/v2/library/alpine/manifests/latest');
  expect([answer.status, answer.headers.get('Docker-Content-Digest')]).toEqual([200, digest]);
});

describe('a login', () => {
  test.each(['library/alpine', 'alice/library/alpine'])(
    'for the scope of %s is good for the repository',
    async (name) => {
      await becomeMirror('alice');
      await upstream.index('library/alpine', 'latest', []);
      expect((await ask('/v2/library/alpine/manifests/latest')).status).toBe(401);
      const given = await token(`repository:${name}:pull`, basic(USERS.alice));
      expect((await ask('/v2/library/alpine/manifests/latest', given)).status).toBe(200);
      const ofBob = await token(`repository:${name}:pull`, basic(USERS.bob));
      expect((await ask('/v2/library/alpine/manifests/latest', ofBob)).status).toBe(403);
    },
  );

  test('of nobody is good for a public mirror, as docker pulls', async () => {
    await becomeMirror('alice', { isPublic: true });
    await upstream.index('library/alpine', 'latest', []);
    expect((await ask('/v2/')).status).toBe(401);
    const given = await token('repository:library/alpine:pull');
    expect((await ask('/v2/library/alpine/manifests/latest', given)).status).toBe(200);
  });
});

test('a list links to its next page at the same host', async () => {
  await becomeMirror('alice', { pushes: 'kept' });
  const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
  const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
  for (const tag of ['a', 'b']) await call('PUT', `/v2/alice/app/manifests/${tag}`, { as: 'alice', body, headers });
  const answer = await ask('/v2/app/tags/list?n=1', basic(USERS.alice));
  expect(answer.headers.get('Link')).toBe('</v2/app/tags/list?n=1&last=a>; rel="next"');
});
