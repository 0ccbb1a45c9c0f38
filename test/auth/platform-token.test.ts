import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allows, administers } from '../../src/auth/credential.ts';
import { parseWholeToken } from '../../src/auth/login.ts';
import {
  credentialOfToken,
  isUserOfToken,
  organizationIn,
  type PlatformToken,
  platformTokenOf,
} from '../../src/auth/platform-token.ts';
import { type OrganizationName, parseRepositoryName } from '../../src/oci/reference.ts';

const alice = 'alice' as OrganizationName;
const robot = 'robot$alice.users.kraftcloud';
const whole = btoa(`${robot}:s3cret`);

describe('the platform token of a login', () => {
  test.each([
    ['user and secret', robot, 's3cret'],
    ['organization and whole token', 'alice', whole],
    ['robot and whole token', robot, whole],
  ])('%s', (_, user, password) => {
    expect(platformTokenOf({ user, password })).toEqual({ token: whole, user: robot, secret: 's3cret' });
  });

  test('keeps every character that a secret may contain', () => {
    for (const secret of ['a:b', 'pässwörd', 'with space', '+/=', 'e30.e30.e30']) {
      const token = platformTokenOf({ user: 'alice', password: secret });
      expect(new TextDecoder().decode(Uint8Array.fromBase64(token?.token ?? ''))).toBe(`alice:${secret}`);
    }
  });

  test.each([
    ['without a user', '', 's3cret'],
    ['without a secret', 'alice', ''],
    ['with a user that no token can contain', 'a:b', 's3cret'],
    ['that is longer than a token', 'alice', 'x'.repeat(5000)],
    ['that is whole and longer than a token', 'alice', btoa(`alice:${'x'.repeat(5000)}`)],
  ])('is undefined %s', (_, user, password) => {
    expect(platformTokenOf({ user, password })).toBeUndefined();
  });

  test('is the same in every form, for any user and secret', () => {
    const printable = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .filter((text) => !/\p{Cc}/u.test(text));
    fc.assert(
      fc.property(
        printable.filter((text) => !text.includes(':')),
        printable.filter((text) => parseWholeToken(text) === undefined),
        (user, secret) => {
          const pair = platformTokenOf({ user, password: secret });
          expect(pair).toEqual({ token: new TextEncoder().encode(`${user}:${secret}`).toBase64(), user, secret });
          expect(platformTokenOf({ user: 'anyone', password: pair?.token ?? '' })).toEqual(pair);
        },
      ),
      { seed: 71, numRuns: 500 },
    );
  });
});

describe('a whole token', () => {
  test('is distinguished from an access token, from noise, and from text that is not base64', () => {
    for (const text of [
      '',
      'eyJhbGciOiJIUzI1NiJ9.e30.c2ln',
      btoa('alice'),
      btoa(':secret'),
      btoa('alice:'),
      btoa('alice:sec\nret'),
      btoa('\u00ff\u00fe:abc'),
      `${whole}A`,
      `${whole.slice(0, 8)} ${whole.slice(8)}`,
      'a',
    ])
      expect([text, parseWholeToken(text)]).toEqual([text, undefined]);
    expect(parseWholeToken(whole)).toEqual({ user: robot, password: 's3cret' });
  });
});

describe('the user of a login with a token of alice', () => {
  const tokenOf = (user: string): PlatformToken => ({ token: btoa(`${user}:s`), user, secret: 's' });

  test.each([
    ['alice', robot],
    [robot, robot],
    ['alice', 'someone'],
    ['someone', 'someone'],
    [robot, 'someone'],
    ['alice', 'alice'],
  ])('may be %s, with a token of %s', (user, own) => {
    expect(isUserOfToken(user, tokenOf(own), alice)).toBe(true);
  });

  test.each([
    ['bob', robot],
    ['Alice', robot],
    ['alice ', robot],
    ['', robot],
    ['robot$bob.users.kraftcloud', robot],
    ['robot$bob.users.kraftcloud', 'robot$bob.users.kraftcloud'],
    ['alice', 'robot$bob.users.kraftcloud'],
    ['robot$alice.users.kraftcloud.evil', robot],
    ['robot$alice', robot],
    ['bob', 'someone'],
  ])('may not be %s, with a token of %s', (user, own) => {
    expect(isUserOfToken(user, tokenOf(own), alice)).toBe(false);
  });
});

describe("the platform's answer", () => {
  const body = (organization: unknown): string =>
    JSON.stringify({ status: 'success', data: { organization_name: organization, registry: 'index.example.com' } });

  test('names an organization', () => {
    expect(organizationIn(body('alice'))).toBe('alice');
    expect(organizationIn(body('al-ice.x_1'))).toBe('al-ice.x_1');
  });

  test.each([
    '',
    '{',
    'null',
    '[]',
    '"alice"',
    '{"status":"success"}',
    '{"status":"success","data":null}',
    '{"data":{"organization_name":"alice"}}',
    '{"status":"error","data":{"organization_name":"alice"}}',
    ...[
      '',
      'Alice',
      'alice/app',
      '../bob',
      'alice*',
      '*',
      'a'.repeat(129),
      'alice\n',
      'alice bob',
      "a'--",
      5,
      null,
      ['alice'],
    ].map(body),
  ])('names no organization: %j', (text) => {
    expect(organizationIn(text)).toBeUndefined();
  });
});

test('a platform token may use images of its organization, and manage nothing', () => {
  const credential = credentialOfToken(alice, 'f');
  const may = (name: string) =>
    (['pull', 'push', 'delete'] as const).filter((a) => allows(credential, a, parseRepositoryName(name)));
  expect(may('alice/app')).toEqual(['pull', 'push', 'delete']);
  expect(may('alice/team/app')).toEqual(['pull', 'push', 'delete']);
  expect(may('bob/app')).toEqual([]);
  expect(may('alice-x/app')).toEqual([]);
  expect(may('official/base')).toEqual(['pull']);
  expect(administers(credential, alice)).toBe(false);
});
