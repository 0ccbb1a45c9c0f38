import { beforeEach, describe, expect, test, vi } from 'vitest';
import { routeOf } from '../../src/http/request-log.ts';
import { addUsers, basic, call, HOST, USERS } from '../support/client.ts';
import { takePrinted } from '../support/console.ts';
import { workerConfigured, workerWith } from '../support/worker-with.ts';

test.each([
  ['/v2/', 'v2'],
  ['/v2/_catalog', 'catalog'],
  ['/v2/alice/app/manifests/latest', 'manifests'],
  ['/v2/alice/manifests/blobs/sha256:00', 'blobs'],
  ['/v2/alice/app/blobs/uploads/', 'uploads'],
  ['/v2/alice/app/blobs/uploads/0197', 'uploads'],
  ['/v2/alice/app/tags/list', 'tags'],
  ['/v2/alice/app/referrers/sha256:00', 'referrers'],
  ['/v2/alice/blobs/uploads/app/tags/list', 'tags'],
  ['/v2/alice/app/blobs%2Fuploads/0197', 'other'],
  ['/v2/alice\n/app/manifests/latest', 'manifests'],
  ['/token', 'token'],
  ['/v1/images', 'platform images'],
  ['/v1/images/list', 'platform images'],
  ['/v1/image-store', 'platform images'],
  ['/v1/auth', 'platform'],
  ['/api/v2.0/projects/alice/repositories/app', 'platform'],
  ['/api/organizations/alice', 'api'],
  ['/healthz', 'healthz'],
  ['/metrics', 'metrics'],
  ['/favicon.ico', 'other'],
])('%s counts as %s', (path, route) => {
  expect(routeOf(path)).toBe(route);
});

describe('Analytics Engine', () => {
  const points: AnalyticsEngineDataPoint[] = [];
  const REQUESTS: AnalyticsEngineDataset = { writeDataPoint: (point) => void points.push(point ?? {}) };

  beforeEach(async () => {
    points.length = 0;
    await addUsers();
  });

  function answer(path: string, init: RequestInit = {}, bindings: object = { REQUESTS }): Promise<Response> {
    const url = path.startsWith('http') ? path : `${HOST}${path}`;
    return workerWith(bindings)(new Request(url, init));
  }

  const authorization = (user: keyof typeof USERS): RequestInit => ({ headers: { Authorization: basic(USERS[user]) } });

  test.each([
    ['GET', '/v2/', {}, ['v2', 'GET', '401', 'registry.localhost:8787', 'central', '']],
    [
      'GET',
      '/v2/alice/app/manifests/latest',
      authorization('alice'),
      ['manifests', 'GET', '404', 'registry.localhost:8787', 'central', ''],
    ],
    [
      'POST',
      '/v2/alice/app/blobs/uploads/',
      authorization('alice'),
      ['uploads', 'POST', '202', 'registry.localhost:8787', 'central', 'alice/app'],
    ],
    [
      'HEAD',
      'http://registry.localhost:8788/healthz',
      {},
      ['healthz', 'HEAD', '200', 'registry.localhost:8788', 'node1', ''],
    ],
    ['GET', 'http://elsewhere.test/v2/', {}, ['v2', 'GET', '404', 'elsewhere.test', '', '']],
  ] as const)(
    '%s %s writes one point with route, method, status, host, namespace and repository',
    async (method, path, init, blobs) => {
      const { status } = await answer(path, { ...init, method });
      expect(String(status)).toBe(blobs[2]);
      expect(points).toEqual([{ indexes: [blobs[3]], blobs, doubles: [expect.any(Number)] }]);
      expect(points[0]?.doubles?.[0]).toBeGreaterThanOrEqual(0);
    },
  );

  test('is optional: without it the answers are the same', async () => {
    for (const [path, init] of [
      ['/v2/', {}],
      ['/v2/alice/app/tags/list', authorization('alice')],
      ['/healthz', {}],
    ] as const) {
      const bound = await answer(path, init);
      const unbound = await answer(path, init, { REQUESTS: undefined });
      expect([unbound.status, await unbound.text()].join().replaceAll(/"[0-9a-f-]{36}"/g, '')).toBe(
        [bound.status, await bound.text()].join().replaceAll(/"[0-9a-f-]{36}"/g, ''),
      );
    }
    expect(points).toHaveLength(3);
  });

  test('receives no secret, and no name but those of repositories that a request succeeded for', async () => {
    const login = authorization('alice');
    const opened = await answer('/v2/alice/app/blobs/uploads/', { ...login, method: 'POST' });
    expect(opened.status).toBe(202);
    const session = opened.headers.get('Location') ?? '';
    await answer(session, { ...login, method: 'PATCH', body: 'content' });
    const granted = await answer('/token?service=registry.localhost&scope=repository:alice/app:pull', login);
    const { token } = await granted.json<{ token: string }>();
    await answer('/v2/alice/app/manifests/private-tag?token=in-the-query', {
      headers: { Authorization: `Bearer ${token}` },
    });
    await answer('/token', {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'password', password: 'alice-secret' }),
    });
    expect(points).toHaveLength(5);
    expect(points.map(({ blobs }) => blobs?.[5])).toEqual(['alice/app', 'alice/app', '', '', '']);
    const written = JSON.stringify(points).replaceAll('alice/app', '');
    const secrets = ['alice', token, session, basic(USERS.alice), 'private-tag', 'in-the-query', 'content'];
    for (const secret of secrets) expect(written).not.toContain(secret);
  });
});

