/**
 * Logging in with tokens of a platform that is asked over real HTTP, and every way in which the platform can fail to
 * answer.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePorts, type LocalRegistry, startLocalRegistry } from '../../src/local/simulators.ts';
import { loggedSecrets, secrets } from '../support/local/logged-secrets.ts';
import { type Behaviour, PlatformServer, type PlatformToken } from '../support/local/platform-server.ts';
import { comparePull, imageOf, loggedIn, pushSteps, request } from '../support/local/push.ts';
import { removeFolder, temporaryFolder, until } from '../support/local/server.ts';

let platform: PlatformServer;
let registry: LocalRegistry;
let folder: string;

beforeAll(async () => {
  platform = await PlatformServer.start();
  folder = await temporaryFolder();
  const [port = 0] = await freePorts();
  registry = await startLocalRegistry({ port, stateDir: folder, vars: { PLATFORM_AUTH_URL: `${platform.url}/` } });
});
afterAll(async () => {
  await registry.stop();
  await platform.close();
  await removeFolder(folder);
});
beforeEach(() => {
  platform.behaviour = 'well';
});

const central = (): string => registry.hosts[0]?.url ?? '';
const node = (): string => registry.hosts[1]?.url ?? '';

const basic = (user: string, password: string): string => {
  const header = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  secrets.addAuthorization(header);
  return header;
};

/** The three forms: as kraft sends it, as unikraft sends it to a node, and as Bearer. */
const formsOf = ({ user, secret, whole }: PlatformToken, organization = 'acme'): string[] => [
  basic(user, secret),
  basic(organization, whole),
  `Bearer ${whole}`,
];

let addresses = 0;

/** Pings from a new address each time, because logins are counted by address. */
const ping = (url: string, authorization: string, signal?: AbortSignal): Promise<Response> => {
  const headers = { 'CF-Connecting-IP': `192.0.2.${(addresses += 1)}` };
  return request({ url, authorization }, 'GET', '/v2/', signal === undefined ? { headers } : { headers, signal });
};

test("a platform that never answers, or never finishes, gets some seconds, and Berth's own users do not wait", async () => {
  const cases = (['never', 'never ends'] as const).flatMap((behaviour) => [
    { behaviour, url: central() },
    { behaviour, url: node() },
  ]);
  await Promise.all(
    cases.map(async ({ behaviour, url }) => {
      const known = platform.issue('acme');
      expect((await ping(url, `Bearer ${known.whole}`)).status).toBe(200);
      const token = platform.issue('acme');
      platform.answer(token, behaviour);
      const began = performance.now();
      const waiting = Promise.all(formsOf(token).map((authorization) => ping(url, authorization)));
      await until(() => platform.callsFor(token) === 1);
      for (const name of ['alice', 'bob', 'platform']) {
        expect((await ping(url, loggedIn(url, name).authorization)).status).toBe(200);
      }
      expect((await ping(url, `Bearer ${known.whole}`)).status).toBe(200);
      expect(performance.now() - began).toBeLessThan(4500);
      for (const response of await waiting) {
        expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5']);
      }
      expect(performance.now() - began).toBeLessThan(25_000);
      expect(platform.callsFor(token)).toBe(1);
    }),
  );
});

