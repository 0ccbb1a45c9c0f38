/** Pulls from mirrors and pushes to them: who may, and when the upstream hears of it. */
import { describe, expect, test } from 'vitest';
import { call, HOST, type UserName } from '../support/client.ts';
import { mirroredApp, REPOSITORY } from '../support/mirrored-app.ts';
import { becomeMirror } from '../support/mirrors.ts';
import { UPSTREAM } from '../support/stub-upstream.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const upstream = mirroredApp();

async function tokenOf(user: UserName): Promise<string> {
  const answer = await call('GET', `/token?scope=repository:${REPOSITORY}:pull`, { as: user });
  return (await answer.json<{ token: string }>()).token;
}

describe('who may pull', () => {
  test.each([
    ['nobody', undefined, 401],
    ['another organization', 'bob', 403],
  ] as const)('from a private mirror: %s may not, and the upstream is not asked', async (_, as, status) => {
    await becomeMirror('alice');
    await upstream.image('app', 'v1');
    for (const path of ['manifests/v1', `blobs/sha256:${'0'.repeat(64)}`])
      expect((await call('GET', `/v2/${REPOSITORY}/${path}`, as && { as })).status).toBe(status);
    expect(upstream.asked()).toEqual([]);
  });

  test.each([undefined, 'bob'] as const)('from a public mirror: anybody (%s)', async (as) => {
    await becomeMirror('alice', { isPublic: true });
    await upstream.index('app', 'v1', []);
    expect((await call('GET', `/v2/${REPOSITORY}/manifests/v1`, as && { as })).status).toBe(200);
  });
});

test.each(['nobody', 'bob'] as const)('while the database fails, %s gets nothing from the upstream', async (who) => {
  await becomeMirror('alice');
  const { digest } = await upstream.blob('secret');
  const hosts = await ThreeHosts.open();
  const token = who === 'nobody' ? undefined : await tokenOf(who);
  // The isolate learns its mirrors.
  await hosts.call('central', 'GET', `/v2/${REPOSITORY}/manifests/v1`, { as: 'alice' });
  upstream.asked();
  hosts.takeAway('central D1');
  for (const method of ['GET', 'HEAD']) {
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const request = new Request(`${HOST}/v2/${REPOSITORY}/blobs/${digest}`, { method, headers });
    const { status } = await hosts.fetch(request);
    expect(status).toBe(503);
  }
  expect(upstream.asked()).toEqual([]);
});

describe('a push', () => {
  const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;

  test.each([
    ['PUT', `/v2/${REPOSITORY}/manifests/v1`],
    ['POST', UPLOADS],
    ['POST', `${UPLOADS}?digest=sha256:${'0'.repeat(64)}`],
    ['POST', `${UPLOADS}?mount=sha256:${'0'.repeat(64)}&from=alice/other`],
  ])('to a mirror is refused: %s %s', async (method, path) => {
    await becomeMirror('alice');
    const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
    const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
    const answer = await call(method, path, { as: 'alice', body, headers });
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain(`alice is a mirror of ${UPSTREAM} and takes no pushes`);
  });

  test('to a mirror that takes them can be pulled if the upstream has no such tag', async () => {
    await becomeMirror('alice', { pushes: 'kept' });
    const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
    const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
    const path = `/v2/${REPOSITORY}/manifests/own`;
    expect((await call('PUT', path, { as: 'alice', body, headers })).status).toBe(201);
    expect((await call('GET', path, { as: 'alice' })).status).toBe(200);
  });
});
