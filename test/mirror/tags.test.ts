/** Manifests of mirrors: when the upstream is asked for them, and what clients get while it fails. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DAY, MINUTE } from '../../src/durations.ts';
import { mirrorOf } from '../../src/mirror/durable-object.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { addUsers, call, type CallOptions, HOST, type UserName } from '../support/client.ts';
import { becomeMirror, mirror, stopMirrors } from '../support/mirrors.ts';
import { config, eventually } from '../support/queues.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { StubUpstream, UPSTREAM } from '../support/stub-upstream.ts';

const REPOSITORY = 'alice/app';
const STALE = '110 - "Response is Stale"';
const FAILED = '111 - "Revalidation Failed"';
const HEAD_V1 = 'HEAD /v2/app/manifests/v1';

let upstream: StubUpstream;

beforeEach(async () => {
  await addUsers();
  upstream = new StubUpstream();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
});

afterEach(async () => {
  await stopMirrors();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function pull(reference: string, options: CallOptions & { method?: string } = {}): Promise<Response> {
  return call(options.method ?? 'GET', `/v2/${REPOSITORY}/manifests/${reference}`, { as: 'alice', ...options });
}

/** Pulls a tag, and returns what a client makes of the answer. */
async function pulled(reference: string): Promise<Record<string, unknown>> {
  const { status, headers } = await pull(reference);
  return { status, digest: headers.get('Docker-Content-Digest'), warning: headers.get('Warning') };
}

async function pass(milliseconds: number): Promise<void> {
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Waits until the upstream was asked, and returns for what since the last call. */
async function askedBehind(): Promise<string[]> {
  await vi.waitUntil(() => upstream.requests.length > 0);
  return upstream.asked();
}

async function tokenOf(user: UserName): Promise<string> {
  const answer = await call('GET', `/token?scope=repository:${REPOSITORY}:pull`, { as: user });
  return (await answer.json<{ token: string }>()).token;
}

const away = (): never => {
  throw new TypeError('the network is unreachable');
};

describe('a tag', () => {
  test('that nobody has pulled is asked for at the upstream', async () => {
    await becomeMirror('alice');
    const image = await upstream.image('app', 'v1');
    const answer = await pull('v1');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('Content-Type')).toBe(image.mediaType);
    expect(answer.headers.get('Docker-Content-Digest')).toBe(image.digest);
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(image.bytes);
    expect(upstream.asked().slice(0, 2)).toEqual([HEAD_V1, `GET /v2/app/manifests/${image.digest}`]);
  });

  test('is asked for once, however many pull it', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.image('app', 'v1');
    const answers = await Promise.all(Array.from({ length: 64 }, () => pulled('v1')));
    expect(answers).toEqual(answers.map(() => ({ status: 200, digest, warning: null })));
    const manifests = upstream.asked().filter((each) => each.includes('manifests'));
    expect(manifests).toEqual([HEAD_V1, `GET /v2/app/manifests/${digest}`]);
  });

  test('within its ttl asks the upstream nothing', async () => {
    await becomeMirror('alice');
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.asked();
    await pass(14 * MINUTE);
    const answer = await pull('v1');
    expect([answer.status, answer.headers.get('Age'), answer.headers.get('Warning')]).toEqual([200, '840', null]);
    expect(upstream.asked()).toEqual([]);
  });

  test('past its ttl is served at once, and asked for behind', async () => {
    await becomeMirror('alice');
    const old = await upstream.index('app', 'v1', []);
    await pull('v1');
    const moved = await upstream.image('app', 'v1', 'moved');
    upstream.asked();
    await pass(16 * MINUTE);
    expect(await pulled('v1')).toEqual({ status: 200, digest: old.digest, warning: STALE });
    expect(await askedBehind()).toEqual([HEAD_V1]);
    await eventually(
      () => pulled('v1'),
      ({ warning }) => warning === null,
    );
    expect(await pulled('v1')).toEqual({ status: 200, digest: moved.digest, warning: null });
  });

  test('past its ttl is revalidated once, by a request that names the digest', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.index('app', 'v1', []);
    await pull('v1');
    await pass(16 * MINUTE);
    const conditions: (string | null)[] = [];
    upstream.asked();
    upstream.answers = ({ headers }) => {
      conditions.push(headers.get('If-None-Match'));
      return undefined;
    };
    await Promise.all(Array.from({ length: 64 }, () => pull('v1')));
    await eventually(
      () => pulled('v1'),
      ({ warning }) => warning === null,
    );
    expect(upstream.asked()).toEqual([HEAD_V1]);
    expect(conditions).toEqual([`"${digest}"`]);
  });

  test('with a ttl of 0 is asked for first, every time', async () => {
    await becomeMirror('alice', { ttl: 0 });
    await upstream.index('app', 'v1', []);
    await pull('v1');
    const moved = await upstream.image('app', 'v1', 'moved');
    expect(await pulled('v1')).toEqual({ status: 200, digest: moved.digest, warning: null });
  });

  test('that the upstream lacks is 404, which is remembered for a minute', async () => {
    await becomeMirror('alice');
    expect((await pull('v1')).status).toBe(404);
    await upstream.image('app', 'v1');
    upstream.asked();
    expect((await pull('v1')).status).toBe(404);
    expect(upstream.asked()).toEqual([]);
    await pass(MINUTE);
    expect((await pull('v1')).status).toBe(200);
  });

  test.each([404, 401, 403])('that the upstream answers with %i past its ttl is gone', async (refusal) => {
    await becomeMirror('alice');
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = () => new Response(null, { status: refusal });
    await pass(16 * MINUTE);
    expect((await pull('v1')).status).toBe(200);
    await eventually(
      () => pulled('v1'),
      ({ status }) => status === 404,
    );
  });

  test('of an upstream that answers a HEAD without a digest is read', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.image('app', 'v1');
    upstream.answers = ({ method, url }) =>
      method === 'HEAD' && url.endsWith('/v1') ? new Response(null, { status: 200 }) : undefined;
    expect(await pulled('v1')).toEqual({ status: 200, digest, warning: null });
  });
});

