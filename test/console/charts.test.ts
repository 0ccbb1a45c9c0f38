import { html as rendered } from 'hono/html';
import { describe, expect, test } from 'vitest';
import { LagOverLastDay, quantile } from '../../src/console/charts/lag.tsx';
import { RepositoriesTreemap } from '../../src/console/charts/treemap.tsx';
import { UseOverTime } from '../../src/console/charts/use.tsx';
import { HOUR } from '../../src/durations.ts';

const BOUNDS = [1, 2, 10];

test.each([
  ['none', [0, 0, 0], 0, undefined],
  ['all in the first bucket', [10, 10, 10], 10, 0.95],
  ['most in a later bucket', [0, 100, 100], 100, 1.95],
  ['the slowest in the last bucket', [90, 90, 100], 100, 6],
  ['some beyond the last bound', [0, 0, 10], 100, 10],
])('the bound of 95 in 100 values: %s', (_, buckets, count, expected) => {
  expect(quantile({ buckets, count, sum: 0 }, BOUNDS, 0.95)).toEqual(expected);
});

/** Renders a component. */
const htmlOf = async (node: unknown): Promise<string> => (await rendered`${node}`).toString();

/** Returns how often a text is in another. */
const countIn = (html: string, text: string): number => html.split(text).length - 1;

describe('a chart', () => {
  test('of lag leaves gaps for hours without activity, and lists the others', async () => {
    const now = 500_000 * HOUR + HOUR / 2;
    const histogram = { buckets: [4, 4, 4], count: 4, sum: 2 };
    const hourOf = (ago: number) => ({
      at: new Date(500_000 * HOUR - ago * HOUR).toISOString(),
      manifests: 2,
      announced: 4,
      announce_seconds: histogram,
      settled: 0,
      settle_seconds: { buckets: [0, 0, 0], count: 0, sum: 0 },
      deletions: 0,
      copied_up_bytes: 5000,
      copied_down_bytes: 0,
      retries: 0,
      held_bytes: null,
    });
    const series = { bucket_seconds: BOUNDS, hours: [5, 1, 0].map(hourOf), complete: true };
    const html = await htmlOf(LagOverLastDay({ series, now }));
    expect([countIn(html, 'class="dot-1"'), countIn(html, 'class="dot-2"'), countIn(html, '<tr>')]).toEqual([3, 0, 4]);
    // Two lines: one of the hour five hours ago alone, and one of the last two hours.
    expect(/class="line line-1" d="([^"]*)"/.exec(html)?.[1]?.match(/M/g)).toHaveLength(2);
    expect(html).toContain('0.95 s');
  });

  test('says which figures are missing, or that there are none', async () => {
    const series = { bucket_seconds: BOUNDS, hours: [], complete: true };
    expect(await htmlOf(LagOverLastDay({ series, now: 0 }))).toContain('Nothing has been announced');
    expect(await htmlOf(LagOverLastDay({ series: undefined, now: 0 }))).toContain('does not answer');
    expect(await htmlOf(UseOverTime({ days: [] }))).toContain('tomorrow');
  });

  test('of use has a line for the quota if there was one', async () => {
    const day = (used: number, quota: number | null) => ({ day: `2026-11-0${used}`, used, quota });
    const html = await htmlOf(UseOverTime({ days: [day(1, null), day(2, 7), day(3, 7)] }));
    expect([countIn(html, 'class="dot-1"'), countIn(html, 'class="dot-2"')]).toEqual([3, 2]);
    expect(await htmlOf(UseOverTime({ days: [day(1, null)] }))).not.toContain('lines-2');
  });

  test('of repositories has a tile for each, as large as its share', async () => {
    const repositories = [
      { name: 'alice/app', bytes: 900, unshared: 150, share: 300 },
      { name: 'alice/empty', bytes: 0, unshared: 0, share: 0 },
      { name: 'alice/x', bytes: 100, unshared: 100, share: 100 },
    ];
    const usage = { measured_at: '2026-12-01T00:00:00Z', repositories, others: { repositories: 0, bytes: 0 } };
    const html = await htmlOf(RepositoriesTreemap({ usage, organization: 'alice' }));
    const areas = [...html.matchAll(/class="tile-2"[^>]* width="([\d.]+)" height="([\d.]+)"/g)].map(
      ([, width, height]) => Number(width) * Number(height),
    );
    expect(areas).toHaveLength(2);
    expect(areas[0]! / areas[1]!).toBeCloseTo(3, 0);
    const heights = [...html.matchAll(/class="tile-[12]"[^>]* height="([\d.]+)"/g)].map(([, height]) => Number(height));
    expect(heights[1]).toBeCloseTo(heights[0]! / 2, 0);
    expect(html).toContain('href="/images/alice/app"');
  });
});
