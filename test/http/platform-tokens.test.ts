/**
 * Tokens that only the platform knows: how they log in, what they may do, and what happens while the platform is away.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { addCredentials, addUsers, basic, codeOf, errorsOf, tokenOf, USERS } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { bytesOf } from '../support/fixture.ts';
import { applyAtNode1, naming, openWithPlatform, platformToken, type PlatformRegistry } from '../support/platform.ts';
import { keepQueuesStill } from '../support/still-queues.ts';

const HOSTS = ['central', 'node1'] as const;
const ROBOT = 'robot$alice.users.kraftcloud';
const token = platformToken(ROBOT, 'a-secret-of-the-platform');
const MINUTE = 60_000;

let tests = 0;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  tests += 1;
  vi.setSystemTime(Date.now() + tests * 10 * MINUTE);
  keepQueuesStill();
  await addUsers();
  await applyAtNode1();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const openKnowing = (organization: unknown = 'alice', known = token.whole) =>
  openWithPlatform((given) => (given === known ? naming(organization) : undefined));

const read = async (registry: PlatformRegistry, host: 'central' | 'node1', path: string, authorization: string) =>
  (await registry.call(host, 'GET', path, { as: { authorization } })).status;

interface Granted {
  readonly token: string;
  readonly expires_in: number;
}

describe.each(HOSTS)('at %s', (host) => {
  test('every form of a token is accepted, and costs one call', async () => {
    const registry = openKnowing();
    const forms = [token.pair, token.wholeAs('alice'), token.wholeAs(ROBOT), token.bearer];
    for (const form of forms) expect([form, await read(registry, host, '/v2/', form)]).toEqual([form, 200]);
    for (const form of forms.slice(0, 3))
      expect(await read(registry, host, '/token?scope=repository:alice/app:pull', form)).toBe(200);
    for (const fields of [
      { grant_type: 'refresh_token', refresh_token: token.whole },
      { grant_type: 'password', username: 'alice', password: token.whole },
      { grant_type: 'password', username: ROBOT, password: 'a-secret-of-the-platform' },
    ]) {
      const response = await registry.call(host, 'POST', '/token', { body: new URLSearchParams(fields) });
      expect([fields.grant_type, response.status]).toEqual([fields.grant_type, 200]);
    }
    expect(registry.asked).toEqual([token.whole]);
  });

  test('a token pushes, pulls and deletes, with Basic, as a whole token, and with an access token', async () => {
    const registry = openKnowing();
    const query = 'scope=repository:alice/app:pull,push,delete';
    const granted = await registry.call(host, 'GET', `/token?${query}`, {
      as: { authorization: token.wholeAs('alice') },
    });
    const { token: accessToken } = await granted.json<Granted>();
    let seed = 10;
    for (const authorization of [token.pair, token.bearer, `Bearer ${accessToken}`]) {
      const image = await putImage('alice/app', (seed += 2), ['latest'], registry.by(host, authorization));
      expect(await read(registry, host, '/v2/alice/app/manifests/latest', authorization)).toBe(200);
      const removed = await registry.call(host, 'DELETE', `/v2/alice/app/manifests/${image.digest}`, {
        as: { authorization },
      });
      expect(removed.status).toBe(202);
    }
  });

  test("the organization with the secret of a robot's token is a different token", async () => {
    const registry = openKnowing();
    expect(await read(registry, host, '/v2/', token.secretAs('alice'))).toBe(401);
    const another = platformToken('alice', 'a-secret-of-the-platform');
    expect(registry.asked).toEqual([another.whole]);
    expect(await read(openKnowing('alice', another.whole), host, '/v2/', another.pair)).toBe(200);
  });

  test('a bad token is refused as a wrong password is, and the platform is asked about it once in ten seconds', async () => {
    const registry = openKnowing();
    const bad = platformToken(ROBOT, 'another-secret');
    const unknown = await registry.call(host, 'GET', '/v2/', { as: { authorization: bad.pair } });
    expect(unknown.status).toBe(401);
    expect((await errorsOf(unknown))[0]?.message).toBe('wrong user name or password');
    for (const form of [bad.pair, bad.wholeAs('alice'), bad.bearer])
      expect(await read(registry, host, '/v2/', form)).toBe(401);
    const bearer = await registry.call(host, 'GET', '/v2/', { as: { authorization: bad.bearer } });
    expect(bearer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
    expect(registry.asked.length).toBe(1);
    vi.setSystemTime(Date.now() + 10_000);
    expect(await read(registry, host, '/v2/', bad.pair)).toBe(401);
    expect(registry.asked.length).toBe(2);
  });

  test("a token's access ends at most five minutes after the platform was asked", async () => {
    let good = true;
    const registry = openWithPlatform(() => (good ? naming('alice') : undefined));
    const asked = Date.now();
    expect(await read(registry, host, '/v2/', token.wholeAs('alice'))).toBe(200);
    good = false;
    // Berth keeps the answer while an access token from it would last at least a minute.
    vi.setSystemTime(asked + 234_000);
    expect(await read(registry, host, '/v2/', token.pair)).toBe(200);
    const late = await (
      await registry.call(host, 'GET', '/token', { as: { authorization: token.pair } })
    ).json<Granted>();
    expect(late.expires_in).toBe(61);
    expect(registry.asked.length).toBe(1);
    vi.setSystemTime(asked + 235_000);
    for (const form of [token.pair, token.wholeAs('alice'), token.bearer])
      expect(await read(registry, host, '/v2/', form)).toBe(401);
    expect(registry.asked.length).toBe(2);
    expect(await read(registry, host, '/v2/', `Bearer ${late.token}`)).toBe(200);
    vi.setSystemTime(asked + 300_000);
    expect(await read(registry, host, '/v2/', `Bearer ${late.token}`)).toBe(401);
  });

  test.each([
    ['fails', () => new Response('oops', { status: 500 })],
    ['sends elsewhere', () => new Response(null, { status: 307, headers: { Location: 'https://elsewhere.test/' } })],
    ['answers nonsense', () => new Response('{"status":"success"}')],
    ['names an invalid organization', () => naming('Alice/../bob')],
    ['cannot be reached', () => Promise.reject(new Error('connection lost'))],
  ])(
    "while the platform %s, its tokens are 503 with Retry-After, and Berth's own credentials still work",
    async (_, answer) => {
      const registry = openWithPlatform(answer);
      for (const form of [token.pair, token.wholeAs('alice'), token.bearer]) {
        for (const path of ['/v2/', '/api/organizations/alice', ...(form === token.bearer ? [] : ['/token'])]) {
          const response = await registry.call(host, 'GET', path, { as: { authorization: form } });
          expect([path, response.status, response.headers.get('Retry-After')]).toEqual([path, 503, '5']);
          expect(await codeOf(response)).toBe('UNAVAILABLE');
        }
      }
      const before = registry.asked.length;
      for (const as of ['alice', 'bob', 'platform'] as const)
        expect((await registry.call(host, 'GET', '/v2/', { as })).status).toBe(200);
      expect(registry.asked.length).toBe(before);
    },
  );

  test('a remembered answer survives an outage of the platform', async () => {
    let away = false;
    const registry = openWithPlatform(() => (away ? new Response(null, { status: 502 }) : naming('alice')));
    expect(await read(registry, host, '/v2/', token.pair)).toBe(200);
    away = true;
    vi.setSystemTime(Date.now() + 200_000);
    expect(await read(registry, host, '/v2/', token.pair)).toBe(200);
    vi.setSystemTime(Date.now() + 100_000);
    expect(await read(registry, host, '/v2/', token.pair)).toBe(503);
  });

  const platformPaths = (organization: string): [method: string, path: string][] => [
    ['GET', '/v1/auth'],
    ['GET', `/v1/images?namespace=${organization}`],
    ['GET', `/v1/image-store?namespace=${organization}`],
    ['GET', `/v1/images/list?namespace=${organization}`],
    ['GET', `/api/v2.0/projects/${organization}/summary`],
    ['DELETE', `/api/v2.0/projects/${organization}/repositories/app`],
  ];

  test("on the platform's own paths each form works for its organization only", async () => {
    const registry = openKnowing();
    for (const authorization of [token.pair, token.wholeAs('alice'), token.bearer]) {
      await putImage('alice/app', 1, ['latest'], registry.by(host, authorization));
      for (const [method, path] of platformPaths('alice')) {
        const response = await registry.call(host, method, path, { as: { authorization } });
        expect([method, path, response.status]).toEqual([method, path, 200]);
        if (path === '/v1/auth') expect(await response.json()).toMatchObject({ data: { organization_name: 'alice' } });
        if (path.startsWith('/v1/image')) expect(await response.text()).toContain('alice/app');
      }
      for (const [method, path] of platformPaths('bob').slice(1)) {
        const response = await registry.call(host, method, path, { as: { authorization } });
        expect([method, path, response.status]).toEqual([method, path, 403]);
      }
    }
    expect(registry.asked).toEqual([token.whole]);
  });

  test("on the platform's own paths a bad token is 401, and any token is 503 while the platform fails", async () => {
    for (const [answer, status, retryAfter] of [
      [() => undefined, 401, null],
      [() => new Response('oops', { status: 502 }), 503, '5'],
    ] as const) {
      const registry = openWithPlatform(answer);
      for (const authorization of [token.pair, token.wholeAs('alice'), token.bearer]) {
        for (const [method, path] of platformPaths('alice')) {
          const response = await registry.call(host, method, path, { as: { authorization } });
          expect([path, response.status, response.headers.get('Retry-After')]).toEqual([path, status, retryAfter]);
          const body = await response.json();
          expect(body).toEqual({ status: 'error', errors: [{ status, message: expect.any(String) as string }] });
        }
      }
    }
  });

  test('a hundred requests at once cost one call', async () => {
    let answer: (response: Response) => void = () => undefined;
    const registry = openWithPlatform(() => new Promise<Response>((done) => (answer = done)));
    const forms = [token.pair, token.wholeAs('alice'), token.bearer, token.wholeAs(ROBOT)];
    const statuses = Promise.all(
      Array.from({ length: 100 }, (_, i) => read(registry, host, '/v2/', forms[i % 4] ?? '')),
    );
    while (registry.asked.length === 0) await new Promise((done) => setTimeout(done, 1));
    answer(naming('alice'));
    expect(new Set(await statuses)).toEqual(new Set([200]));
    expect(registry.asked.length).toBe(1);
  });

  test('an upload that a token began continues after the signing key is rotated', async () => {
    const [config, layer] = [bytesOf(3, 20), bytesOf(4, 40)];
    const before = openKnowing();
    const as = { authorization: token.pair };
    const uploads = '/v2/alice/app/blobs/uploads/';
    const opened = await before.call(host, 'POST', uploads, { as });
    const waiting = await before.call(host, 'POST', uploads, { as });
    const sent = await before.call(host, 'PATCH', opened.headers.get('Location') ?? '', { as, body: config });
    expect(sent.status).toBe(202);
    const keys = { SIGNING_KEY: new Uint8Array(32).fill(9).toBase64(), SIGNING_KEY_SECONDARY: env.SIGNING_KEY };
    const after = openWithPlatform(() => naming('alice'), keys);
    const close = async (location: string | null, bytes: Uint8Array<ArrayBuffer>) => {
      const path = `${location ?? ''}?digest=${await digestOf('sha256', bytes)}`;
      return after.call(host, 'PUT', path, { as, ...(bytes === layer ? { body: bytes } : {}) });
    };
    expect((await close(sent.headers.get('Location'), config)).status).toBe(201);
    expect((await close(waiting.headers.get('Location'), layer)).status).toBe(201);
  });

  test('in the management API a token is a caller without the right admin', async () => {
    const registry = openKnowing();
    await putImage('alice/app', 1, ['latest'], registry.by(host, token.pair));
    for (const authorization of [token.pair, token.wholeAs('alice'), token.bearer]) {
      expect(await read(registry, host, '/api/organizations/alice/repositories/app/images/latest', authorization)).toBe(
        200,
      );
      expect(await read(registry, host, '/api/organizations/alice/repositories', authorization)).toBe(403);
      expect(await read(registry, host, '/api/organizations', authorization)).toBe(403);
    }
  });
});

describe('without a configured platform', () => {
  test('a whole token of a Berth credential still works as Bearer, and other tokens are refused', async () => {
    const registry = openWithPlatform(() => naming('alice'), { PLATFORM_AUTH_URL: undefined });
    const known = platformToken('alice', USERS.alice.password);
    for (const host of HOSTS) {
      expect(await read(registry, host, '/v2/', known.bearer)).toBe(200);
      expect(await read(registry, host, '/v2/', token.bearer)).toBe(401);
      expect(await read(registry, host, '/v2/', token.pair)).toBe(401);
    }
    expect(registry.asked).toEqual([]);
  });
});

describe('the platform is not asked about', () => {
  const NEW_SECRET = `berth_${'k7Q_w'.repeat(9).slice(0, 43)}`;
  const withPassword = (password: string): string => basic({ name: 'alice', password });
  let accessToken = '';

  async function addNewSecret(): Promise<void> {
    await addCredentials([{ kind: 'organization', name: 'new', password: NEW_SECRET, organization: 'alice' }]);
    await applyAtNode1();
  }

  test.each([
    ['a secret of Berth with a wrong user', () => basic({ name: 'nobody', password: USERS.alice.password })],
    [
      "a secret of Berth's shape that no credential has",
      () => basic({ name: 'alice', password: `berth_${'a1B'.repeat(15).slice(0, 43)}` }),
    ],
    ['the bootstrap secret', () => basic({ name: 'alice', password: env.BOOTSTRAP_SECRET })],
    ['a whole token with the bootstrap secret', () => platformToken('alice', env.BOOTSTRAP_SECRET).bearer],
    ['a whole token of another user of Berth', () => platformToken('alice', USERS.bob.password).wholeAs('alice')],
    ...[' ', '"', '\n', '\r\n'].flatMap((after): [string, () => string][] => [
      [
        `a secret of Berth with ${JSON.stringify(after)} after it`,
        () => withPassword(`${USERS.alice.password}${after}`),
      ],
      [`a new secret with ${JSON.stringify(after)} after it`, () => withPassword(`${NEW_SECRET}${after}`)],
      [
        `the bootstrap secret with ${JSON.stringify(after)} after it`,
        () => withPassword(`${env.BOOTSTRAP_SECRET}${after}`),
      ],
    ]),
    ['a new secret without its last character', () => withPassword(NEW_SECRET.slice(0, -1))],
    ['a new secret without its first character', () => withPassword(NEW_SECRET.slice(1))],
    ['a new secret without its prefix', () => withPassword(NEW_SECRET.slice('berth_'.length))],
    ...[6, 5, 4].map((start): [string, () => string] => [
      `a new secret without its first ${start} characters and its last`,
      () => withPassword(NEW_SECRET.slice(start, -1)),
    ]),
    ['a part of the bootstrap secret', () => withPassword(env.BOOTSTRAP_SECRET.slice(3, 20))],
    ['a new secret as user', () => basic({ name: NEW_SECRET, password: 'x' })],
    ['a new secret in a whole token', () => `Bearer ${btoa(`alice:${NEW_SECRET} `)}`],
    ['a new secret in a whole token in a whole token', () => `Bearer ${btoa(`bob:${btoa(`bob:${NEW_SECRET}`)}`)}`],
    ['the signing key', () => withPassword(env.SIGNING_KEY)],
    ['an access token as password', () => withPassword(accessToken)],
    ['an access token', () => 'Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl'],
  ])('%s', async (_, authorization) => {
    const registry = openWithPlatform(() => naming('alice'));
    await addNewSecret();
    accessToken = (await tokenOf(registry.by('central', basic(USERS.alice)))).authorization.slice('Bearer '.length);
    for (const host of HOSTS) expect(await read(registry, host, '/v2/', authorization())).toBe(401);
    expect(registry.asked).toEqual([]);
  });

  test('too many guesses', async () => {
    const refusing = { limit: async () => ({ success: false }) };
    const registry = openWithPlatform(() => undefined, { CREDENTIAL_CHECKS: refusing });
    for (const form of [token.pair, token.bearer]) expect(await read(registry, 'central', '/v2/', form)).toBe(429);
    // The limit was passed by the first guess.
    expect(registry.asked).toEqual([token.whole]);
  });
});

describe('an organization that the platform names', () => {
  const stateOf = async (database: D1Database) =>
    database
      .prepare("SELECT removed_at, created_at FROM organizations WHERE name = 'carol'")
      .first<{ removed_at: number | null }>();
  const carol = platformToken('robot$carol.users.kraftcloud', 'a-secret-of-carols');

  test.each(HOSTS)('is created with its first login at %s, if Berth does not know it', async (host) => {
    const registry = openWithPlatform(() => naming('carol'));
    await putImage('carol/app', 3, ['latest'], registry.by(host, carol.pair));
    expect(await stateOf(env.DB_CENTRAL)).toMatchObject({ removed_at: null });
    const { results } = await env.DB_CENTRAL.prepare(
      "SELECT 1 FROM change_log WHERE kind = 'organization' AND name = 'carol'",
    ).all();
    expect(results.length).toBe(1);
    expect((await registry.call('central', 'GET', '/api/organizations/carol', { as: 'admin' })).status).toBe(200);
  });

  test('is refused if it was removed, until an administrator creates it again', async () => {
    const registry = openWithPlatform(() => naming('carol'));
    expect(await read(registry, 'central', '/v2/', carol.pair)).toBe(200);
    expect((await registry.call('central', 'DELETE', '/api/organizations/carol', { as: 'admin' })).status).toBe(204);
    await applyAtNode1();
    for (const minutes of [1, 5, 11, 60]) {
      vi.setSystemTime(Date.now() + minutes * MINUTE);
      await applyAtNode1();
      for (const host of HOSTS) {
        const refused = await registry.call(host, 'GET', '/v2/', { as: { authorization: carol.wholeAs('carol') } });
        expect([host, refused.status, (await errorsOf(refused))[0]?.message]).toEqual([
          host,
          403,
          'the organization carol was removed: an administrator of the registry can create it again',
        ]);
      }
      expect((await stateOf(env.DB_CENTRAL))?.removed_at).not.toBeNull();
    }
    const headers = { 'Content-Type': 'application/json' };
    const created = await registry.call('central', 'POST', '/api/organizations', {
      as: 'admin',
      headers,
      body: '{"name":"carol"}',
    });
    expect(created.status).toBe(201);
    expect(await read(registry, 'central', '/v2/', carol.pair)).toBe(200);
  });

  test('is not revived by a login at a node that does not know that central removed it', async () => {
    const registry = openWithPlatform(() => naming('carol'));
    await env.DB_CENTRAL.prepare(
      "INSERT INTO organizations (name, created_at, removed_at) VALUES ('carol', 1, 2)",
    ).run();
    expect(await read(registry, 'node1', '/v2/', carol.pair)).toBe(200);
    expect(await stateOf(env.DB_CENTRAL)).toMatchObject({ created_at: 1, removed_at: 2 });
  });
});

test('the log names the organization and distinguishes tokens, but contains none of them', async () => {
  const printed = vi.spyOn(console, 'log');
  const other = platformToken(ROBOT, 'a-second-secret-of-alices');
  const registry = openWithPlatform(() => naming('alice'));
  for (const form of [token.pair, token.wholeAs('alice'), token.bearer, other.pair])
    await read(registry, 'central', '/v2/', form);
  const subjects = printed.mock.calls.map(([line]) => (JSON.parse(String(line)) as { subject: string }).subject);
  expect(subjects).toEqual(Array(4).fill(expect.stringMatching(/^platform:alice:[\w-]{16}$/)));
  expect(new Set(subjects.slice(0, 3)).size).toBe(1);
  expect(subjects[3]).not.toBe(subjects[0]);
});
