import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonExcess } from '../../src/oci/json-limits.ts';

const nestsDeeperThan = (text: string, limit: number): boolean => jsonExcess(text, limit, Infinity) === 'depth';
const hasMoreValuesThan = (text: string, limit: number): boolean => jsonExcess(text, Infinity, limit) === 'values';

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('depth', () => {
  test('counts arrays and objects, and nothing inside strings', () => {
    expect(nestsDeeperThan('{"a":[1]}', 2)).toBe(false);
    expect(nestsDeeperThan('{"a":[1]}', 1)).toBe(true);
    expect(nestsDeeperThan('{"a":"[[[[\\"[["}', 1)).toBe(false);
    expect(nestsDeeperThan('"[{"', 0)).toBe(false);
  });

  test.each([
    ['an escaped backslash ends before the quote', '["\\\\",[[]]]', 3],
    ['an escaped quote does not end a string', '["\\"[[[["]', 1],
    ['keys are strings too', '{"[[[":{}}', 2],
    ['siblings do not add up', '[[],[],{},[[]]]', 3],
  ])('%s', (_, text, depth) => {
    expect(nestsDeeperThan(text, depth)).toBe(false);
    expect(nestsDeeperThan(text, depth - 1)).toBe(true);
  });

  test('agrees with a recursive count on small JSON, however it is spaced', () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from('ab"\\[]{}:, \n'), '\u2028', '😀'), maxLength: 6 });
    const document = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'medium' },
        fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), text),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(text, tie('value'), { maxKeys: 3 }),
      ),
    })).value;
    fc.assert(
      fc.property(document, fc.nat(6), fc.constantFrom(undefined, 1, '\t'), (value, limit, space) => {
        expect(nestsDeeperThan(JSON.stringify(value, null, space), limit)).toBe(depthOf(value) > limit);
      }),
      { seed: 103, numRuns: 2000 },
    );
  });

  test('accepts any text, JSON or not', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...Array.from('[]{}"\\ a\ud800')) }),
    );
    fc.assert(
      fc.property(text, fc.nat(8), (any, limit) => {
        expect(nestsDeeperThan(any, limit)).toBeTypeOf('boolean');
      }),
      { seed: 104, numRuns: 2000 },
    );
  });

  test('stops at the limit, without recursion', () => {
    expect(nestsDeeperThan('['.repeat(4_000_000), 64)).toBe(true);
    expect(nestsDeeperThan('['.repeat(4_000_000), 4_000_000)).toBe(false);
  });
});

describe('values', () => {
  test('counts values of every kind, and nothing inside strings', () => {
    expect(hasMoreValuesThan('{"a":[1,2],"b":{}}', 6)).toBe(false);
    expect(hasMoreValuesThan('{"a":[1,2],"b":{}}', 5)).toBe(true);
    expect(hasMoreValuesThan('{"a":",,,,[[{{\\","b":1}', 3)).toBe(false);
  });
});
