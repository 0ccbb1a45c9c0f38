/** Range headers around the size of the content. */
import * as fc from 'fast-check';
import { headerText } from './headers.ts';

/** Sizes of the blobs that are downloaded. */
export const SIZES = [0, 1, 2, 17, 1000] as const;

const position = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...SIZES), fc.integer({ min: -2, max: 2 }))
      .map(([size, by]) => Math.max(0, size + by)),
  },
  { weight: 2, arbitrary: fc.nat(1100) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53 - 1, 999_999_999_999_999) },
);

const digits = fc.oneof(
  { weight: 8, arbitrary: position.map(String) },
  { weight: 1, arbitrary: fc.constantFrom('00', '007', '9'.repeat(16), '9'.repeat(40)) },
);

const oneRange = fc.oneof(
  fc.tuple(digits, digits).map(([first, last]) => `${first}-${last}`),
  digits.map((first) => `${first}-`),
  digits.map((last) => `-${last}`),
);

export const rangeHeader = fc.oneof(
  { weight: 12, arbitrary: oneRange.map((range) => `bytes=${range}`) },
  { weight: 1, arbitrary: fc.tuple(oneRange, oneRange).map(([a, b]) => `bytes=${a},${b}`) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('Bytes=', 'bytes =', 'bytes= ', 'bytes:', 'bytes ', '', 'items=', 'none'), oneRange)
      .map((pair) => pair.join('')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      '-',
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=--1',
      'bytes=1.5-2',
      'bytes=a-b',
      'bytes=+1-2',
      'bytes=0-0-0',
      'bytes=0x1-0x2',
      '=',
    ),
  },
  { weight: 1, arbitrary: headerText },
);
