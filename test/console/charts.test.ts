import { html as rendered } from 'hono/html';
import { describe, expect, test } from 'vitest';
import { LagOverLastDay, quantile } from '../../src/console/charts/lag.tsx';
import { PullsOverLastDay } from '../../src/console/charts/pulls.tsx';
import { PushesOverLastDay } from '../../src/console/charts/pushes.tsx';
import { QueueFigures } from '../../src/console/charts/queue-figures.tsx';
import { placesAround, SystemMap } from '../../src/console/charts/system-map.tsx';
import { RepositoriesTreemap } from '../../src/console/charts/treemap.tsx';
import { UseOverTime } from '../../src/console/charts/use.tsx';
import { HOUR } from '../../src/durations.ts';
import { IDLE_QUEUE } from './support.ts';

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

  test('of pushes has those of nodes too, if all queues answer', async () => {
    const now = 500_000 * HOUR + HOUR / 2;
    const at = new Date(500_000 * HOUR).toISOString();
    const pushes = { hours: [{ at, manifests: 1234 }] };
    const series = { bucket_seconds: BOUNDS, hours: [{ at, manifests: 7 }], complete: true };
    const html = await htmlOf(PushesOverLastDay({ pushes, series, now } as never));
    expect([countIn(html, 'class="dot-1"'), countIn(html, 'class="dot-2"')]).toEqual([1, 1]);
    expect(html).toContain('<td>1,234</td><td>7</td>');
    const partly = await htmlOf(PushesOverLastDay({ pushes, series: { ...series, complete: false }, now } as never));
    expect(partly).toContain('<td>1,234</td><td>—</td>');
    expect(await htmlOf(PushesOverLastDay({ pushes: undefined, series: undefined, now }))).toContain('does not answer');
    expect(await htmlOf(PushesOverLastDay({ pushes: { hours: [] }, series: undefined, now }))).toContain('appear');
  });

  test('of the other figures of queues has a line or bars for each, and bytes held only if they are counted', async () => {
    const now = 500_000 * HOUR + HOUR / 2;
    const hour = {
      at: new Date(500_000 * HOUR).toISOString(),
      announce_seconds: { buckets: [1, 3, 3], count: 4, sum: 30 },
      settle_seconds: { buckets: [0, 0, 2], count: 2, sum: 9 },
      deletions: 7,
      copied_up_bytes: 5000,
      copied_down_bytes: 0,
      retries: 1234,
      held_bytes: null as number | null,
    };
    const figures = (hours: readonly object[]): Promise<string> =>
      htmlOf(QueueFigures({ series: { bucket_seconds: BOUNDS, hours, complete: true }, now } as never));
    const html = await figures([hour]);
    for (const cells of [
      '<td>≤ 1 s</td><td>1</td><td>0</td>',
      '<td>≤ 2 s</td><td>2</td><td>0</td>',
      '<td>≤ 10 s</td><td>0</td><td>2</td>',
      '<td>longer</td><td>1</td><td>0</td>',
      '<td>5.0 kB</td><td>0 B</td>',
      '<td>7</td><td>1,234</td>',
    ])
      expect(html).toContain(cells);
    expect([countIn(html, 'class="tile-1"'), countIn(html, 'class="tile-2"')]).toEqual([4, 4]);
    expect(html).not.toContain('Bytes held');
    expect(await figures([{ ...hour, held_bytes: 8_000_000 }])).toContain('<td>8.0 MB</td>');
    expect(await figures([])).toBe('');
  });

  test('of pulls has each hour, or says why there is none', async () => {
    const now = 500_000 * HOUR + HOUR / 2;
    const hours = [{ at: new Date(500_000 * HOUR).toISOString(), pulls: 4321 }];
    const html = await htmlOf(PullsOverLastDay({ pulls: { counted: true, hours }, now }));
    expect([countIn(html, 'class="dot-1"'), countIn(html, '<td>0</td>')]).toEqual([24, 23]);
    expect(html).toContain('<td>4,321</td>');
    expect(await htmlOf(PullsOverLastDay({ pulls: { counted: false, hours: [] }, now }))).toContain(
      'no ANALYTICS_TOKEN',
    );
    expect(await htmlOf(PullsOverLastDay({ pulls: undefined, now }))).toContain('does not answer');
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

describe('the map', () => {
  const queue = (store: string, fields: object = {}) => ({ ...IDLE_QUEUE, store, ...fields });

  test.each([1, 2, 3, 6, 7, 20, 36, 100])('leaves room between %i nodes and central', (count) => {
    const all = [[0, 0] as const, ...placesAround(count)];
    expect(all).toHaveLength(count + 1);
    for (const [i, [x, y]] of all.entries())
      for (const [otherX, otherY] of all.slice(i + 1))
        expect(Math.abs(x - otherX) > 110 || Math.abs(y - otherY) > 60).toBe(true);
  });

  test.each([
    ['in step', {}, 'good', '✓ ok'],
    ['announcing', { depth: 12_345, oldest_outbox_entry_seconds: 200 }, 'busy', '↑ working'],
    ['copying up', { copies_up: { blobs: 1, bytes: 1, complete: true } }, 'busy', '↑ working'],
    ['copying down', { copies_down: 1 }, 'busy', '↑ working'],
    ['paused', { paused: true, depth: 3 }, 'bad', '‖ paused'],
    ['with parked jobs', { parked: 2 }, 'bad', '! 2 parked'],
    ['without an answer', { answers: false }, 'bad', '? no answer'],
  ])('says in words and by its line that a node is %s', async (_, fields, health, state) => {
    const html = await htmlOf(SystemMap({ queues: [queue('fra', fields)] }));
    expect(html).toContain(`<g class="site ${health}">`);
    expect(html).toContain(`>${state}</text>`);
    expect(html).toContain(`<line class="link-${{ good: 1, busy: 2, bad: 3 }[health]}"`);
  });

  test('shows how much waits, for how long, and what central lacks', async () => {
    const waiting = { depth: 12_345, oldest_outbox_entry_seconds: 600, copies_up: { blobs: 7, bytes: 1 } };
    const html = await htmlOf(SystemMap({ queues: [queue('a-node-with-a-long-name', waiting)] as never }));
    for (const text of ['a-node-with-a…', '12K wait, 10 min', 'lacks 7 blobs']) expect(html).toContain(text);
  });

  test('is shown without nodes, and while central does not answer', async () => {
    expect(await htmlOf(SystemMap({ queues: [] }))).toContain('Map: central, without nodes');
    const html = await htmlOf(SystemMap({ queues: [queue('fra', { copies_up: null })] }));
    expect(html).toContain('aria-label="Map: central and its nodes, 1 in step, 0 announcing or copying, 0 stopped"');
    expect(html).toContain('<g class="site bad">');
  });

  test('of 100 nodes is at most 60 kB', async () => {
    const queues = Array.from({ length: 100 }, (_, i) => queue(`node-${i}`, { depth: 100_000 }));
    const html = await htmlOf(SystemMap({ queues }));
    expect(countIn(html, '<rect')).toBe(101);
    expect(html.length).toBeLessThan(60_000);
  });
});
