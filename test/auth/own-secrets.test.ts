import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Presented } from '../../src/auth/basic.ts';
import { holdsOwnSecret, possibleSecrets } from '../../src/auth/own-secrets.ts';

const OWN = `berth_${'aB3-xY_9kQ'.repeat(5).slice(0, 43)}`;
const BOOTSTRAP = 'Zq8!pW3e_Rt6yUi1-oP5aSd?';
const ACCESS_TOKEN = ['{"alg":"HS256"}', '{"scope":"","iss":"berth","aud":"central"}', 'signature-of-it']
  .map((part) => new TextEncoder().encode(part).toBase64({ alphabet: 'base64url', omitPadding: true }))
  .join('.');

const SECRETS: readonly (readonly [name: string, secret: string])[] = [
  ["a secret of Berth's own", OWN],
  ['the bootstrap secret', BOOTSTRAP],
];

/** Changes that files, shells and clipboards make to a secret. */
const NEARLY: readonly (readonly [name: string, change: (secret: string) => string])[] = [
  ['itself', (secret) => secret],
  ['with a space after it', (secret) => `${secret} `],
  ['with a newline after it', (secret) => `${secret}\r\n`],
  ['in quotes', (secret) => `"${secret}"`],
  ['with a name before it', (secret) => `PASSWORD='${secret}'`],
  ['without its last character', (secret) => secret.slice(0, -1)],
  ['without its first character', (secret) => secret.slice(1)],
  ['without its first and last characters', (secret) => secret.slice(2, -1)],
  ['broken over two lines', (secret) => `${secret.slice(0, 8)}\n${secret.slice(8)}`],
  ['its first half', (secret) => secret.slice(0, secret.length / 2)],
];

const WITHIN: readonly (readonly [name: string, wrap: (text: string) => Presented])[] = [
  ['as password', (password) => ({ user: 'alice', password })],
  ['as user', (user) => ({ user, password: 'x' })],
  ['in a whole token', (text) => ({ user: 'alice', password: btoa(`alice:${text}`) })],
  ['in a whole token as user', (text) => ({ user: btoa(`alice:${text}`), password: 'x' })],
  ['in a whole token with a newline', (text) => ({ user: 'alice', password: `${btoa(`alice:${text}`)}\n` })],
  ['in a quoted whole token', (text) => ({ user: 'alice', password: `"${btoa(`alice:${text}`)}"` })],
  [
    'in a whole token over several lines',
    (text) => ({ user: 'a', password: btoa(`a:${text}`).replace(/(.{10})/g, '$1\n') }),
  ],
  [
    'in a whole token without its first character',
    (text) => ({ user: 'alice', password: btoa(`alice:${text}`).slice(1) }),
  ],
  [
    'in a whole token without padding',
    (text) => ({ user: 'alice', password: btoa(`alice:${text}`).replace(/=+$/, '') }),
  ],
  ['in a header', (text) => ({ user: 'alice', password: `Basic ${btoa(`alice:${text}`)}` })],
  ['in a whole token in a whole token', (text) => ({ user: 'alice', password: btoa(`alice:${btoa(`bob:${text}`)}`) })],
  ['in base64 in base64 in base64', (text) => ({ user: 'alice', password: btoa(btoa(btoa(text))) })],
];

describe.each(SECRETS)('%s is recognized', (_, secret) => {
  describe.each(NEARLY)('%s', (_name, change) => {
    test.each(WITHIN)('%s', (_where, wrap) => {
      expect(holdsOwnSecret(wrap(change(secret)), [BOOTSTRAP])).toBe(true);
    });
  });
});

test('an access token is recognized, even within a whole token', () => {
  for (const text of [ACCESS_TOKEN, `${ACCESS_TOKEN}\n`, ACCESS_TOKEN.slice(0, -5), btoa(`alice:${ACCESS_TOKEN}`)])
    expect(holdsOwnSecret({ user: 'alice', password: text }, [])).toBe(true);
});

test('a secret that lacks part of its prefix may still be a credential’s', () => {
  for (let i = 0; i <= 6; i++) {
    for (const text of [OWN.slice(i), `"${OWN.slice(i)}"`, btoa(`alice:${OWN.slice(i)}\n`)]) {
      expect([i, [...possibleSecrets({ user: 'alice', password: text })]]).toEqual([i, expect.arrayContaining([OWN])]);
    }
  }
  expect([...possibleSecrets({ user: 'alice', password: ' "chosen by hand"\n' })]).toContain('chosen by hand');
});

test('a secret that lacks its prefix and its last character may still be a credential’s', () => {
  for (let seed = 0; seed < 16; seed++) {
    const secret = `berth_${new Uint8Array(32).fill(17 * seed).toBase64({ alphabet: 'base64url', omitPadding: true })}`;
    for (const start of [4, 5, 6]) {
      const cut = secret.slice(start, -1);
      for (const text of [cut, `"${cut}"`, btoa(`alice:${cut}\n`)]) {
        expect([text, [...possibleSecrets({ user: 'alice', password: text })]]).toEqual([
          text,
          expect.arrayContaining([secret]),
        ]);
      }
    }
  }
});

test("other secrets are never taken for Berth's own", () => {
  const secret = fc.oneof(fc.string({ maxLength: 80 }), fc.base64String({ maxLength: 200 }), fc.uuid());
  fc.assert(
    fc.property(fc.string({ maxLength: 30 }), secret, (user, password) => {
      fc.pre(!/berth/i.test(`${user}${password}`));
      expect(holdsOwnSecret({ user, password }, [BOOTSTRAP, btoa('k'.repeat(32))])).toBe(false);
      expect(possibleSecrets({ user, password }).size).toBeLessThanOrEqual(16 + 64);
    }),
    { seed: 72, numRuns: 500 },
  );
});

test("a secret that is too long for a token is not read to its end, and counts as Berth's own", () => {
  expect(holdsOwnSecret({ user: 'alice', password: '-.'.repeat(40_000) }, [BOOTSTRAP])).toBe(true);
  const whole = btoa(`robot$alice.users.kraftcloud:${'xK7-pQ2_'.repeat(256)}`);
  expect(holdsOwnSecret({ user: 'alice', password: whole }, [BOOTSTRAP])).toBe(false);
});