describe.each([
  ['central', central],
  ['a node', node],
])('at %s', (_, url) => {
  test('each form of a token pushes and pulls, and all of them cost one call', async () => {
    const token = platform.issue('acme');
    for (const [i, authorization] of formsOf(token).entries()) {
      const caller = { url: url(), authorization };
      const image = imageOf(10_000);
      for (const step of pushSteps(`acme/app${i}`, 'latest', image)) await step.run(caller);
      await comparePull(caller, `acme/app${i}`, 'latest', image);
    }
    expect(platform.callsFor(token)).toBe(1);
  });

  test('a token gets an access token that pushes and pulls, within its organization only', async () => {
    const token = platform.issue('acme');
    const scopes = 'scope=repository:acme/tokens:pull,push&scope=repository:alice/app:pull,push';
    const granted = await request({ url: url(), authorization: basic('acme', token.whole) }, 'GET', `/token?${scopes}`);
    const answer = (await granted.json()) as { token: string; expires_in: number };
    secrets.addToken(answer.token);
    expect(answer.expires_in).toBeLessThanOrEqual(295);
    expect(answer.expires_in).toBeGreaterThanOrEqual(60);
    const caller = { url: url(), authorization: `Bearer ${answer.token}` };
    const image = imageOf(1000);
    for (const step of pushSteps('acme/tokens', 'latest', image)) await step.run(caller);
    await comparePull(caller, 'acme/tokens', 'latest', image);
    expect((await request(caller, 'POST', '/v2/alice/app/blobs/uploads/')).status).toBe(403);
  });

  test('twenty requests at once cost one call, for a good token and a bad one', async () => {
    const good = platform.issue('acme');
    const unknown: PlatformToken = {
      ...good,
      whole: Buffer.from(`${good.user}:${crypto.randomUUID()}`).toString('base64'),
    };
    for (const [token, status] of [
      [good, 200],
      [unknown, 401],
    ] as const) {
      platform.behaviour = 'when told';
      const answers = Array.from({ length: 20 }, () => ping(url(), `Bearer ${token.whole}`));
      await until(() => platform.callsFor(token) === 1);
      // This answer comes after all twenty requests have arrived.
      await ping(url(), loggedIn(url(), 'alice').authorization);
      platform.release();
      expect(new Set((await Promise.all(answers)).map((response) => response.status))).toEqual(new Set([status]));
      platform.behaviour = 'well';
      expect((await ping(url(), basic('acme', token.whole))).status).toBe(status);
      expect(platform.callsFor(token)).toBe(1);
    }
  });

  test('a client that disconnects does not cancel the answer for others', async () => {
    platform.behaviour = 'when told';
    const token = platform.issue('acme');
    const gone = new AbortController();
    const first = ping(url(), `Bearer ${token.whole}`, gone.signal);
    await until(() => platform.callsFor(token) === 1);
    const second = ping(url(), basic('acme', token.whole));
    await ping(url(), loggedIn(url(), 'alice').authorization);
    gone.abort();
    await expect(first).rejects.toThrow();
    await ping(url(), loggedIn(url(), 'alice').authorization);
    platform.release();
    expect((await second).status).toBe(200);
    expect(platform.callsFor(token)).toBe(1);
  });

  const behaviours: readonly Behaviour[] = [500, 'redirect', 'garbage', 'half', 'endless'];
  test.each(behaviours)('a platform that answers with %s causes 503 with Retry-After', async (behaviour) => {
    platform.behaviour = behaviour;
    const token = platform.issue('acme');
    for (const authorization of formsOf(token)) {
      const response = await ping(url(), authorization);
      expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5']);
      expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] });
    }
    expect(platform.strays).toEqual([]);
    // Sockets may buffer this much.
    expect(platform.bytesSent).toBeLessThan(64 * 1024 ** 2);
    platform.behaviour = 'well';
    expect((await ping(url(), `Bearer ${token.whole}`)).status).toBe(200);
  });

  test('a token that the platform refuses is 401, whatever the body of the answer says', async () => {
    platform.behaviour = 401;
    const token = platform.issue('acme');
    for (const authorization of formsOf(token)) expect((await ping(url(), authorization)).status).toBe(401);
    expect(platform.callsFor(token)).toBe(1);
  });

  test('an unreachable platform causes 503 until it is back', async () => {
    const token = platform.issue('acme');
    await platform.close();
    try {
      for (const authorization of formsOf(token)) {
        const response = await ping(url(), authorization);
        expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5']);
      }
      expect((await ping(url(), loggedIn(url(), 'bob').authorization)).status).toBe(200);
    } finally {
      await platform.listen();
    }
    expect((await ping(url(), `Bearer ${token.whole}`)).status).toBe(200);
  });
});

test("the platform's answer at one host is known at the others", async () => {
  const token = platform.issue('acme');
  for (const { url } of registry.hosts) {
    for (const authorization of formsOf(token)) expect((await ping(url, authorization)).status).toBe(200);
  }
  expect(platform.callsFor(token)).toBe(1);
});

test('an image that was pushed to a node with a token can be pulled from central with it', async () => {
  const token = platform.issue('acme');
  const image = imageOf(5000);
  for (const step of pushSteps('acme/both', 'latest', image)) {
    await step.run({ url: node(), authorization: basic('acme', token.whole) });
  }
  const caller = { url: central(), authorization: basic(token.user, token.secret) };
  await until(async () => (await request(caller, 'HEAD', '/v2/acme/both/manifests/latest')).status === 200);
  await comparePull(caller, 'acme/both', 'latest', image);
});

test('the log contains no secret of these requests', async () => {
  const token = platform.issue('acme');
  for (const behaviour of ['well', 500, 'garbage'] as const) {
    platform.behaviour = behaviour;
    for (const authorization of formsOf(behaviour === 'well' ? token : platform.issue('acme')))
      await ping(node(), authorization);
  }
  expect(await loggedSecrets(folder, '')).toEqual([]);
});
