import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_MANIFEST_BYTES } from '../../../src/oci/manifest-limits.ts';
import { splitContent } from '../../../src/stores/manifests/manifest-commit.ts';

/** The longest code point has four bytes, so no row can be smaller. */
const SMALLEST_ROW = 4;
/** D1's limit for a row, in bytes. */
const D1_ROW = 2_000_000;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

describe('splitContent', () => {
  test('cuts any text into rows that join to it, fit, and contain only whole code points', () => {
    const character = fc.oneof(
      fc.constantFrom(...Array.from('a"é€😀\u{10ffff}\0\uFEFF\uFFFD')),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    );
    const text = fc.string({ unit: character, maxLength: 60 });
    fc.assert(
      fc.property(text, fc.integer({ min: SMALLEST_ROW, max: 20 }), (document, rowBytes) => {
        const rows = splitContent(document, rowBytes);
        expect(rows.join('')).toBe(document);
        for (const row of rows) {
          expect(row.isWellFormed()).toBe(true);
          expect(bytesOf(row)).toBeGreaterThan(0);
          expect(bytesOf(row)).toBeLessThanOrEqual(rowBytes);
        }
      }),
      { seed: 301, numRuns: 2000 },
    );
  });

  test.each([
    ['', 4, []],
    ['abcd', 4, ['abcd']],
    ['abcde', 4, ['abcd', 'e']],
    ['abc😀', 4, ['abc', '😀']],
    ['😀😀', 7, ['😀', '😀']],
    ['ab€', 4, ['ab', '€']],
    ['éé€', 4, ['éé', '€']],
  ])('fills its rows: %j into %d bytes', (text, rowBytes, rows) => {
    expect(splitContent(text, rowBytes)).toEqual(rows);
  });

  test('keeps a document of usual size in one row', () => {
    const text = JSON.stringify({ annotations: { a: 'b'.repeat(100_000) } });
    expect(splitContent(text)).toEqual([text]);
  });

  test.each(['a', '€', '😀'])('cuts the largest manifest into rows that D1 accepts, made of %s', (character) => {
    const text = character.repeat(Math.floor(MAX_MANIFEST_BYTES / bytesOf(character)));
    const rows = splitContent(text);
    expect(rows.join('') === text).toBe(true);
    expect(Math.max(...rows.map(bytesOf))).toBeLessThan(D1_ROW);
    expect(rows).toHaveLength(5);
  });
});
