/** The pushes of the last day: the manifests that were new to central, and how many of them nodes announced. */
import type { FC } from 'hono/jsx';
import type { PushesByHour, QueueSeries } from '../answers.ts';
import { counted } from '../components.tsx';
import { HourlyLines, OverLastDay } from './by-the-hour.tsx';

interface PushesProps {
  /** Undefined if central did not answer in time. */
  readonly pushes: PushesByHour | undefined;
  /** Undefined if it could not be read. */
  readonly series: QueueSeries | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export const PushesOverLastDay: FC<PushesProps> = ({ pushes, series, now }) => (
  <OverLastDay of="Pushes">
    {pushes === undefined ? (
      <p class="problem">Central does not answer, so its figures are missing.</p>
    ) : pushes.hours.length === 0 ? (
      <p class="empty">Pushes are counted by the hour. The first figures appear within two minutes.</p>
    ) : (
      <HourlyLines
        title="Pushes by the hour: manifests that were new to central, and those of them that nodes announced"
        caption="Pushes by the hour"
        names={['New at central', 'Announced by nodes']}
        hours={hoursOf(pushes, series)}
        now={now}
        format={counted}
      />
    )}
  </OverLastDay>
);

function hoursOf({ hours }: PushesByHour, series: QueueSeries | undefined) {
  const announced = new Map((series?.hours ?? []).map(({ at, manifests }) => [Date.parse(at), manifests]));
  // Without the figures of all queues, nobody knows how many nodes announced.
  const known = (at: number): number | undefined => (series?.complete === true ? (announced.get(at) ?? 0) : undefined);
  return hours.map(({ at, manifests }) => {
    const start = Date.parse(at);
    return [start, [manifests, known(start)]] as const;
  });
}
