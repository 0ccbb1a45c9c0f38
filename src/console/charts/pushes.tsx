/** The pushes of the last day: what was new to central, and what of it nodes announced. */
import type { FC } from 'hono/jsx';
import type { PushesByHour, QueueSeries } from '../answers.ts';
import { counted, Table, Time } from '../components.tsx';
import { HOUR } from '../../durations.ts';
import { lastDay, LineChart, type Point } from './line-chart.tsx';

interface PushesProps {
  /** Undefined if central did not answer in time. */
  readonly pushes: PushesByHour | undefined;
  /** Undefined if it could not be read. */
  readonly series: QueueSeries | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export const PushesOverLastDay: FC<PushesProps> = ({ pushes, series, now }) => {
  if (pushes === undefined)
    return (
      <PushesSection>
        <p class="problem">Central does not answer, so its figures are missing.</p>
      </PushesSection>
    );
  if (pushes.hours.length === 0)
    return (
      <PushesSection>
        <p class="empty">Pushes are counted by the hour. The first figures appear within two minutes.</p>
      </PushesSection>
    );
  const announced = new Map((series?.hours ?? []).map(({ at, manifests }) => [Date.parse(at), manifests]));
  const rows = pushes.hours.map(({ at, manifests }) => ({
    at,
    manifests,
    announced: series?.complete === true ? (announced.get(Date.parse(at)) ?? 0) : undefined,
  }));
  const points = (of: (row: (typeof rows)[number]) => number | undefined): Point[] =>
    rows.map((row) => [Math.min(Date.parse(row.at) + HOUR / 2, now), of(row)]);
  return (
    <PushesSection>
      <LineChart
        title="Pushes by the hour: manifests that were new to central, and those of them that nodes announced"
        lines={[
          { name: 'New at central', points: points(({ manifests }) => manifests) },
          { name: 'Announced by nodes', points: points((row) => row.announced) },
        ]}
        {...lastDay(now)}
        scale="linear"
        values={[0, 4]}
        format={counted}
        table={
          <Table
            caption="Pushes by the hour"
            columns={['Hour', 'New at central', 'Announced by nodes']}
            rows={rows
              .toReversed()
              .map((row) => [
                <Time at={row.at} />,
                counted(row.manifests),
                row.announced === undefined ? '?' : counted(row.announced),
              ])}
            empty=""
          />
        }
      />
    </PushesSection>
  );
};

const PushesSection: FC = ({ children }) => (
  <section>
    <h2>Pushes over the last day</h2>
    {children}
  </section>
);