describe('while the upstream fails', () => {
  test.each([
    ['is away', away],
    ['answers 500', () => new Response(null, { status: 500 })],
    ['answers 429', () => new Response(null, { status: 429, headers: { 'Retry-After': '60' } })],
    ['answers in HTML', () => new Response('<html>', { headers: { 'Content-Type': 'text/html' } })],
  ])('because it %s, a tag is served with a warning', async (_, answers) => {
    await becomeMirror('alice', { ttl: 0 });
    const { digest } = await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = answers;
    expect(await pulled('v1')).toEqual({ status: 200, digest, warning: FAILED });
  });

  test('a tag whose ttl is over is served, first as stale and then with a warning', async () => {
    await becomeMirror('alice');
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = away;
    await pass(6 * DAY);
    expect((await pulled('v1'))['warning']).toBe(STALE);
    await eventually(
      () => pulled('v1'),
      ({ warning }) => warning === FAILED,
    );
  });

  test('a tag that is too old is 503, and says why', async () => {
    await becomeMirror('alice');
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = away;
    await pass(8 * DAY);
    const answer = await pull('v1');
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await answer.text()).toContain(
      `the mirror's upstream, ${UPSTREAM}, does not answer as it should: upstream.example does not answer`,
    );
  });

  test('a tag never grows too old if it may be served for ever', async () => {
    await becomeMirror('alice', { stale: Infinity });
    const { digest } = await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = away;
    await pass(4000 * DAY);
    expect(await pulled('v1')).toMatchObject({ status: 200, digest });
  });

  test('it is not asked again before the time that it has asked for', async () => {
    await becomeMirror('alice', { ttl: 0 });
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = () => new Response(null, { status: 429, headers: { 'Retry-After': '60' } });
    await pull('v1');
    upstream.asked();
    await pass(50_000);
    expect((await pull('v1')).headers.get('Warning')).toBe(FAILED);
    expect(upstream.asked()).toEqual([]);
    upstream.answers = () => undefined;
    await pass(11_000);
    expect((await pulled('v1'))['warning']).toBeNull();
  });

  test('a login that it refuses removes no tag', async () => {
    await becomeMirror('alice', { ttl: 0, credential: { user: 'somebody', secret: 'a-wrong-password' } });
    const { digest } = await upstream.index('app', 'v1', []);
    await pull('v1');
    const challenge = { 'WWW-Authenticate': `Bearer realm="${UPSTREAM}/token",service="upstream"` };
    upstream.answers = () => new Response(null, { status: 401, headers: challenge });
    expect(await pulled('v1')).toEqual({ status: 200, digest, warning: FAILED });
  });

  test.each([401, 403])('a password that it refuses with %i removes no tag, and is sent once', async (refused) => {
    await becomeMirror('alice', { ttl: 0, credential: { user: 'somebody', secret: 'an-expired-password' } });
    const { digest } = await upstream.index('app', 'v1', []);
    const challenge = { 'WWW-Authenticate': 'Basic realm="upstream"' };
    upstream.answers = ({ headers }) =>
      headers.has('authorization') ? undefined : new Response(null, { status: 401, headers: challenge });
    await pull('v1');
    upstream.answers = () => new Response(null, { status: refused, headers: challenge });
    expect(await pulled('v1')).toEqual({ status: 200, digest, warning: FAILED });
    upstream.asked();
    expect(await pulled('v1')).toEqual({ status: 200, digest, warning: FAILED });
    expect(upstream.asked()).toEqual([]);
  });

  test('a tag that was never pulled is 503', async () => {
    await becomeMirror('alice');
    upstream.answers = away;
    expect((await pull('v1')).status).toBe(503);
  });
});

