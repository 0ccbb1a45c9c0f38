/** Figures of the last day, hour by hour. */
import type { Child, FC } from 'hono/jsx';
import { HOUR } from '../../durations.ts';
import { Table, Time } from '../components.tsx';
import { LineChart, type Point } from './line-chart.tsx';

const HOURS = 24;

/** Returns the time axis of a chart of the last day. @param now in milliseconds since the epoch */
export function lastDay(now: number) {
  const times = [24, 18, 12, 6, 0].map((ago) => [now - ago * HOUR, ago === 0 ? 'now' : `${ago} h ago`] as const);
  return { from: now - HOURS * HOUR, to: now, times };
}

/** Returns every hour of the last day, with its figures if there are any. */
export function byTheHour<Hour extends { readonly at: string }>(
  hours: readonly Hour[],
  now: number,
): [at: number, hour: Hour | undefined][] {
  const known = new Map(hours.map((hour) => [Date.parse(hour.at), hour]));
  const current = now - (now % HOUR);
  return Array.from({ length: HOURS }, (_, i) => current - (HOURS - 1 - i) * HOUR).map((at) => [at, known.get(at)]);
}

/** Returns the place of an hour's figures on the time axis: its middle, or now. */
export function middleOf(at: number, now: number): number {
  return Math.min(at + HOUR / 2, now);
}

/** A part of a page about the last day. */
export const OverLastDay: FC<{ of: string; children?: Child }> = ({ of, children }) => (
  <section>
    <h2>{of} over the last day</h2>
    {children}
  </section>
);

interface HourlyLinesProps {
  readonly title: string;
  readonly caption: string;
  /** The names of at most two lines. */
  readonly names: readonly string[];
  /** The values of an hour, one for each line; undefined for one that is not known. The oldest hour comes first. */
  readonly hours: readonly (readonly [at: number, values: readonly (number | undefined)[]])[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly format: (value: number) => string;
}

/** A line for each figure, and the figures as a table. */
export const HourlyLines: FC<HourlyLinesProps> = ({ title, caption, names, hours, now, format }) => (
  <LineChart
    title={title}
    lines={names.map((name, i) => ({
      name,
      points: hours.map(([at, values]): Point => [middleOf(at, now), values[i]]),
    }))}
    {...lastDay(now)}
    scale="linear"
    values={[0, 4]}
    format={format}
    table={
      <Table
        caption={caption}
        columns={['Hour', ...names]}
        rows={hours
          .toReversed()
          .map(([at, values]) =>
            [at, ...values].map((value, i) =>
              i === 0 ? <Time at={new Date(at).toISOString()} /> : value === undefined ? '—' : format(value),
            ),
          )}
        empty=""
      />
    }
  />
);
