import { expect, test } from 'vitest';
import { matchesGlob } from '../../src/oci/glob.ts';

test.each([
  ['app', 'app', true],
  ['app', 'apps', false],
  ['*', '', true],
  ['*', 'a/b', true],
  ['team/*', 'team/a/b', true],
  ['team/*', 'team', false],
  ['*/app', 'team/app', true],
  ['v1.*-alpine', 'v1.2-alpine', true],
  ['v1.*-alpine', 'v1.-alpine', true],
  ['v1.*-alpine', 'v1-alpine', false],
  ['a*a', 'a', false],
  ['a*b*c', 'abbc', true],
  ['a*b*c', 'acb', false],
  ['**', 'x', true],
])('the pattern %s and the name %s: %s', (pattern, name, isMatch) => {
  expect(matchesGlob(pattern, name)).toBe(isMatch);
});

test('a pattern that would make a backtracking search endless is matched in one pass', () => {
  expect(matchesGlob(`${'*a'.repeat(100)}b*`, 'a'.repeat(100_000))).toBe(false);
});
