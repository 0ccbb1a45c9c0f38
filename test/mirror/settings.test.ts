/** Settings of mirrors: the names at the upstream, and what a change of them ends. */
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { mirrorObjectOf } from '../../src/mirror/mirror-object.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { call } from '../support/client.ts';
import { mirroredApp, pass, pull, REPOSITORY } from '../support/mirrored-app.ts';
import { becomeMirror, mirror } from '../support/mirrors.ts';
import { config } from '../support/queues.ts';
import { UPSTREAM } from '../support/stub-upstream.ts';

const upstream = mirroredApp();

describe('names', () => {
  test.each([
    ['hub', '', 'alpine', 'https://registry-1.docker.io/v2/library/alpine'],
    ['hub', '', 'library/alpine', 'https://registry-1.docker.io/v2/library/alpine'],
    ['hub', '', 'acme/app', 'https://registry-1.docker.io/v2/acme/app'],
    ['hub', 'acme', 'app', 'https://registry-1.docker.io/v2/acme/app'],
    [UPSTREAM, 'team/images', 'app', '/v2/team/images/app'],
  ])('of %s with the prefix "%s": %s is %s', async (from, prefix, name, there) => {
    await becomeMirror('alice', { from, prefix });
    upstream.answers = () => new Response(null, { status: 404 });
    await call('GET', `/v2/alice/${name}/manifests/v1`, { as: 'alice' });
    expect(upstream.asked()[0]).toBe(`HEAD ${there}/manifests/v1`);
  });

  test('that the mirror does not cover are not asked for', async () => {
    await becomeMirror('alice', { repositories: ['team/*', 'web'] });
    expect((await pull('v1')).status).toBe(404);
    expect((await call('GET', `/v2/alice/app/blobs/sha256:${'0'.repeat(64)}`, { as: 'alice' })).status).toBe(404);
    expect(upstream.asked()).toEqual([]);
  });
});

test('after a change of its registry, a mirror knows nothing of the earlier one', async () => {
  await becomeMirror('alice');
  await upstream.index('app', 'v1', []);
  await pull('v1');
  pass(1000);
  await becomeMirror('alice', { prefix: 'elsewhere' });
  expect((await pull('v1')).status).toBe(404);
  expect(upstream.asked()).toContain('HEAD /v2/elsewhere/app/manifests/v1');
});

test('an isolate that has not heard of a change asks the new upstream', async () => {
  await becomeMirror('alice');
  await upstream.index('app', 'v1', []);
  await pull('v1');
  const at = { mirror: mirror('alice', { from: UPSTREAM, changedAt: 1 }), namespace: config.central };
  pass(1000);
  await becomeMirror('alice', { prefix: 'elsewhere' });
  expect((await pull('v1')).status).toBe(404);
  upstream.asked();
  const object = mirrorObjectOf(env, 'alice' as OrganizationName, config.central);
  expect(await object.tag(at, REPOSITORY as RepositoryName, 'v2' as Tag)).toEqual({});
  expect(new Set(upstream.asked())).toEqual(
    new Set(['HEAD /v2/elsewhere/app/manifests/v2', 'GET /v2/elsewhere/app/manifests/v2']),
  );
});
