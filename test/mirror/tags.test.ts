/** Manifests of mirrors: when Berth asks the upstream for them. */
import { describe, expect, test, vi } from 'vitest';
import { DAY, MINUTE } from '../../src/durations.ts';
import { HEAD_V1, mirroredApp, pass, pull, pulled, STALE } from '../support/mirrored-app.ts';
import { becomeMirror } from '../support/mirrors.ts';
import { eventually } from '../support/queues.ts';

const upstream = mirroredApp();

/** Waits until the upstream was asked, and returns for what since the last call. */
async function askedBehind(): Promise<string[]> {
  await vi.waitUntil(() => upstream.requests.length > 0);
  return upstream.asked();
}

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
    pass(14 * MINUTE);
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
    pass(16 * MINUTE);
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
    pass(16 * MINUTE);
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
    pass(MINUTE);
    expect((await pull('v1')).status).toBe(200);
  });

  test.each([404, 401, 403])('that the upstream answers with %i past its ttl is gone', async (refusal) => {
    await becomeMirror('alice');
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = () => new Response(null, { status: refusal });
    pass(16 * MINUTE);
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

describe('a digest', () => {
  test('is asked for once, and never again', async () => {
    await becomeMirror('alice', { ttl: 0 });
    const { digest } = await upstream.index('app', 'v1', []);
    expect((await pull(digest)).status).toBe(200);
    expect(upstream.asked()).toEqual([`GET /v2/app/manifests/${digest}`]);
    pass(400 * DAY);
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
    expect(await answer.text()).toContain('it sends something wrong');
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
    pass(MINUTE);
    expect((await pull(digest)).status).toBe(200);
  });
});
