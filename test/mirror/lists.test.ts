/** Lists of mirrors: what is stored and, if asked for, what the upstream has. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addUsers, call, type CallOptions } from '../support/client.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const DIGEST = `sha256:${'1'.repeat(64)}`;

const upstream = stubUpstream();

beforeEach(addUsers);
afterEach(stopMirrors);

async function list(path: string, options: CallOptions = { as: 'alice' }): Promise<[number, unknown, string | null]> {
  const answer = await call('GET', `/v2/alice/app/${path}`, options);
  return [answer.status, await answer.json(), answer.headers.get('Link')];
}

test('tags are those that are stored', async () => {
  await becomeMirror('alice');
  await upstream.index('app', 'v1', []);
  await upstream.index('app', 'v2', []);
  await call('GET', '/v2/alice/app/manifests/v1', { as: 'alice' });
  await vi.waitUntil(async () => (await list('tags/list'))[0] === 200);
  expect(await list('tags/list')).toEqual([200, { name: 'alice/app', tags: ['v1'] }, null]);
});

test('tags of the upstream come in its order and its pages', async () => {
  await becomeMirror('alice');
  upstream.answers = ({ url }) =>
    Response.json(
      { name: 'app', tags: url.includes('last=') ? ['c'] : ['b', 'a'] },
      { headers: url.includes('last=') ? {} : { Link: '</v2/app/tags/list?n=2&last=a>; rel="next"' } },
    );
  const next = '</v2/alice/app/tags/list?n=2&last=a&upstream=true>; rel="next"';
  expect(await list('tags/list?n=2&upstream=true')).toEqual([200, { name: 'alice/app', tags: ['b', 'a'] }, next]);
  expect(await list('tags/list?n=2&last=a&upstream=true')).toEqual([200, { name: 'alice/app', tags: ['c'] }, null]);
});

test('referrers of the upstream are filtered here', async () => {
  await becomeMirror('alice');
  const manifests = ['a', 'b', 'c'].map((name, i) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${String(i).repeat(64)}`,
    size: 100,
    artifactType: name === 'c' ? 'application/other' : 'application/sbom',
    annotations: { name },
  }));
  upstream.answers = () => Response.json({ schemaVersion: 2, manifests });
  const [status, all, link] = await list(`referrers/${DIGEST}?artifactType=application/sbom&n=1&upstream=true`);
  expect([status, (all as { manifests: unknown }).manifests]).toEqual([200, [manifests[0]]]);
  expect(link).toContain('upstream=true');
  const [, one] = await list(`referrers/${DIGEST}?artifactType=application/other&upstream=true`);
  expect((one as { manifests: unknown }).manifests).toEqual([manifests[2]]);
});

test.each(['tags/list', `referrers/${DIGEST}`])('the upstream is asked for %s only for who may pull', async (path) => {
  await becomeMirror('alice');
  expect((await list(`${path}?upstream=true`, { as: 'bob' }))[0]).toBe(403);
  expect((await list(`${path}?upstream=true`, {}))[0]).toBe(401);
  expect(upstream.asked()).toEqual([]);
});

test('of an organization that is no mirror, what is stored is listed', async () => {
  expect((await list('tags/list?upstream=true'))[0]).toBe(404);
  expect(upstream.asked()).toEqual([]);
});
