import { describe, expect, test } from 'vitest';
import type { Queue } from '../../cli/src/answers.ts';
import { overview } from '../../cli/src/commands/status.ts';
import { bytes } from '../../cli/src/commands/quota.ts';
import { seconds } from '../../cli/src/options.ts';
import { digestFor, duration, fields, harmless, size, table, time } from '../../cli/src/terminal.ts';

const PIPE = { isTerminal: false, hasColors: false };
const TERMINAL = { isTerminal: true, hasColors: true };

interface Row {
  readonly name: string;
  readonly count: number;
}
const ROWS: readonly Row[] = [
  { name: 'a', count: 5 },
  { name: 'longer', count: 1234 },
];
const COLUMNS = {
  NAME: ({ name }: Row) => name,
  'COUNT>': ({ count }: Row) => count,
  STATE: ({ count }: Row) => (count > 9 ? ({ text: 'many', tone: 'bad' } as const) : null),
};

describe('a table', () => {
  test('aligns its columns, numbers to the right, without spaces at the end', () => {
    expect(table(ROWS, COLUMNS, PIPE)).toBe(
      ['NAME    COUNT  STATE', 'a           5  -', 'longer   1234  many', ''].join('\n'),
    );
  });

  test('has colors on a terminal', () => {
    expect(table(ROWS, COLUMNS, TERMINAL)).toContain('\u{1b}[31mmany\u{1b}[39m');
    expect(table(ROWS, COLUMNS, { ...TERMINAL, hasColors: false })).not.toContain('\u{1b}');
  });

  test('does not pass on control characters from a registry', () => {
    const evil = 'a\u{1b}]0;owned\u{7}\r\nb\u{9b}31m';
    const harmlessText = 'a\u{fffd}]0;owned\u{fffd}\u{fffd}\u{fffd}b\u{fffd}31m';
    expect(harmless(evil)).toBe(harmlessText);
    expect(table([evil], { NAME: (name) => name }, TERMINAL)).toContain(harmlessText);
    expect(fields({ Name: evil }, PIPE)).toBe(`Name:  ${harmlessText}\n`);
  });
});

test('a digest is short on a terminal and whole elsewhere', () => {
  const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
  expect(digestFor(digest, TERMINAL)).toBe('sha256:0123456789ab');
  expect(digestFor(digest, PIPE)).toBe(digest);
});

test('sizes have decimal units, durations their largest unit', () => {
  expect([0, 999, 1000, 999_949, 999_950, 12_345_678, 5e15].map(size)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '999.9 kB',
    '1.0 MB',
    '12.3 MB',
    '5.0 PB',
  ]);
  expect([0, 90, 600, 7200, 200_000].map(duration)).toEqual(['0 s', '90 s', '10 min', '2 h', '2 d']);
});

test('times are short, and in the local time zone', () => {
  expect(time(new Date(2026, 10, 3, 4, 5, 6).toISOString())).toBe('2026-11-03 04:05');
});

test('sizes and durations of arguments are read as they are usually written', () => {
  expect(['10GB', '1.5gb', '64MiB', '100', 'none'].map(bytes)).toEqual([1e10, 1.5e9, 2 ** 26, 100, null]);
  expect(['90', '90s', '10m', '1h', '7d'].map(seconds)).toEqual([90, 90, 600, 3600, 604_800]);
  for (const wrong of ['', '10 G', '-1', '1e3', '99999999TB']) expect(() => bytes(wrong), wrong).toThrow('10GB');
  for (const wrong of ['', 's', '1w', '1.5h']) expect(() => seconds(wrong), wrong).toThrow('90s');
});

describe('the overview of a deployment', () => {
  const health = { database: 'ok', bucket: 'ok', missing_migrations: [] as string[] } as const;
  const queue: Queue = {
    store: 'fra',
    answers: true,
    depth: 0,
    oldest_outbox_entry_seconds: null,
    in_flight: 0,
    copies_down: 0,
    parked: 0,
    paused: false,
    copies_up: { blobs: 0, bytes: 0, complete: true },
    change_log: [{ store: 'fra', position: 5, behind: 0, seconds_since: 3 }],
  };
  const lineOf = (changes: Partial<Queue>, store: object = {}): string[] => {
    const deployment = { registries: [], secrets: [], console: [], stores: [{ store: 'fra', ...health, ...store }] };
    const [, line = ''] = overview({ deployment, queues: [{ ...queue, ...changes }] }, PIPE).split('\n');
    return line.split(/ {2,}/);
  };

  test('shows that all is well', () => {
    expect(lineOf({})).toEqual(['fra', 'ok', 'none', '0', '0 B', '0', '0', '0']);
  });

  test('shows waiting work and faults', () => {
    const copies_up = { blobs: 2, bytes: 5e6, complete: false };
    expect(lineOf({ depth: 7, oldest_outbox_entry_seconds: 400, copies_up })).toEqual([
      'fra',
      'ok',
      '7 min',
      '7',
      '5.0 MB or more',
      '0',
      '0',
      '0',
    ]);
    expect(lineOf({ answers: false }).slice(0, 4)).toEqual(['fra', 'queue away', '-', '-']);
    const late = { position: 5, behind: 9, seconds_since: 900 };
    expect(lineOf({ change_log: [{ ...late, store: 'fra' }] })[6]).toBe('9, heard 15 min ago');
    expect(lineOf({ change_log: [...queue.change_log, { ...late, store: 'ams' }] })[6]).toBe('0');
    expect(lineOf({ change_log: [] })[6]).toBe('never heard');
    expect(lineOf({ copies_up: null, change_log: [] }).slice(4)).toEqual(['-', '0', '-', '0']);
    expect(lineOf({}, { database: 'unavailable', missing_migrations: null })[1]).toBe('database away');
    expect(lineOf({}, { missing_migrations: ['0002_x.sql'] })[1]).toBe('lacks migrations');
  });
});
