/** Lists of mirrors: of the store or, if the caller asks for it, of the upstream. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { composeUpstreams } from '../../src/mirror/upstreams.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest-limits.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { SMALL_DOCUMENT_BYTES } from '../../src/stores/manifests/manifest-rows.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { addUsers, call, type CallOptions } from '../support/client.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { config } from '../support/queues.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const DIGEST = `sha256:${'1'.repeat(64)}`;

const upstream = stubUpstream();

beforeEach(addUsers);
afterEach(async () => {
  await stopMirrors();
  vi.restoreAllMocks();
});

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

test.each(['tags/list', `referrers/${DIGEST}`])(
  'the upstream is asked for %s only if the caller may pull',
  async (path) => {
    await becomeMirror('alice');
    expect((await list(`${path}?upstream=true`, { as: 'bob' }))[0]).toBe(403);
    expect((await list(`${path}?upstream=true`, {}))[0]).toBe(401);
    expect(upstream.asked()).toEqual([]);
  },
);

test('for an organization that is no mirror, the stored tags are listed', async () => {
  expect((await list('tags/list?upstream=true'))[0]).toBe(404);
  expect(upstream.asked()).toEqual([]);
});

/** Returns an answer with the referrers `from` to before `to`, each with so many bytes of annotations. */
function referrersPage(from: number, to: number, bytes: number, headers: Record<string, string> = {}): Response {
  const manifests = Array.from({ length: to - from }, (_, i) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${String(from + i).padStart(64, '0')}`,
    size: 100,
    annotations: { text: 'x'.repeat(bytes) },
  }));
  return Response.json({ schemaVersion: 2, manifests }, { headers });
}

test.each(['tags/list', `referrers/${DIGEST}`])('the upstream is asked once for %s, however many ask', async (path) => {
  await becomeMirror('alice');
  upstream.answers = async () => {
    await scheduler.wait(20);
    return Response.json({ tags: ['v1'], manifests: [] });
  };
  const answers = await Promise.all(Array.from({ length: 16 }, () => list(`${path}?upstream=true`)));
  expect(new Set(answers.map(([status]) => status))).toEqual(new Set([200]));
  expect(upstream.asked()).toHaveLength(1);
});

test.each([
  ['tags/list', MAX_MANIFEST_BYTES],
  [`referrers/${DIGEST}`, 2 * MAX_MANIFEST_BYTES],
])('the room for %s is borrowed before the upstream is asked', async (path, bytes) => {
  await becomeMirror('alice');
  const before = isolateBudget.inUse();
  let lent = 0;
  upstream.answers = () => {
    lent = isolateBudget.inUse() - before;
    return Response.json({ tags: [], manifests: [] });
  };
  expect((await list(`${path}?upstream=true`))[0]).toBe(200);
  expect(lent).toBeGreaterThanOrEqual(bytes);
  await vi.waitUntil(() => isolateBudget.inUse() <= before);
});

test.each(['tags/list', `referrers/${DIGEST}`])('a paused upstream takes no room for %s', async (path) => {
  await becomeMirror('alice');
  upstream.answers = () => new Response(null, { status: 500 });
  vi.spyOn(Date, 'now').mockReturnValue(Date.now());
  const wait = vi.spyOn(isolateBudget, 'wait');
  expect((await list(`${path}?upstream=true`))[0]).toBe(503);
  const asked = wait.mock.calls.length;
  expect(asked).toBeGreaterThan(0);
  expect((await list(`${path}?upstream=true`))[0]).toBe(503);
  expect(wait.mock.calls).toHaveLength(asked);
});

test('environments of one isolate share the list of mirrors', async () => {
  await becomeMirror('alice');
  const of = () => composeUpstreams({ ...env }, config.central, () => undefined).of('alice/app' as RepositoryName);
  expect(await of()).toMatchObject({ organization: 'alice' });
  expect(of()).toMatchObject({ organization: 'alice' });
});

test('pages of referrers are read until there are a thousand', async () => {
  await becomeMirror('alice');
  // The upstream has 1200, in pages of 400.
  upstream.answers = ({ url }) => {
    const from = Number(new URL(url).searchParams.get('from') ?? 0);
    const next: Record<string, string> = from < 800 ? { Link: `</v2/more?from=${from + 400}>; rel="next"` } : {};
    return referrersPage(from, from + 400, 1, next);
  };
  const found: string[] = [];
  let next: string | undefined = `referrers/${DIGEST}?n=400&upstream=true`;
  while (next !== undefined) {
    const [status, page, link]: Awaited<ReturnType<typeof list>> = await list(next);
    expect(status).toBe(200);
    found.push(...(page as { manifests: { digest: string }[] }).manifests.map(({ digest }) => digest));
    next = link?.slice('</v2/alice/app/'.length, link.indexOf('>'));
  }
  expect(found).toHaveLength(1000);
  expect(new Set(found).size).toBe(1000);
});

test('a page of referrers is small, and comes without the annotations that are not', async () => {
  await becomeMirror('alice');
  upstream.answers = () => referrersPage(0, 3, SMALL_DOCUMENT_BYTES / 2);
  const [, first, next] = await list(`referrers/${DIGEST}?upstream=true`);
  expect((first as { manifests: unknown[] }).manifests).toHaveLength(1);
  expect(next).toContain('rel="next"');
  upstream.answers = () => referrersPage(0, 1, SMALL_DOCUMENT_BYTES);
  const [status, large] = await list(`referrers/${DIGEST}?upstream=true`);
  expect([status, (large as { manifests: object[] }).manifests[0]]).toEqual([
    200,
    expect.not.objectContaining({ annotations: expect.anything() as unknown }),
  ]);
});

test('annotations that are dropped take no room of a page', async () => {
  await becomeMirror('alice');
  upstream.answers = () => referrersPage(0, 3, SMALL_DOCUMENT_BYTES);
  const [, all, next] = await list(`referrers/${DIGEST}?upstream=true`);
  expect([(all as { manifests: unknown[] }).manifests.length, next]).toEqual([3, null]);
});

test('a list of referrers without end is refused', async () => {
  await becomeMirror('alice');
  upstream.answers = () => referrersPage(0, 1, 3_000_000, { Link: '</v2/more>; rel="next"' });
  expect((await list(`referrers/${DIGEST}?upstream=true`))[0]).toBe(503);
  expect(upstream.asked()).toHaveLength(3);
});