test.each([
  ['/v2/alice/app/manifests/', `berth_${'aB3-xY_9k'.repeat(5).slice(0, 43)}`, { reference: '…' }],
  ['/v2/alice/app/manifests/', `sha3:berth_${'aB3-xY_9k'.repeat(5).slice(0, 43)}`, { reference: 'sha3:…' }],
  ['/v2/alice/app/blobs/', `sha3:${'aB3-xY_9k'.repeat(5)}`, { digest: 'sha3:…' }],
  ['/v2/alice/app/manifests/', `${'v1.'.repeat(65)}${'aB3-xY_9k'.repeat(5)}`, { reference: `${'v1.'.repeat(65)}…` }],
  ['/v2/alice/app/manifests/', 'v1.2.3-RC1', { reference: 'v1.2.3-RC1' }],
  ['/v2/alice/app/blobs/', `sha256:${'ab'.repeat(32)}`, { digest: `sha256:${'ab'.repeat(32)}` }],
])('the log line of %s%s contains %j', async (path, named, fields) => {
  takePrinted();
  await call('GET', `${path}${named}`);
  const line = takePrinted()
    .split('\n')
    .find((printed) => printed.includes('"requestId"'));
  expect(JSON.parse(line ?? '{}')).toMatchObject({ method: 'GET', ...fields });
});

describe('with 20 reads for a log line', () => {
  const fetcher = workerConfigured({ reads_per_log_line: 20 });

  /** Returns the log line of a request, if it has one. */
  async function lineOf(method: string, path: string, random: number): Promise<Record<string, unknown> | undefined> {
    takePrinted();
    const dice = vi.spyOn(Math, 'random').mockReturnValue(random);
    await call(method, path, { as: 'alice', fetcher });
    dice.mockRestore();
    const line = takePrinted()
      .split('\n')
      .find((printed) => printed.includes('"requestId"'));
    return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
  }

  beforeEach(addUsers);

  test('one read in 20 that succeeds is logged, with its weight', async () => {
    for (const method of ['GET', 'HEAD']) {
      expect(await lineOf(method, '/v2/', 0.049)).toMatchObject({ method, status: 200, weight: 20 });
      expect(await lineOf(method, '/v2/', 0.05)).toBeUndefined();
    }
  });

  test('every error and every write is logged, without a weight', async () => {
    for (const [method, path, status] of [
      ['GET', '/v2/alice/app/manifests/latest', 404],
      ['GET', '/v2/bob/app/manifests/latest', 403],
      ['POST', '/v2/alice/app/blobs/uploads/', 202],
    ] as const) {
      const line = await lineOf(method, path, 0.999);
      expect(line).toMatchObject({ method, status });
      expect(line).not.toHaveProperty('weight');
    }
  });
});
