/** The lag of the nodes over the last day. */
import type { FC } from 'hono/jsx';
import type { HourOfQueue, QueueSeries } from '../answers.ts';
import { counted, inUnits, Table, Time } from '../components.tsx';
import { byTheHour, lastDay, middleOf, OverLastDay } from './by-the-hour.tsx';
import { LineChart, type Point } from './line-chart.tsx';

/** The lines show the time within which this share of announcements and blobs was done. */
const SHARE = 0.95;

type Histogram = HourOfQueue['announce_seconds'];

/**
 * The lag by the hour.
 * @param series undefined if it could not be read in time
 * @param now in milliseconds since the epoch
 */
export const LagOverLastDay: FC<{ series: QueueSeries | undefined; now: number }> = ({ series, now }) => {
  const { hours, bucket_seconds: bounds, complete } = series ?? { hours: [], bucket_seconds: [], complete: false };
  const points = (of: (hour: HourOfQueue) => Histogram): Point[] =>
    byTheHour(hours, now).map(([at, hour]) => [middleOf(at, now), hour && quantile(of(hour), bounds, SHARE)]);
  const shown = (histogram: Histogram): string => {
    const value = quantile(histogram, bounds, SHARE);
    return value === undefined ? '—' : formatSeconds(value);
  };
  return (
    <OverLastDay of="Lag">
      {!complete && <p class="problem">A queue does not answer, so its figures are missing.</p>}
      {hours.length === 0 && complete && (
        <p class="empty">Nothing has been announced or copied in the last day. Push an image to a node.</p>
      )}
      {hours.length > 0 && (
        <LineChart
          title="Lag by the hour: 95 % of announcements, and of copies to central, took at most this long"
          lines={[
            { name: 'From a push until central knows of it', points: points((hour) => hour.announce_seconds) },
            { name: 'From then until central has its bytes', points: points((hour) => hour.settle_seconds) },
          ]}
          {...lastDay(now)}
          scale="logarithmic"
          values={[0.01, 1]}
          format={formatSeconds}
          table={
            <Table
              caption="Lag by the hour"
              columns={[
                'Hour',
                'Pushes',
                '95 % announced in',
                'Blobs settled',
                '95 % settled in',
                'Deletions',
                'Up',
                'Down',
                'Retries',
              ]}
              rows={hours
                .toReversed()
                .map((hour) => [
                  <Time at={hour.at} />,
                  counted(hour.manifests),
                  shown(hour.announce_seconds),
                  counted(hour.settled),
                  shown(hour.settle_seconds),
                  counted(hour.deletions),
                  inUnits(hour.copied_up_bytes),
                  inUnits(hour.copied_down_bytes),
                  counted(hour.retries),
                ])}
              empty=""
            />
          }
        />
      )}
    </OverLastDay>
  );
};

/**
 * Estimates the value that a share of all values does not exceed, as if each bucket's values were spread evenly.
 * Returns undefined if there are no values, and the last bound if the value is beyond it.
 */
export function quantile({ buckets, count }: Histogram, bounds: readonly number[], share: number): number | undefined {
  if (count === 0) return undefined;
  const wanted = share * count;
  const bucket = buckets.findIndex((within) => within >= wanted);
  if (bucket < 0) return bounds.at(-1);
  const [below, least] = bucket === 0 ? [0, 0] : [buckets[bucket - 1] ?? 0, bounds[bucket - 1] ?? 0];
  const inBucket = (buckets[bucket] ?? 0) - below;
  return least + (((bounds[bucket] ?? 0) - least) * (wanted - below)) / inBucket;
}

export function formatSeconds(seconds: number): string {
  return seconds < 120 ? `${Number(seconds.toPrecision(2))} s` : `${Math.round(seconds / 60)} min`;
}
