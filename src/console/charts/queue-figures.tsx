/** The hourly figures of queues besides the lag: bytes, deletions, failed attempts, and how the lag was spread. */
import type { FC } from 'hono/jsx';
import type { HourOfQueue, QueueSeries } from '../answers.ts';
import { counted, inUnits } from '../components.tsx';
import { byTheHour, HourlyLines, OverLastDay } from './by-the-hour.tsx';
import { Histograms } from './histograms.tsx';

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
      <OverLastDay of="Spread of the lag">
        <Histograms
          title="Announcements and copies to central by the time that they took"
          bounds={bounds}
          of={[
            { name: 'Announced', histograms: hours.map((hour) => hour.announce_seconds) },
            { name: 'Settled', histograms: hours.map((hour) => hour.settle_seconds) },
          ]}
        />
      </OverLastDay>
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

const Lines: FC<LinesProps> = ({ name, figures, hours, now, format }) => (
  <OverLastDay of={name}>
    <HourlyLines
      title={`${name} over the last day, by the hour`}
      caption={`${name} by the hour`}
      names={figures.map((figure) => figure.name)}
      hours={byTheHour(hours, now).map(([at, hour]) => [
        at,
        figures.map(({ of, none }) => (hour === undefined ? none : (of(hour) ?? undefined))),
      ])}
      now={now}
      format={format}
    />
  </OverLastDay>
);
