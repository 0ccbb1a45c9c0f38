import { describe, expect, test } from 'vitest';
import { challenge } from '../../src/auth/challenge.ts';
import type { Scope } from '../../src/auth/scope.ts';
import { parseRepositoryName } from '../../src/oci/reference.ts';

const scope: Scope = { type: 'repository', name: parseRepositoryName('alice/app'), actions: ['pull', 'push'] };

describe('challenge', () => {
  test.each([
    [undefined, undefined, ''],
    [scope, undefined, ',scope="repository:alice/app:pull,push"'],
    [{ type: 'catalog' } as const, undefined, ',scope="registry:catalog:*"'],
    [undefined, 'invalid_token' as const, ',error="invalid_token"'],
    [scope, 'insufficient_scope' as const, ',scope="repository:alice/app:pull,push",error="insufficient_scope"'],
  ])('has a realm, a service, a scope and an error: %o %s', (asked, error, rest) => {
    expect(challenge(new URL('https://index.example.com/v2/'), asked, error)).toBe(
      `Bearer realm="https://index.example.com/token",service="index.example.com"${rest}`,
    );
  });

  test.each([
    ['http://localhost:8787/v2/', 'http://localhost:8787/token'],
    ['http://127.0.0.1:8787/v2/alice/app/tags/list?n=1', 'http://127.0.0.1:8787/token'],
    ['https://index.example.com:443/v2/', 'https://index.example.com/token'],
    ['http://[::1]:8787/v2/', 'http://[::1]:8787/token'],
    ['https://user:password@index.example.com/v2/', 'https://index.example.com/token'],
  ])('sends a client of %s to the same host and port', (url, realm) => {
    const [, found = ''] = /realm="([^"]*)"/.exec(challenge(new URL(url))) ?? [];
    expect(found).toBe(realm);
    expect(new URL(found).host).toBe(new URL(url).host);
  });

  // The conformance suite takes the last "basic" or "bearer" anywhere in a challenge for its scheme.
  test.each(['https://index.example.com/', 'http://localhost:8787/'])(
    'names its scheme once, and no other: %s',
    (url) => {
      for (const error of [undefined, 'invalid_token', 'insufficient_scope'] as const) {
        expect(challenge(new URL(url), scope, error).match(/basic|bearer/gi)).toEqual(['Bearer']);
      }
    },
  );
});
