import { expect, test } from 'vitest';
import { quantile } from '../../src/console/charts/lag.tsx';

const BOUNDS = [1, 2, 10];

test.each([
  ['none', [0, 0, 0], 0, undefined],
  ['all in the first bucket', [10, 10, 10], 10, 0.95],
  ['most in a later bucket', [0, 100, 100], 100, 1.95],
  ['the slowest in the last bucket', [90, 90, 100], 100, 6],
  ['some beyond the last bound', [0, 0, 10], 100, 10],
])('95 %% of values are within: %s', (_, buckets, count, expected) => {
  expect(quantile({ buckets, count, sum: 0 }, BOUNDS, 0.95)).toEqual(expected);
});
