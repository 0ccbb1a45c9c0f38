/** The hourly figures of queues besides the lag: bytes, deletions, failed attempts, and how the lag was spread. */
import type { FC } from 'hono/jsx';
import type { HourOfQueue, QueueSeries } from '../answers.ts';
import { counted, inUnits, Table, Time } from '../components.tsx';
import { HOUR } from '../../durations.ts';
import { Histograms } from './histograms.tsx';
import { byTheHour, lastDay, LineChart, type Point } from './line-chart.tsx';

/** A line over the last day. Hours without figures count as `none`; undefined leaves a gap. */
interface Figure {
  readonly name: string;
  readonly of: (hour: HourOfQueue) => number | null;
  readonly none: 0 | undefined;
}

const COPIED: readonly Figure[] = [
  { name: 'Up, to central', of: (hour) => hour.copied_up_bytes, none: 0 },
  { name: 'Down, to nodes', of: (hour) => hour.copied_down_bytes, none: 0 },
];
const EVENTS: readonly Figure[] = [
  { name: 'Deletions applied', of: (hour) => hour.deletions, none: 0 },
  { name: 'Failed attempts', of: (hour) => hour.retries, none: 0 },
];
const HELD: readonly Figure[] = [{ name: 'Held', of: (hour) => hour.held_bytes, none: undefined }];

interface QueueFiguresProps {
  readonly series: QueueSeries | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The charts; nothing if there are no figures, which the chart of the lag says already. */
export const QueueFigures: FC<QueueFiguresProps> = ({ series, now }) => {
  if (series === undefined || series.hours.length === 0) return <></>;
  const { hours, bucket_seconds: bounds } = series;
  return (
    <>
      <section>
        <h2>Spread of the lag over the last day</h2>
        <Histograms
          title="Announcements and copies to central by the time that they took"
          bounds={bounds}
          of={[
            { name: 'Announced', histograms: hours.map((hour) => hour.announce_seconds) },
            { name: 'Settled', histograms: hours.map((hour) => hour.settle_seconds) },
          ]}
        />
      </section>
      <Lines name="Bytes copied" figures={COPIED} {...{ hours, now }} format={inUnits} />
      <Lines name="Deletions and failures" figures={EVENTS} {...{ hours, now }} format={counted} />
      {hours.some(({ held_bytes: held }) => held !== null) && (
        <Lines name="Bytes held" figures={HELD} {...{ hours, now }} format={inUnits} />
      )}
    </>
  );
};

interface LinesProps {
  readonly name: string;
  readonly figures: readonly Figure[];
  readonly hours: readonly HourOfQueue[];
  readonly now: number;
  readonly format: (value: number) => string;
}

const Lines: FC<LinesProps> = ({ name, figures, hours, now, format }) => {
  const rows = byTheHour(hours, now).map(([at, hour]) => ({
    at,
    values: figures.map(({ of, none }) => (hour === undefined ? none : (of(hour) ?? undefined))),
  }));
  const points = (i: number): Point[] => rows.map(({ at, values }) => [Math.min(at + HOUR / 2, now), values[i]]);
  return (
    <section>
      <h2>{name} over the last day</h2>
      <LineChart
        title={`${name} over the last day, by the hour`}
        lines={figures.map((figure, i) => ({ name: figure.name, points: points(i) }))}
        {...lastDay(now)}
        scale="linear"
        values={[0, 4]}
        format={format}
        table={
          <Table
            caption={`${name} by the hour`}
            columns={['Hour', ...figures.map((figure) => figure.name)]}
            rows={rows.toReversed().map(({ at, values }) => {
              const shown = values.map((value) => (value === undefined ? '—' : format(value)));
              return [[<Time at={new Date(at).toISOString()} />], shown].flat();
            })}
            empty=""
          />
        }
      />
    </section>
  );
};