describe('a digest', () => {
  test('is asked for once, and never again', async () => {
    await becomeMirror('alice', { ttl: 0 });
    const { digest } = await upstream.index('app', 'v1', []);
    expect((await pull(digest)).status).toBe(200);
    expect(upstream.asked()).toEqual([`GET /v2/app/manifests/${digest}`]);
    await pass(400 * DAY);
    expect((await pull(digest)).status).toBe(200);
    expect(upstream.asked()).toEqual([]);
  });

  test('of other bytes is refused, and nothing is kept', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.index('app', 'v1', []);
    upstream.answers = () =>
      new Response('{"schemaVersion":2}', {
        headers: { 'Content-Type': 'application/vnd.oci.image.index.v1+json', 'Docker-Content-Digest': digest },
      });
    const answer = await pull(digest);
    expect(answer.status).toBe(503);
    expect(await answer.text()).toContain('have the digest');
    upstream.answers = () => undefined;
    expect((await pull(digest)).status).toBe(200);
  });

  test('that the upstream lacks is 404', async () => {
    await becomeMirror('alice');
    expect((await pull(`sha256:${'0'.repeat(64)}`)).status).toBe(404);
  });
});

test('a HEAD reads no document', async () => {
  await becomeMirror('alice');
  const { digest, bytes } = await upstream.image('app', 'v1');
  const { status, headers } = await pull('v1', { method: 'HEAD' });
  expect([status, headers.get('Docker-Content-Digest')]).toEqual([200, digest]);
  expect(headers.get('Content-Length')).toBe(String(bytes.byteLength));
  expect((await pull(digest, { method: 'HEAD' })).status).toBe(200);
  expect(upstream.asked().filter((each) => each.startsWith('GET'))).toEqual([]);
});

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
  // Has the isolate know its mirrors.
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

test('a mirror of another registry than before knows nothing of the earlier one', async () => {
  await becomeMirror('alice');
  await upstream.index('app', 'v1', []);
  await pull('v1');
  await pass(1000);
  await becomeMirror('alice', { prefix: 'elsewhere' });
  expect((await pull('v1')).status).toBe(404);
  expect(upstream.asked()).toContain('HEAD /v2/elsewhere/app/manifests/v1');
});

describe('a limit of pulls', () => {
  const limited = (remaining: number) => (): Response =>
    new Response(null, {
      status: 404,
      headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': `${remaining};w=21600` },
    });

  test('that is used up keeps Berth from pulling for a minute, but not from asking for tags', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.index('app', 'v1', []);
    upstream.answers = limited(0);
    await pull('other');
    upstream.answers = () => undefined;
    upstream.asked();
    const answer = await pull(digest);
    expect(answer.status).toBe(503);
    expect(await answer.text()).toContain('it allows 100 pulls in 21600 s, and they are used up');
    expect((await pull('v1', { method: 'HEAD' })).status).toBe(200);
    expect(upstream.asked()).toEqual([HEAD_V1]);
    await pass(MINUTE);
    expect((await pull(digest)).status).toBe(200);
  });
});

test('an isolate that has not heard of a change asks the new upstream', async () => {
  await becomeMirror('alice');
  await upstream.index('app', 'v1', []);
  await pull('v1');
  const at = { mirror: mirror('alice', { from: UPSTREAM, changedAt: 1 }), namespace: config.central };
  await pass(1000);
  await becomeMirror('alice', { prefix: 'elsewhere' });
  expect((await pull('v1')).status).toBe(404);
  upstream.asked();
  const object = mirrorOf(env, 'alice' as OrganizationName, config.central);
  expect(await object.tag(at, REPOSITORY as RepositoryName, 'v2' as Tag)).toEqual({});
  expect(new Set(upstream.asked())).toEqual(
    new Set(['HEAD /v2/elsewhere/app/manifests/v2', 'GET /v2/elsewhere/app/manifests/v2']),
  );
});
