import { describe, expect, test } from 'vitest';
import { isEmpty, parseBasic } from '../../src/auth/basic.ts';

const encode = (text: string): string => new TextEncoder().encode(text).toBase64();

describe('parseBasic', () => {
  test.each([
    ['alice', 'secret'],
    ['alice', 'with:a:colon'],
    ['alice', ''],
    ['', 'secret'],
    ['robot$alice.users.kraftcloud', 'secret'],
    ['ålice', 'pässwörd 😀'],
    ['alice', '\uFEFFsecret'],
    ['alice', 'a\nb\0'],
  ])('reads the user %j with the password %j', (user, password) => {
    expect(parseBasic(encode(`${user}:${password}`))).toEqual({ user, password });
  });

  test('keeps a byte-order mark, which is part of the user', () => {
    expect(parseBasic(encode('\uFEFFalice:secret'))).toEqual({ user: '\uFEFFalice', password: 'secret' });
  });

  test('reads base64 without padding', () => {
    expect(parseBasic(encode('alice:secrets').replace(/=+$/, ''))).toEqual({ user: 'alice', password: 'secrets' });
  });

  test.each([
    ['nothing', ''],
    ['no colon', encode('alice')],
    ['no base64', 'alice:secret'],
    ['base64url', encode('alice:\u00ff\u00ff???').replaceAll('/', '_')],
    ['a character too many', `${encode('alice:secret')}A`],
    ['bytes that are not UTF-8', new Uint8Array([0xff, 0x3a, 0x61]).toBase64()],
  ])('refuses %s', (_, encoded) => {
    expect(parseBasic(encoded)).toBeUndefined();
  });
});

describe('isEmpty', () => {
  test('is true for the header that skopeo sends without credentials', () => {
    expect(isEmpty(parseBasic('Og==')!)).toBe(true);
  });

  test.each([
    ['alice', ''],
    ['', 'secret'],
    ['alice', 'secret'],
    [' ', ''],
  ])('is false for %j with %j', (user, password) => {
    expect(isEmpty({ user, password })).toBe(false);
  });
});
