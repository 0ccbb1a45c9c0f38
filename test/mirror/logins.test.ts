/** The login of a mirror, which all of its blobs share. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { mirrorObjectOf } from '../../src/mirror/mirror-object.ts';
import { loginFailure, sharedLogin } from '../../src/mirror/shared-login.ts';
import { LoginError } from '../../src/oci-client/authorization.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { addUsers, call } from '../support/client.ts';
import { becomeMirror, mirror, stopMirrors } from '../support/mirrors.ts';
import { config, eventually } from '../support/queues.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const LAYERS = Array.from({ length: 8 }, (_, i) => `layer ${i}`);
const CREDENTIAL = { user: 'berth', secret: 'the-secret-of-the-upstream' };
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const OTHER = 'https://other.example';

const upstream = stubUpstream();
/** The Authorization headers of exchanges. */
let exchanges: (string | null)[];
/** The tokens that the upstream has given, of which it takes the last alone. */
let tokens: string[];
/** The answers with status 401. */
let refusals: number;

beforeEach(async () => {
  await addUsers();
  exchanges = [];
  tokens = [];
  refusals = 0;
  upstream.answers = withToken;
});

afterEach(async () => {
  await stopMirrors();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Asks for a token, as most registries do. */
function withToken({ url, headers }: Request): Response | undefined {
  const { origin, pathname } = new URL(url);
  if (pathname === '/token') {
    exchanges.push(headers.get('authorization'));
    tokens.push(`token-${crypto.randomUUID()}`);
    return Response.json({ token: tokens.at(-1), expires_in: 300 });
  }
  if (tokens.length > 0 && headers.get('authorization') === `Bearer ${tokens.at(-1)}`) return undefined;
  refusals += 1;
  const challenge = `Bearer realm="${origin}/token",service="upstream"`;
  return new Response(null, { status: 401, headers: { 'WWW-Authenticate': challenge } });
}

/** Adds an image of eight layers. @returns the digests of its blobs */
async function addImage(): Promise<string[]> {
  const blobs = await Promise.all(['config', ...LAYERS].map((text) => upstream.blob(text)));
  const [config_, ...layers] = blobs.map(({ digest, bytes }) => ({ digest, size: bytes.byteLength, mediaType: 'x/y' }));
  await upstream.manifest('app', 'v1', IMAGE, { config: config_, layers });
  return blobs.map(({ digest }) => digest);
}

async function pull(path: string): Promise<number> {
  const answer = await call('GET', `/v2/alice/app/${path}`, { as: 'alice' });
  await answer.arrayBuffer();
  return answer.status;
}

async function pullAll(blobs: readonly string[]): Promise<void> {
  const statuses = await Promise.all(blobs.map((digest) => pull(`blobs/${digest}`)));
  expect(new Set(statuses)).toEqual(new Set([200]));
}

/** Waits until nothing is left to be stored. */
async function stored(): Promise<void> {
  await eventually(
    async () => {
      const answer = await call('GET', '/api/organizations/alice/mirror/status', { as: 'alice' });
      return answer.json<{ waiting: number }>();
    },
    ({ waiting }) => waiting === 0,
  );
}

describe.each([undefined, CREDENTIAL])('with the credential %o', (credential) => {
  const sent = credential === undefined ? null : `Basic ${btoa(`${credential.user}:${credential.secret}`)}`;
  beforeEach(() => becomeMirror('alice', { credential }));

  test('an image of eight layers takes one exchange, and one refused request', async () => {
    const blobs = await addImage();
    expect(await pull('manifests/v1')).toBe(200);
    await pullAll(blobs);
    await stored();
    expect(exchanges).toEqual([sent]);
    expect(refusals).toBe(1);
    const reads = upstream.requests.filter((each) => each.startsWith('GET /v2/app/blobs/'));
    expect(reads).toHaveLength(blobs.length);
  });

  test('eight layers that are asked for at once, before any manifest, take one exchange', async () => {
    await pullAll(await addImage());
    expect(exchanges).toEqual([sent]);
  });

  test('a token that the upstream takes back is exchanged once for all layers', async () => {
    const blobs = await addImage();
    expect(await pull('manifests/v1')).toBe(200);
    tokens.push('another that only the upstream knows');
    await pullAll(blobs);
    await stored();
    expect(exchanges).toEqual([sent, sent]);
  });
});

test('a token service that is away fails every layer with its reason, and heals', async () => {
  await becomeMirror('alice');
  const digests = (await addImage()).slice(0, 2);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
  upstream.answers = (request) =>
    new URL(request.url).pathname === '/token' ? new Response(null, { status: 400 }) : withToken(request);
  const log = vi.spyOn(console, 'error');
  const statuses = (): Promise<number[]> => Promise.all(digests.map((digest) => pull(`blobs/${digest}`)));
  expect(await statuses()).toEqual([503, 503]);
  const logged = log.mock.calls.flat().join('\n');
  for (const digest of digests) expect(logged).toContain(digest);
  expect(logged).toContain('the login was answered with status 400');
  upstream.answers = withToken;
  // This is later than the end of the pause.
  vi.setSystemTime(Date.now() + 60_000);
  expect(await statuses()).toEqual([200, 200]);
});

test('a refused login is a failure, not a missing blob', async () => {
  await becomeMirror('alice', { credential: CREDENTIAL });
  const [digest = ''] = await addImage();
  upstream.answers = (request) =>
    new URL(request.url).pathname === '/token' ? new Response(null, { status: 401 }) : withToken(request);
  expect(await pull(`blobs/${digest}`)).toBe(503);
});

test('an answer without a token is no refused login', async () => {
  const wrong = new RegistryError('upstream.example', new Response(), 'the login was answered without a token');
  const failed = sharedLogin(async () => ({ failure: loginFailure(wrong) })).headerFor('');
  const error: unknown = await failed.catch((caught: unknown) => caught);
  expect(error).toMatchObject({ name: 'RegistryError', message: wrong.message, status: 200 });
  expect(error).not.toBeInstanceOf(LoginError);
});

test('a refused login is not sent again for each layer', async () => {
  await becomeMirror('alice', { credential: CREDENTIAL });
  const blobs = await addImage();
  vi.spyOn(Date, 'now').mockReturnValue(Date.now());
  let logins = 0;
  upstream.answers = (request) => {
    if (new URL(request.url).pathname !== '/token') return withToken(request);
    logins += 1;
    return new Response(null, { status: 401 });
  };
  for (const digest of blobs) expect(await pull(`blobs/${digest}`)).toBe(503);
  expect(logins).toBe(1);
});

test('neither the token nor the credential is logged or shown, though the upstream sends both back', async () => {
  await becomeMirror('alice', { credential: CREDENTIAL });
  const [digest = ''] = await addImage();
  upstream.answers = (request) => {
    if (!request.url.includes('/blobs/') || !request.headers.has('authorization')) return withToken(request);
    const message = `not for ${request.headers.get('authorization')} of ${CREDENTIAL.user}:${CREDENTIAL.secret}`;
    return Response.json({ errors: [{ code: 'DENIED', message }] }, { status: 400 });
  };
  const logged = [vi.spyOn(console, 'error'), vi.spyOn(console, 'log')];
  const answer = await call('GET', `/v2/alice/app/blobs/${digest}`, { as: 'alice' });
  const shown = [await answer.text(), ...logged.flatMap(({ mock }) => mock.calls.flat())].join('\n');
  expect(answer.status).toBe(503);
  expect(tokens).toHaveLength(1);
  expect(shown).toContain('not for Bearer …');
  expect(shown).not.toContain(tokens[0]);
  expect(shown).not.toContain(CREDENTIAL.secret);
});

test('a fetch that began before a change of the mirror does not get the login after it', async () => {
  await becomeMirror('alice', { credential: CREDENTIAL });
  await addImage();
  expect(await pull('manifests/v1')).toBe(200);
  const logIn = (changedAt: number) => {
    const at = { mirror: mirror('alice', { from: OTHER, changedAt }), namespace: config.central };
    return mirrorObjectOf(env, at.mirror.organization, config.central).logIn(at, 'repository:app:pull');
  };
  expect(await logIn(1)).toEqual({ failure: { kind: 'content', message: 'the mirror has changed' } });
  // The tokens of the mirror before do not count after a change.
  expect(await logIn(Date.now() + 1000)).toEqual({});
});
