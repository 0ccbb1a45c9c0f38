/** Tags of mirrors while the upstream fails. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { DAY } from '../../src/durations.ts';
import { OciError } from '../../src/oci/errors.ts';
import { isolateBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { call, callApi } from '../support/client.ts';
import { away, FAILED, mirroredApp, pass, pull, pulled, REPOSITORY, STALE } from '../support/mirrored-app.ts';
import { becomeMirror } from '../support/mirrors.ts';
import { eventually } from '../support/queues.ts';
import { UPSTREAM } from '../support/stub-upstream.ts';

const upstream = mirroredApp();

afterEach(() => {
  vi.restoreAllMocks();
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
    pass(6 * DAY);
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
    pass(8 * DAY);
    const answer = await pull('v1');
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await answer.text()).toContain(
      `the upstream of this mirror, ${UPSTREAM}, fails at the moment: it cannot be reached`,
    );
  });

  test('a tag never grows too old if it may be served for ever', async () => {
    await becomeMirror('alice', { stale: Infinity });
    const { digest } = await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = away;
    pass(4000 * DAY);
    expect(await pulled('v1')).toMatchObject({ status: 200, digest });
  });

  test('it is not asked again before its Retry-After has passed', async () => {
    await becomeMirror('alice', { ttl: 0 });
    await upstream.index('app', 'v1', []);
    await pull('v1');
    upstream.answers = () => new Response(null, { status: 429, headers: { 'Retry-After': '60' } });
    await pull('v1');
    upstream.asked();
    pass(50_000);
    expect((await pull('v1')).headers.get('Warning')).toBe(FAILED);
    expect(upstream.asked()).toEqual([]);
    upstream.answers = () => undefined;
    pass(11_000);
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

  test('after a pull that failed for lack of buffer memory, the next one asks the upstream at once', async () => {
    await becomeMirror('alice');
    const { digest } = await upstream.index('app', 'v1', []);
    vi.spyOn(isolateBudget, 'wait').mockRejectedValueOnce(new OciError('UNAVAILABLE'));
    expect((await pull(digest)).status).toBe(503);
    expect((await pull(digest)).status).toBe(200);
  });

  test("the upstream's error message reaches administrators and the log, but not those who pull", async () => {
    await becomeMirror('alice', { isPublic: true });
    const log = vi.spyOn(console, 'error');
    upstream.answers = () =>
      Response.json({ errors: [{ code: 'DENIED', message: 'buy at evil.example' }] }, { status: 500 });
    // The second pull falls within the pause that follows the first one's failure.
    for (const path of ['manifests/v1', 'manifests/v1', 'tags/list?upstream=true']) {
      const answer = await call('GET', `/v2/${REPOSITORY}/${path}`);
      const text = await answer.text();
      expect([path, answer.status, text]).toEqual([path, 503, expect.stringContaining('it answers with status 500')]);
      expect(text).not.toContain('evil');
    }
    const status = await callApi('GET', 'organizations/alice/mirror/status', 'alice');
    expect(await status.json()).toMatchObject({ failure: expect.stringContaining('buy at evil.example') as string });
    expect(log.mock.calls.flat().join('\n')).toContain('buy at evil.example');
  });
});
