/** The pulls of the last day, if the deployment can read them back. */
import type { FC } from 'hono/jsx';
import type { PullsByHour } from '../answers.ts';
import { counted, Table, Time } from '../components.tsx';
import { HOUR } from '../../durations.ts';
import { byTheHour, lastDay, LineChart, type Point } from './line-chart.tsx';

/** Says that pulls cannot be shown, and what shows them. */
export const NO_PULLS = 'Pulls are not shown, because this deployment has no ANALYTICS_TOKEN to read them with.';

/**
 * The pulls by the hour.
 * @param pulls undefined if Analytics Engine did not answer in time
 * @param now in milliseconds since the epoch
 */
export const PullsOverLastDay: FC<{ pulls: PullsByHour | undefined; now: number }> = ({ pulls, now }) => (
  <section>
    <h2>Pulls over the last day</h2>
    {pulls === undefined ? (
      <p class="problem">Analytics Engine does not answer, so pulls are missing.</p>
    ) : pulls.counted ? (
      <Chart hours={pulls.hours} now={now} />
    ) : (
      <p class="empty">{NO_PULLS}</p>
    )}
  </section>
);

const Chart: FC<{ hours: PullsByHour['hours']; now: number }> = ({ hours, now }) => {
  const rows = byTheHour(hours, now).map(([at, hour]) => [at, hour?.pulls ?? 0] as const);
  const points = rows.map(([at, pulls]): Point => [Math.min(at + HOUR / 2, now), pulls]);
  return (
    <LineChart
      title="Pulls by the hour, as Analytics Engine estimates them"
      lines={[{ name: 'Pulls', points }]}
      {...lastDay(now)}
      scale="linear"
      values={[0, 4]}
      format={counted}
      table={
        <Table
          caption="Pulls by the hour"
          columns={['Hour', 'Pulls']}
          rows={rows.toReversed().map(([at, pulls]) => [<Time at={new Date(at).toISOString()} />, counted(pulls)])}
          empty=""
        />
      }
    />
  );
};
