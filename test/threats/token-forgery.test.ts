import { env } from 'cloudflare:workers';
import { type JWTPayload, SignJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const KEY = Uint8Array.fromBase64(env.SIGNING_KEY);
const OTHER_KEY = new Uint8Array(32).fill(7);
const KID = (await SigningKeys.import([env.SIGNING_KEY])).current.id;
const HEADER = { alg: 'HS256', kid: KID, typ: 'JWT' };

type Header = Record<string, unknown>;

const base64url = (value: object | string): string =>
  new TextEncoder()
    .encode(typeof value === 'string' ? value : JSON.stringify(value))
    .toBase64({ alphabet: 'base64url', omitPadding: true });

/** Returns the claims of a good token at the host of this audience. */
function claimsFor(audience: string, changes: JWTPayload = {}): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  const credential = {
    kind: 'organization',
    id: 'id-of-alice',
    organization: 'alice',
    rights: ['pull'],
    repositories: ['alice/*'],
  };
  return {
    credential,
    scope: 'repository:alice/app:pull',
    iss: 'berth',
    aud: audience,
    sub: 'id-of-alice',
    iat: now,
    exp: now + 60,
    ...changes,
  };
}

const signed = (payload: JWTPayload, header: Header = HEADER, key: Uint8Array = KEY): Promise<string> =>
  new SignJWT(payload).setProtectedHeader(header as { alg: string }).sign(key);

/** Signs with a header that no honest library would use. */
async function hmac(payload: JWTPayload, header: Header, key: Uint8Array, hash = 'SHA-256'): Promise<string> {
  const text = `${base64url(header)}.${base64url(payload)}`;
  const imported = await crypto.subtle.importKey('raw', Uint8Array.from(key), { name: 'HMAC', hash }, false, ['sign']);
  const mac = await crypto.subtle.sign('HMAC', imported, new TextEncoder().encode(text));
  return `${text}.${new Uint8Array(mac).toBase64({ alphabet: 'base64url', omitPadding: true })}`;
}

const now = (): number => Math.floor(Date.now() / 1000);
const jwk = { kty: 'oct', k: OTHER_KEY.toBase64({ alphabet: 'base64url', omitPadding: true }), alg: 'HS256' };

type Claims = (changes?: JWTPayload) => JWTPayload;

const FORGERIES: readonly (readonly [string, (claims: Claims) => Promise<string>])[] = [
  ['no signature, alg none', async (claims) => `${base64url({ alg: 'none' })}.${base64url(claims())}.`],
  [
    'no signature, alg none and the right kid',
    async (claims) => `${base64url({ ...HEADER, alg: 'none' })}.${base64url(claims())}.`,
  ],
  ['alg NoNe, signed', (claims) => hmac(claims(), { ...HEADER, alg: 'NoNe' }, KEY)],
  ['no alg', (claims) => hmac(claims(), { kid: KID, typ: 'JWT' }, KEY)],
  ['alg HS512, with the right key', (claims) => hmac(claims(), { ...HEADER, alg: 'HS512' }, KEY, 'SHA-512')],
  ['alg RS256', (claims) => hmac(claims(), { ...HEADER, alg: 'RS256' }, KEY)],
  ['alg ES256', (claims) => hmac(claims(), { ...HEADER, alg: 'ES256' }, KEY)],
  ['another key under the right kid', (claims) => signed(claims(), HEADER, OTHER_KEY)],
  ['a key that the token brings as jwk', (claims) => signed(claims(), { ...HEADER, jwk }, OTHER_KEY)],
  ['a key that the token brings as jwk, without kid', (claims) => signed(claims(), { alg: 'HS256', jwk }, OTHER_KEY)],
  ['a key behind a jku', (claims) => signed(claims(), { ...HEADER, jku: 'http://192.0.2.1/keys.json' }, OTHER_KEY)],
  ['a key behind an x5u', (claims) => signed(claims(), { ...HEADER, x5u: 'http://192.0.2.1/chain.pem' }, OTHER_KEY)],
  ['the kid as the key', (claims) => signed(claims(), HEADER, new TextEncoder().encode(KID.padEnd(32, KID)))],
  [
    'an empty key, and a kid that names a device',
    (claims) => hmac(claims(), { ...HEADER, kid: '../../../dev/null' }, new Uint8Array(1)),
  ],
  ['a kid that contains SQL', (claims) => signed(claims(), { ...HEADER, kid: "' UNION SELECT 'x" }, OTHER_KEY)],
  ['a kid that every object inherits', (claims) => signed(claims(), { ...HEADER, kid: 'constructor' }, OTHER_KEY)],
  ['no kid', (claims) => signed(claims(), { alg: 'HS256' })],
  ['another kid', (claims) => signed(claims(), { ...HEADER, kid: '000000000000' })],
  [
    'a critical extension that is not understood',
    (claims) => hmac(claims(), { ...HEADER, crit: ['b64'], b64: false }, KEY),
  ],
  ['the audience of another node', (claims) => signed(claims({ aud: 'node:eu-1' }))],
  [
    'the audience of another host',
    (claims) => signed(claims({ aud: claims().aud === 'central' ? 'node:node1' : 'central' })),
  ],
  ['no audience', (claims) => signed(Object.fromEntries(Object.entries(claims()).filter(([name]) => name !== 'aud')))],
  ['an audience in other letters', (claims) => signed(claims({ aud: String(claims().aud).toUpperCase() }))],
  ['another issuer', (claims) => signed(claims({ iss: 'another' }))],
  ['an end in the past', (claims) => signed(claims({ iat: now() - 120, exp: now() - 60 }))],
  ['an end that is text', (claims) => signed(claims({ exp: `${now() + 60}` as unknown as number }))],
  [
    'a lifetime of more than five minutes, begun in the past',
    (claims) => signed(claims({ iat: now() - 400, exp: now() + 3600 })),
  ],
  ['a start in the future', (claims) => signed(claims({ iat: now() + 60 }))],
  ['a time before which it is not valid, in the future', (claims) => signed(claims({ nbf: now() + 60 }))],
  [
    'unknown rights',
    (claims) => signed(claims({ credential: { ...(claims()['credential'] as object), rights: ['own'] } })),
  ],
  [
    'an organization that is a path',
    (claims) => signed(claims({ credential: { ...(claims()['credential'] as object), organization: 'alice/app' } })),
  ],
  ['a credential of no kind', (claims) => signed(claims({ credential: { id: 'id-of-alice' } }))],
];

