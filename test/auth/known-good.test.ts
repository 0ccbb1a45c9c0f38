import { expect, test } from 'vitest';
import { KnownGood, type Login } from '../../src/auth/login.ts';

const NOW = 1_800_000_000_000;
const login: Login = {
  credential: { kind: 'administrator', id: 'admin' },
  registries: null,
  checkedAt: NOW,
  expiresAt: undefined,
};

test('a good login is remembered for a minute, and not trusted before it was good, if the clock was set back', () => {
  const known = new KnownGood();
  known.remember('hash', login, NOW);
  expect(known.get('hash', NOW)).toBe(login);
  expect(known.get('hash', NOW + 59_999)).toBe(login);
  expect(known.get('hash', NOW + 60_000)).toBeUndefined();
  expect(known.get('hash', NOW - 3 * 24 * 3_600_000)).toBeUndefined();
});
