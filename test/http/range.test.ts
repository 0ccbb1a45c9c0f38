import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseChunkStart, parseRange } from '../../src/http/range.ts';
import type { ByteRange } from '../../src/registry/registry.ts';

/** Returns which of `size` bytes a range selects, testing each position alone (RFC 9110 §14.1.2). */
function selected(size: number, wanted: (position: number) => boolean): number[] {
  return Array.from({ length: size }, (_, position) => position).filter(wanted);
}

function positionsOf({ offset, length }: ByteRange): number[] {
  return Array.from({ length }, (_, i) => offset + i);
}

const unsatisfiable = (size: number) =>
  expect.objectContaining({
    kind: 'RANGE_UNSATISFIABLE',
    status: 416,
    detail: { size },
    headers: { 'Content-Range': `bytes */${size}` },
  });

const refusal = (detail: object) => expect.objectContaining({ kind: 'CONTENT_RANGE_INVALID', status: 400, detail });

describe('parseRange', () => {
  test('selects the bytes that a naive reader would, and refuses to select none', () => {
    const request = fc.record({
      size: fc.nat(20),
      first: fc.nat(25),
      last: fc.nat(25),
      form: fc.constantFrom('a-b', 'a-', '-n'),
    });
    fc.assert(
      fc.property(request, ({ size, first, last, form }) => {
        const header = `bytes=${form === '-n' ? '' : first}-${form === 'a-' ? '' : last}`;
        const positions = selected(size, (position) => {
          if (form === '-n') return position >= size - last;
          return position >= first && (form === 'a-' || position <= last);
        });
        if (positions.length === 0) expect(() => parseRange(header, size)).toThrow(unsatisfiable(size));
        else expect(positionsOf(parseRange(header, size)!)).toEqual(positions);
      }),
      { seed: 201, numRuns: 3000 },
    );
  });

  test.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=0-99', { offset: 0, length: 100 }],
    ['bytes=99-', { offset: 99, length: 1 }],
    ['bytes=-1', { offset: 99, length: 1 }],
    ['bytes=-1000', { offset: 0, length: 100 }],
    ['bytes=10-9999999999999999', { offset: 10, length: 90 }],
    ['bytes=50-9223372036854775807', { offset: 50, length: 50 }],
    ['bytes=-9223372036854775807', { offset: 0, length: 100 }],
    [`bytes=10-${'9'.repeat(400)}`, { offset: 10, length: 90 }],
    ['Bytes=10-19', { offset: 10, length: 10 }],
    ['bytes= 0-9', { offset: 0, length: 10 }],
  ])('of 100 bytes reads %s', (header, range) => {
    expect(parseRange(header, 100)).toEqual(range);
  });

  test.each([
    'bytes=100-',
    'bytes=100-200',
    'bytes=500-0',
    'bytes=5-4',
    'bytes=-0',
    'bytes=9999999999999999-',
    'bytes=9223372036854775807-',
    'bytes=9223372036854775807-9223372036854775807',
  ])('of 100 bytes refuses %s', (header) => {
    expect(() => parseRange(header, 100)).toThrow(unsatisfiable(100));
  });

  test('of an empty blob refuses every range', () => {
    expect(() => parseRange('bytes=0-', 0)).toThrow(unsatisfiable(0));
    expect(() => parseRange('bytes=-5', 0)).toThrow(unsatisfiable(0));
  });

  test.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'items=0-5',
    'bytes=0-1,5-6',
    'bytes=--5',
    'bytes=1.5-2',
    '0-5',
  ])('returns the whole blob when %j is not one range of bytes', (header) => {
    expect(parseRange(header, 100)).toBeUndefined();
  });
});

describe('parseChunkStart', () => {
  test('appends without a Content-Range', () => {
    expect(parseChunkStart(undefined, 10)).toBeUndefined();
    expect(parseChunkStart(undefined, undefined)).toBeUndefined();
  });

  test('returns the start of a chunk whose length matches its range, and refuses all others', () => {
    const chunk = fc.record({ start: fc.nat(30), end: fc.nat(30), length: fc.integer({ min: 1, max: 31 }) });
    fc.assert(
      fc.property(chunk, ({ start, end, length }) => {
        const header = `${start}-${end}`;
        const agrees = selected(31, (position) => position >= start && position <= end).length === length;
        if (agrees) expect(parseChunkStart(header, length)).toBe(start);
        else
          expect(() => parseChunkStart(header, length)).toThrow(
            refusal({ contentRange: header, contentLength: length }),
          );
      }),
      { seed: 202, numRuns: 3000 },
    );
  });

  test.each([
    ['0-9', 0],
    ['5-14', 5],
    [' 5-14 ', 5],
    ['bytes 5-14', 5],
    ['bytes=5-14', 5],
    ['bytes 5-14/20', 5],
    ['bytes 5-14/*', 5],
    ['999999999999990-999999999999999', 999_999_999_999_990],
  ])('reads %j for a chunk of 10 bytes, or of unknown length', (header, start) => {
    expect(parseChunkStart(header, 10)).toBe(start);
    expect(parseChunkStart(header, undefined)).toBe(start);
  });

  test.each([
    '',
    '5',
    '5-',
    '-5',
    'a-b',
    '0-9,10-19',
    '0--1',
    '+0-9',
    '0x0-0x9',
    '1e1-19',
    '0 - 9',
    'items 0-9',
    '0-9/x',
  ])('refuses %j', (header) => {
    expect(() => parseChunkStart(header, undefined)).toThrow(refusal({ contentRange: header }));
  });

  test('accepts a start that is too large for a number, so that the client learns where to continue', () => {
    expect(parseChunkStart('9223372036854775807-9223372036854775816', 10)).toBe(Number.MAX_SAFE_INTEGER);
    expect(parseChunkStart('0-9999999999999999', undefined)).toBe(0);
    expect(() => parseChunkStart('0-9223372036854775807', 10)).toThrow(
      refusal({ contentRange: '0-9223372036854775807', contentLength: 10 }),
    );
    expect(() => parseChunkStart('9223372036854775807-0', undefined)).toThrow(
      refusal({ contentRange: '9223372036854775807-0' }),
    );
  });

  test('refuses a range that ends before it starts, whatever the length of the body', () => {
    expect(() => parseChunkStart('9-0', undefined)).toThrow(refusal({ contentRange: '9-0', contentLength: undefined }));
    expect(() => parseChunkStart('9-0', 10)).toThrow(refusal({ contentRange: '9-0', contentLength: 10 }));
  });

  test('repeats at most 100 characters of the header', () => {
    expect(() => parseChunkStart('9'.repeat(5000), 1)).toThrow(
      refusal({ contentRange: '9'.repeat(100), contentLength: 1 }),
    );
  });
});
