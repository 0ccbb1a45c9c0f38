import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { holds, parsePrecondition } from '../../src/oci/precondition.ts';

const HERE = `sha256:${'1'.repeat(64)}` as Digest;
const OTHER = `sha256:${'2'.repeat(64)}` as Digest;

function judge(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
  current: Digest | undefined,
): boolean | undefined {
  const precondition = parsePrecondition(ifMatch, ifNoneMatch);
  return precondition && holds(precondition, current);
}

test('a request without either header has no precondition', () => {
  expect(parsePrecondition(undefined, undefined)).toBeUndefined();
});

describe('If-Match', () => {
  test.each([
    [`"${HERE}"`, true, false],
    [`"${OTHER}", "${HERE}"`, true, false],
    [HERE, true, false],
    ['*', true, false],
    [`"${OTHER}"`, false, false],
    [`W/"${HERE}"`, false, false],
    [`w/"${HERE}"`, false, false],
    ['"*"', false, false],
    ['', false, false],
  ])('%s', (header, there, absent) => {
    expect([judge(header, undefined, HERE), judge(header, undefined, undefined)]).toEqual([there, absent]);
  });
});

describe('If-None-Match', () => {
  test.each([
    ['*', false, true],
    [`"${HERE}"`, false, true],
    [`W/"${HERE}"`, false, true],
    [`w/"${HERE}"`, false, true],
    ['"*"', true, true],
    [HERE, false, true],
    [`"${OTHER}"`, true, true],
    ['', true, true],
  ])('%s', (header, there, absent) => {
    expect([judge(undefined, header, HERE), judge(undefined, header, undefined)]).toEqual([there, absent]);
  });
});

test('both headers must hold', () => {
  expect(judge(`"${HERE}"`, `"${OTHER}"`, HERE)).toBe(true);
  expect(judge(`"${HERE}"`, `"${HERE}"`, HERE)).toBe(false);
});
