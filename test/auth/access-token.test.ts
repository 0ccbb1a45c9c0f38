import { type JWTPayload, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import {
  AccessTokens,
  issueAccessToken,
  SKEW_SECONDS,
  TOKEN_SECONDS,
  type TokenRequest,
} from '../../src/auth/access-token.ts';
import type { Credential } from '../../src/auth/credential.ts';
import { parseScopes } from '../../src/auth/scope.ts';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';

const NOW = 1_800_000_000_000;
const SECONDS = NOW / 1000;

const secret = (byte: number): Uint8Array => new Uint8Array(64).fill(byte);
const keys = await SigningKeys.import([secret(1).toBase64(), secret(2).toBase64()]);
const foreignKeys = await SigningKeys.import([secret(3).toBase64()]);
const secondKid = (await SigningKeys.import([secret(2).toBase64()])).current.id;

const credential: Credential = {
  kind: 'organization',
  id: 'credential-1',
  organization: 'alice' as OrganizationName,
  rights: ['pull', 'push'],
  repositories: ['alice/app', 'alice/team/*'],
};
const request: TokenRequest = {
  credential,
  scopes: parseScopes(['repository:alice/app:pull,push repository:official/base:pull registry:catalog:*']),
  audience: 'central',
  now: NOW,
  checkedAt: NOW,
  credentialExpiresAt: undefined,
};

const goodHeader = { alg: 'HS256', kid: keys.current.id, typ: 'JWT' };
const goodClaims: JWTPayload = {
  credential,
  scope: 'repository:alice/app:pull',
  iss: 'berth',
  aud: 'central',
  sub: 'credential-1',
  iat: SECONDS,
  exp: SECONDS + 300,
};

/** Returns a token with any claims and header, signed with one of the registry's own keys unless another is given. */
function signed(
  claims: JWTPayload,
  header: { alg: string; kid?: string } = goodHeader,
  key = secret(1),
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader(header).sign(key);
}

function without(claim: string): JWTPayload {
  return Object.fromEntries(Object.entries(goodClaims).filter(([name]) => name !== claim));
}

const base64url = (text: string): string =>
  new TextEncoder().encode(text).toBase64({ alphabet: 'base64url', omitPadding: true });

describe('an access token', () => {
  test.each<Credential>([credential, { kind: 'platform', id: 'p' }, { kind: 'administrator', id: 'a' }])(
    'carries its credential and its scopes: %o',
    async (any) => {
      const { token, expiresIn } = await issueAccessToken(keys, { ...request, credential: any });
      expect(expiresIn).toBe(TOKEN_SECONDS);
      expect(await new AccessTokens(keys).verify(token, 'central', NOW)).toEqual({
        kind: 'credential',
        credential: any,
        scopes: request.scopes,
      });
    },
  );

  test('of an anonymous caller makes an anonymous caller', async () => {
    const { token } = await issueAccessToken(keys, { ...request, credential: undefined });
    expect(await new AccessTokens(keys).verify(token, 'central', NOW)).toEqual({ kind: 'anonymous' });
  });

  test('without a scope covers nothing, unlike its credential', async () => {
    const { token } = await issueAccessToken(keys, { ...request, scopes: [] });
    expect(await new AccessTokens(keys).verify(token, 'central', NOW)).toMatchObject({ scopes: [] });
  });

  test('lives for at most five minutes, and for at least as long as clients cache tokens', async () => {
    expect(TOKEN_SECONDS + SKEW_SECONDS).toBe(300);
    expect(TOKEN_SECONDS).toBeGreaterThanOrEqual(60);
    const { token } = await issueAccessToken(keys, request);
    expect(await new AccessTokens(keys).verify(token, 'central', NOW + 299_999)).toBeDefined();
    expect(await new AccessTokens(keys).verify(token, 'central', NOW + 300_000)).toBeUndefined();
  });

  test('does not outlive its credential by more than clocks may differ', async () => {
    const { token, expiresIn } = await issueAccessToken(keys, { ...request, credentialExpiresAt: NOW + 90_500 });
    expect(expiresIn).toBe(90);
    expect(await new AccessTokens(keys).verify(token, 'central', NOW + 94_999)).toBeDefined();
    expect(await new AccessTokens(keys).verify(token, 'central', NOW + 95_000)).toBeUndefined();
  });

  test('does not live longer because its credential does', async () => {
    expect((await issueAccessToken(keys, { ...request, credentialExpiresAt: NOW + 86_400_000 })).expiresIn).toBe(
      TOKEN_SECONDS,
    );
  });

  test('survives a rotation of the key that signed it, until that key is removed', async () => {
    const { token } = await issueAccessToken(await SigningKeys.import([secret(2).toBase64()]), request);
    expect(await new AccessTokens(keys).verify(token, 'central', NOW)).toBeDefined();
    expect(await new AccessTokens(foreignKeys).verify(token, 'central', NOW)).toBeUndefined();
  });
});

describe('a token is refused', () => {
  test('only for its fault: the token that the refused ones are made from is accepted', async () => {
    expect(await new AccessTokens(keys).verify(await signed(goodClaims), 'central', NOW)).toMatchObject({
      kind: 'credential',
    });
  });

  test.each<[string, () => Promise<string>]>([
    [
      'without a signature: alg none',
      async () => `${base64url('{"alg":"none"}')}.${base64url(JSON.stringify(goodClaims))}.`,
    ],
    [
      'of alg none, under a good key id',
      async () => {
        const header = base64url(JSON.stringify({ ...goodHeader, alg: 'none' }));
        return (await signed(goodClaims)).replace(/^[^.]*/, header);
      },
    ],
    ['of alg HS512, with the right key', () => signed(goodClaims, { ...goodHeader, alg: 'HS512' })],
    ['of alg HS384, with the right key', () => signed(goodClaims, { ...goodHeader, alg: 'HS384' })],
    ['with an unknown key id', () => signed(goodClaims, { ...goodHeader, kid: 'unknown' })],
    ['without a key id', () => signed(goodClaims, { alg: 'HS256' })],
    ['with the id of the other key', () => signed(goodClaims, { ...goodHeader, kid: secondKid })],
    [
      'signed with a key that it brings',
      () => {
        const jwk = { kty: 'oct', k: secret(9).toBase64({ alphabet: 'base64url', omitPadding: true }) };
        return signed(goodClaims, { ...goodHeader, jwk } as typeof goodHeader, secret(9));
      },
    ],
    ['signed by another registry', async () => (await issueAccessToken(foreignKeys, request)).token],
    ['for a node', async () => (await issueAccessToken(keys, { ...request, audience: 'node:eu-1' })).token],
    ['for no namespace', () => signed(without('aud'))],
    ['of another issuer', () => signed({ ...goodClaims, iss: 'other' })],
    ['of no issuer', () => signed(without('iss'))],
    ['that has expired', () => signed({ ...goodClaims, exp: SECONDS - SKEW_SECONDS })],
    ['without an end', () => signed(without('exp'))],
    [
      'that is older than tokens may become',
      () => signed({ ...goodClaims, iat: SECONDS - TOKEN_SECONDS - SKEW_SECONDS - 1, exp: SECONDS + 60 }),
    ],
    ['without a beginning', () => signed(without('iat'))],
    ['from the future', () => signed({ ...goodClaims, iat: SECONDS + 60 })],
    ['that is not yet valid', () => signed({ ...goodClaims, nbf: SECONDS + 60 })],
    ['without a subject', () => signed(without('sub'))],
    ['without a scope', () => signed(without('scope'))],
    ['with scopes in a list', () => signed({ ...goodClaims, scope: ['repository:alice/app:pull'] })],
    ['of a credential of no known kind', () => signed({ ...goodClaims, credential: { ...credential, kind: 'root' } })],
    ['with an unknown right', () => signed({ ...goodClaims, credential: { ...credential, rights: ['root'] } })],
    [
      'with an invalid organization',
      () => signed({ ...goodClaims, credential: { ...credential, organization: 'a/b' } }),
    ],
    ['of half a credential', () => signed({ ...goodClaims, credential: { kind: 'organization', id: 'x' } })],
    ['of a null credential', () => signed({ ...goodClaims, credential: null })],
  ])('%s', async (_, make) => {
    expect(await new AccessTokens(keys).verify(await make(), 'central', NOW)).toBeUndefined();
  });

  test.each([
    ['its rights', (text: string) => text.replace('"pull"', '"admin"')],
    ['its organization', (text: string) => text.replaceAll('alice', 'bobby')],
    ['its scope', (text: string) => text.replace(':pull"', ':pull,push"')],
    ['its end', (text: string) => text.replace(`${SECONDS + 300}`, `${SECONDS + 301}`)],
    ['a space', (text: string) => `${text} `],
  ])('whose payload was changed: %s', async (_, change) => {
    const [header = '', payload = '', signature = ''] = (await signed(goodClaims)).split('.');
    const text = new TextDecoder().decode(Uint8Array.fromBase64(payload, { alphabet: 'base64url' }));
    expect(change(text)).not.toBe(text);
    const forged = [header, base64url(change(text)), signature].join('.');
    expect(await new AccessTokens(keys).verify(forged, 'central', NOW)).toBeUndefined();
  });

  test.each(['', '.', '..', 'a.b.c', 'Bearer x', base64url('{}'), 'x'.repeat(10_000)])(
    'that is not a token: %j',
    async (token) => {
      expect(await new AccessTokens(keys).verify(token, 'central', NOW)).toBeUndefined();
    },
  );
});

describe('the tokens that an isolate remembers', () => {
  test('are good for their namespace only, and until they end', async () => {
    const { token } = await issueAccessToken(keys, request);
    const tokens = new AccessTokens(keys);
    const principal = await tokens.verify(token, 'central', NOW);
    expect(principal).toEqual(await new AccessTokens(keys).verify(token, 'central', NOW));
    expect(await tokens.verify(token, 'central', NOW + 1000)).toBe(principal);
    expect(await tokens.verify(token, 'node:elsewhere', NOW)).toBeUndefined();
    expect(await tokens.verify(`${token}x`, 'central', NOW)).toBeUndefined();
    expect(await tokens.verify(token, 'central', NOW + 299_999)).toBeDefined();
    expect(await tokens.verify(token, 'central', NOW + 300_000)).toBeUndefined();
  });

  test('are not good before they were issued, if the clock was set back', async () => {
    const { token } = await issueAccessToken(keys, request);
    const tokens = new AccessTokens(keys);
    expect(await tokens.verify(token, 'central', NOW)).toBeDefined();
    expect(await tokens.verify(token, 'central', NOW - SKEW_SECONDS * 1000)).toBeDefined();
    expect(await tokens.verify(token, 'central', NOW - 3 * 24 * 3_600_000)).toBeUndefined();
  });

  test('are bounded in bytes, however many scopes and patterns a token has', async () => {
    const tokens = new AccessTokens(keys);
    const scopes = parseScopes(
      Array.from({ length: 32 }, (_, i) => `repository:alice/${'a'.repeat(100)}${i}:pull,push,delete`),
    );
    const repositories = Array.from({ length: 32 }, (_, i) => `alice/${'b'.repeat(240)}${i}/*`);
    const wide = { ...request, credential: { ...credential, repositories }, scopes };
    for (let i = 0; i < 300; i++) {
      const { token } = await issueAccessToken(keys, { ...wide, now: NOW + i * 1000 });
      expect(await tokens.verify(token, 'central', NOW + i * 1000)).toBeDefined();
      expect(tokens.bytes).toBeLessThanOrEqual(4 * 1024 * 1024);
    }
    expect(tokens.bytes).toBeGreaterThan(3 * 1024 * 1024);
  });
});