describe.each(HOSTS_AND_NODES)('forged tokens (key, alg, kid, audience) are refused at $name', (host) => {
  const claims: Claims = (changes) => claimsFor(host.audience, changes);
  const paths = ['/v2/', '/v2/_catalog', '/v2/alice/app/manifests/latest', '/v2/bob/open/manifests/latest'];

  test('the tokens that the forgeries are made from are accepted', async () => {
    await host.putImage('alice/app', 1, ['latest']);
    const as = { authorization: `Bearer ${await signed(claims())}` };
    expect(await host.read('/v2/alice/app/manifests/latest', as)).toBe(200);
    expect(
      await host.read('/v2/alice/app/manifests/latest', {
        authorization: `Bearer ${await hmac(claims(), HEADER, KEY)}`,
      }),
    ).toBe(200);
  });

  test.each(FORGERIES)('%s', async (_what, forge) => {
    await host.putImage('alice/app', 1, ['latest']);
    await host.putImage('bob/open', 1, ['latest'], 'bob');
    await host.publish('bob', 'open');
    const token = await forge(claims);
    for (const scheme of ['Bearer', 'bearer', 'BEARER ']) {
      for (const path of paths) {
        const response = await host.call('GET', path, { as: { authorization: `${scheme} ${token}` } });
        expect([path, response.status, await codeOf(response)]).toEqual([path, 401, 'UNAUTHORIZED']);
        expect(response.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
      }
    }
    expect(await host.read('/api/organizations/alice', { authorization: `Bearer ${token}` })).toBe(401);
    expect(await host.read('/v2/', { authorization: `Basic ${btoa(`alice:${token}`)}` })).toBe(401);
  });

  test('a good token with any part changed or cut is refused', async () => {
    const { authorization } = await host.tokenFor('aliceReader', 'repository:alice/app:pull');
    const token = authorization.slice('Bearer '.length);
    const parts = token.split('.');
    for (const [i, part] of parts.entries()) {
      for (const at of [0, 5, part.length - 6]) {
        const other = part[at] === 'A' ? 'B' : 'A';
        const changed = parts.with(i, `${part.slice(0, at)}${other}${part.slice(at + 1)}`).join('.');
        expect([i, at, await host.read('/v2/', { authorization: `Bearer ${changed}` })]).toEqual([i, at, 401]);
      }
    }
    for (const cut of [
      parts.slice(0, 2).join('.'),
      `${parts.slice(0, 2).join('.')}.`,
      parts.slice(1).join('.'),
      `${token}.${token}`,
      `${token}.`,
      `.${token}`,
    ]) {
      expect(await host.read('/v2/', { authorization: `Bearer ${cut}` })).toBe(401);
    }
  });

  test('a token grants only what its scopes and its credential allow, not what was requested', async () => {
    const reader = await host.tokenFor(
      'aliceReader',
      'repository:alice/app:pull,push,delete',
      'repository:bob/app:pull',
    );
    expect((await host.call('POST', '/v2/alice/app/blobs/uploads/', { as: reader })).status).toBe(403);
    expect(await host.read('/v2/bob/app/tags/list', reader)).toBe(403);
    expect(await host.read('/v2/', { authorization: `Bearer ${env.BOOTSTRAP_SECRET}` })).toBe(401);
  });
});
